"""A small DICOMweb server on loopback that fails on demand; films and results that need no model."""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from hilum.pacs.place import Place
from hilum.pacs.records import Film, Result, Settings
from hilum.pacs.worker import Worker
from hilum.reading.reader import read
from hilum.types import Report

CR = "1.2.840.10008.5.1.4.1.1.1"
SC = "1.2.840.10008.5.1.4.1.1.7"
TAGS = {
    "SOPClassUID": "00080016",
    "SOPInstanceUID": "00080018",
    "StudyDate": "00080020",
    "Modality": "00080060",
    "BodyPartExamined": "00180015",
    "StudyInstanceUID": "0020000D",
    "SeriesInstanceUID": "0020000E",
}
PATIENT = "HOFFMANN^ERNA"


def dicom(seed: int, **changes: Any) -> bytes:
    """A tiny film as a DICOM file; the same seed gives the same film."""
    dataset = Dataset()
    for level in ("Study", "Series"):
        setattr(dataset, f"{level}InstanceUID", generate_uid(entropy_srcs=[level, str(seed)]))
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["film", str(seed)])
    dataset.SOPClassUID, dataset.Modality, dataset.BodyPartExamined = CR, "CR", "CHEST"
    dataset.PatientName, dataset.PatientID, dataset.StudyDate = PATIENT, "4711-0815", "20200102"
    dataset.Rows = dataset.Columns = 64
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 7, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = np.random.default_rng(seed).integers(0, 256, 64 * 64, np.uint8).tobytes()
    for name, value in changes.items():
        setattr(dataset, name, value)
    return encoded(dataset)


def encoded(dataset: Dataset) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def analyse(data: bytes) -> Report:
    """A report without models."""
    return Report(
        status="ok",
        radiograph=read(data),
        anatomy=None,
        measurements=None,
        prediction=None,
        cards={},
        created="",
    )


def make(report: Report) -> list[Result]:
    """Three results; as in `hilum.dicom`, the film determines their UIDs and bytes."""
    made = []
    for form in ("seg", "sr", "sc"):
        header = report.radiograph.origin.header
        dataset = Dataset()
        dataset.SOPClassUID, dataset.Modality = SC, "OT"
        dataset.StudyInstanceUID = header.StudyInstanceUID
        dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", form, header.SOPInstanceUID])
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[form, header.SOPInstanceUID])
        made.append(
            Result(
                form=form, study=dataset.StudyInstanceUID, sop=dataset.SOPInstanceUID, data=encoded(dataset)
            )
        )
    return made


class Archive:
    """The films in the fake server, its next faults, and the requests it received."""

    def __init__(self) -> None:
        self.films: dict[str, tuple[dict[str, str], bytes]] = {}
        self.order: list[str] = []  # UIDs in order of arrival, results included
        self.posted: list[str] = []  # UIDs in the order sent, repeats included
        self.faults: dict[str, deque[Callable[[Handler], None] | None]] = defaultdict(deque)
        self.always: dict[str, Callable[[Handler], None]] = {}
        self.asked: list[tuple[str, str]] = []
        self.headers: list[Message] = []
        self.refused: dict[str, int] = {}  # UID -> failure reason
        self.orthanc = False
        self.changes_start = 0
        self.page = 1000  # most instances per response, whatever the limit in the request

    def add(self, data: bytes) -> str:
        dataset = dcmread(BytesIO(data), force=True, specific_tags=[*TAGS])
        item = {name: str(dataset.get(name, "")) for name in TAGS}
        uid = item["SOPInstanceUID"]
        self.films[uid] = (item, data)
        self.order.append(uid)
        return uid

    def results(self) -> list[str]:
        return [uid for uid in self.order if self.films[uid][0]["SOPClassUID"] == SC]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    archive: Archive

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.startswith("/dicom-web/"):
            film = re.fullmatch(r"/dicom-web/studies/.*/series/.*/instances/(.*)", parts.path)
            kind = "fetch" if film else "has" if "SOPInstanceUID" in query else "search"
            if query.get("limit") == "1":
                kind = "ping"
            if not self._faulty(kind):
                self._fetch(film[1]) if film else self._search(query)
        elif self.archive.orthanc and not self._faulty("changes"):
            self._orthanc(parts.path, query)
        elif not self.archive.orthanc:
            self.answer(404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._faulty("store"):
            return
        message = Message()
        message["Content-Type"] = self.headers["Content-Type"]
        boundary = b"--" + str(message.get_boundary()).encode()
        pieces = body.split(boundary)[1:-1]
        stored, failed = [], []
        for piece in pieces:
            data = piece.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
            uid = str(dcmread(BytesIO(data)).SOPInstanceUID)
            self.archive.posted.append(uid)
            if uid in self.archive.refused:
                failed.append(item(uid, self.archive.refused[uid]))
                continue
            if uid not in self.archive.films:
                self.archive.add(data)
            stored.append(item(uid))
        answer = {"00081198": {"vr": "SQ", "Value": failed}, "00081199": {"vr": "SQ", "Value": stored}}
        status = 200 if not failed else 202 if stored else 409
        if not self._faulty("stored"):  # a fault: stored, but not confirmed in the response
            self.answer(status, json.dumps(answer).encode(), "application/dicom+json; charset=utf-8")

    def _faulty(self, kind: str) -> bool:
        self.archive.asked.append((kind, self.path))
        self.archive.headers.append(self.headers)
        waiting = self.archive.faults[kind]
        # A None among the faults lets one request succeed.
        fault = waiting.popleft() if waiting else self.archive.always.get(kind)
        if fault is not None:
            fault(self)
        return fault is not None

    def _search(self, query: dict[str, str]) -> None:
        lowest = query.pop("StudyDate", "").rstrip("-")  # only a ping searches for films of today
        limit, offset = int(query.pop("limit", "1000")), int(query.pop("offset", "0"))
        fields = {name: value for name, value in query.items() if name in TAGS}
        fitting = [
            self.archive.films[uid][0]
            for uid in self.archive.order
            if all(self.archive.films[uid][0][name] == value for name, value in fields.items())
            and self.archive.films[uid][0]["StudyDate"] >= lowest
        ]
        page = fitting[offset : offset + min(limit, self.archive.page)]
        found = [{TAGS[name]: {"vr": "UI", "Value": [text]} for name, text in one.items()} for one in page]
        self.answer(200, json.dumps(found).encode(), "application/dicom+json")

    def _fetch(self, uid: str) -> None:
        if uid not in self.archive.films:
            self.answer(404, b"")
            return
        self.film(self.archive.films[uid][1])

    def film(
        self, *films: bytes, cut: int = 0, kind: str = 'multipart/related; type="application/dicom"'
    ) -> None:
        parts = b"".join(
            b"--xyz\r\nContent-Type: application/dicom\r\n\r\n" + film + b"\r\n" for film in films
        )
        body = parts + b"--xyz--\r\n"
        self.answer(200, body[: len(body) - cut], f"{kind}; boundary=xyz")

    def _orthanc(self, path: str, query: dict[str, str]) -> None:
        known = {orthanc_id(uid): uid for uid in self.archive.order}
        if path == "/system":
            answer: Any = {"ApiVersion": 16, "DicomAet": "FAKE"}
        elif path == "/changes":
            last = self.archive.changes_start + len(self.archive.order)
            since = int(query.get("since", last))
            arrived = self.archive.order[since - self.archive.changes_start :] if since < last else []
            changes = [{"ChangeType": "NewInstance", "ID": orthanc_id(uid)} for uid in arrived]
            answer = {"Changes": changes, "Last": last, "Done": True}
        else:
            film = self.archive.films[known[path.split("/")[2]]][0]
            answer = film["SOPClassUID"] if path.endswith("SopClassUid") else film
        text = answer if isinstance(answer, str) else json.dumps(answer)
        self.answer(200, text.encode(), "application/json")

    def answer(self, status: int, body: bytes, kind: str = "text/plain", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def item(uid: str, reason: int = 0) -> dict[str, Any]:
    said: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    return said | ({"00081197": {"vr": "US", "Value": [reason]}} if reason else {})


def orthanc_id(uid: str) -> str:
    digest = hashlib.sha1(uid.encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[i : i + 8] for i in range(0, 40, 8))


class Server(ThreadingHTTPServer):
    """Ignores clients that disconnect."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[SimpleNamespace]:
    """A running fake server: its `archive` and its `url`."""
    archive = Archive()
    handler = type("Own", (Handler,), {"archive": archive})
    running = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{running.server_port}/dicom-web"
    yield SimpleNamespace(archive=archive, url=url)
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def settings(server: SimpleNamespace) -> Settings:
    """Settings with very short waits."""
    return Settings(url=server.url, days=0, every=0.05, patience=0.02, longest=0.05, timeout=2.0, attempts=3)


@pytest.fixture
def drain(settings: Settings, tmp_path: Path) -> Callable[..., Place]:
    """Run a worker once over the fake archive; returns its state file, opened again."""

    def run(
        analyse: Callable[[bytes], Report] = analyse,
        make: Callable[[Report], list[Result]] = make,
        **changes: Any,
    ) -> Place:
        chosen = replace(settings, **changes)
        with Place(tmp_path / "place.sqlite", own=True) as place:
            place.belong(chosen.url)
            worker = Worker(chosen, place, analyse, make, stop=threading.Event(), rng=random.Random(7))
            worker.run(once=True)
        return Place(tmp_path / "place.sqlite")

    return run


@pytest.fixture
def tools() -> SimpleNamespace:
    """Functions and constants that tests share but cannot import."""
    return SimpleNamespace(
        dicom=dicom, analyse=analyse, make=make, Film=Film, PATIENT=PATIENT, SC=SC, item=item
    )
