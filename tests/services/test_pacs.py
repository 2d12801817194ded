"""The worker beside a real Orthanc: every film's results are there once, whatever dies in between.

HILUM_PACS_FILMS=200 makes the long form, which prints its figures (pytest -s).
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom import Dataset, dcmread

from hilum.pacs.multipart import only_part

FILMS = int(os.environ.get("HILUM_PACS_FILMS", "8"))
PATIENCE = 120 + 6 * FILMS  # seconds

SEG, SR, SC = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.7"
FILM = {"1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"}

Orthanc = Any  # the class in conftest.py, which tests cannot import
Film = Callable[..., Dataset]


class Worker:
    """`hilum pacs` as a process, its place and its log."""

    def __init__(self, url: str, folder: Path) -> None:
        self.place, self.log = folder / "place.sqlite", folder / "worker.log"
        self.command = [sys.executable, "-c", "from hilum.cli import main; main()", "pacs", "--url", url]
        self.command += ["--place", str(self.place), "--days", "0"]
        self.process: subprocess.Popen[bytes] | None = None
        self.peak = 0  # bytes of memory

    def once(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *options], capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def start(self, *options: str) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*self.command, "--every", "0.5", *options], stderr=log)

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def done(self) -> int:
        if not self.place.exists():
            return 0
        place = sqlite3.connect(f"file:{self.place}?mode=ro", uri=True)
        try:
            return int(place.execute("SELECT count(*) FROM films WHERE state = 'done'").fetchone()[0])
        except sqlite3.OperationalError:  # not made yet
            return 0
        finally:
            place.close()

    def wait(self, films: int) -> None:
        """Return when so many films are done."""
        end = time.monotonic() + PATIENCE
        while self.done() < films:
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            assert self.process is None or self.process.poll() is None, self.log.read_text()[-3000:]
            self.peak = max(self.peak, _memory(self.process))
            time.sleep(0.05)


def _memory(process: subprocess.Popen[bytes] | None) -> int:
    """A process's resident bytes."""
    if process is None or not (status := Path(f"/proc/{process.pid}/status")).exists():
        return 0
    said = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmRSS")]
    return 1024 * int(said[0]) if said else 0


@pytest.fixture
def worker(orthanc: Orthanc, tmp_path: Path) -> Iterator[Worker]:
    one = Worker(orthanc.url, tmp_path)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.end(signal.SIGKILL)


@pytest.fixture
def films(chest_film: Film, tmp_path: Path) -> list[Path]:
    """Generated films on disk."""
    paths = []
    for seed in range(FILMS):
        paths.append(tmp_path / f"film-{seed}.dcm")
        chest_film(seed).save_as(paths[-1], enforce_file_format=True)
    return paths


def back(orthanc: Orthanc, sop: str) -> Dataset:
    """An object as the archive gives it to anybody, over WADO-RS."""
    (item,) = requests.get(f"{orthanc.url}/instances?SOPInstanceUID={sop}", timeout=10).json()
    study, series = (item[tag]["Value"][0] for tag in ("0020000D", "0020000E"))
    url = f"{orthanc.url}/studies/{study}/series/{series}/instances/{sop}"
    accepted = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    answer = requests.get(url, headers=accepted, timeout=30)
    return dcmread(BytesIO(only_part(answer.headers["Content-Type"], answer.content)))


def referred(dataset: Dataset) -> set[str]:
    """Every instance that an object refers to, at any depth."""
    return {
        str(element.value) for element in dataset.iterall() if element.keyword == "ReferencedSOPInstanceUID"
    }


def check(orthanc: Orthanc, count: int) -> None:
    """Each of `count` films has one SEG, one SR and one SC, which are read back and belong to it."""
    held = orthanc.held()
    sources = {sop for kind in FILM & held.keys() for sop in held[kind]}
    assert len(sources) == count
    for kind, modality in ((SEG, "SEG"), (SR, "SR"), (SC, "OT")):
        assert len(held[kind]) == len(set(held[kind])) == count
        of = []
        for sop in held[kind]:
            result = back(orthanc, sop)
            assert result.Modality == modality
            assert "research use" in result.SeriesDescription.lower()
            of += sorted(referred(result) & sources)
            if kind != SR:
                assert result.pixel_array.any()
        assert sorted(of) == sorted(sources), f"{modality}: not one for each film"


def test_every_film_has_its_results_once_though_worker_and_archive_die(
    orthanc: Orthanc, worker: Worker, films: list[Path]
) -> None:
    start = time.monotonic()
    worker.start()
    orthanc.send(films[: FILMS // 2])
    worker.wait(FILMS // 4)
    worker.end(signal.SIGKILL)
    orthanc.send(films[FILMS // 2 :])
    worker.start()
    worker.wait(FILMS // 2)
    orthanc.stop()
    time.sleep(2)
    orthanc.start()
    orthanc.send(films[:3])  # films that it has already
    worker.wait(FILMS)
    assert worker.end(signal.SIGTERM) == 0
    seconds = time.monotonic() - start
    figures = f"{FILMS} films in {seconds:.0f} s, {FILMS / seconds:.2f} a second"
    sys.stdout.write(f"\n{figures}, at most {worker.peak / 2**20:.0f} MiB of memory\n")
    check(orthanc, FILMS)
    log = worker.log.read_text()
    assert "event=archive-away" in log
    assert "PHANTOM" not in log
    assert not any(sop in log for sops in orthanc.held().values() for sop in sops)
    again = worker.once("--once")
    assert again.returncode == 0, again.stderr
    assert "event=found" not in again.stderr
    check(orthanc, FILMS)


def test_a_real_film_and_what_is_none(
    orthanc: Orthanc, worker: Worker, chest_film: Film, tmp_path: Path
) -> None:
    store = pytest.importorskip("data_store", reason="needs: pip install 'hilum[demo]'")
    folder = Path(store.__file__).parent / "data"
    odd = chest_film(0)
    odd.PhotometricInterpretation = "HILUM"
    odd.save_as(tmp_path / "odd.dcm", enforce_file_format=True)
    orthanc.send(
        [folder / "RG1_UNCR.dcm", folder / "RG3_UNCR.dcm", folder / "MR2_UNCR.dcm", tmp_path / "odd.dcm"]
    )
    done = worker.once("--once", "--as", "sr,sc", "--orthanc", "no")
    assert done.returncode == 1, done.stderr  # some were refused
    held = orthanc.held()
    assert SEG not in held
    assert len(held[SR]) == len(held[SC]) == 1
    assert {str(back(orthanc, sop).PatientID) for sop in (*held[SR], *held[SC])} == {"9RG1"}
    status = worker.once("--status").stdout
    assert status.startswith("queued\t0\ndone\t1\t0 of them rejected\nrefused\t2\nfailed\t0\n")
    assert "names another body part" in status
    assert "photometric interpretation" in status


def test_a_film_that_comes_while_the_worker_waits_is_seen_by_the_list_of_changes(
    orthanc: Orthanc, worker: Worker, films: list[Path]
) -> None:
    worker.start()
    orthanc.send(films[:1])
    worker.wait(1)
    orthanc.send(films[1:2])
    worker.wait(2)
    assert worker.end(signal.SIGTERM) == 0
    assert "feed=changes" in worker.log.read_text()
    check(orthanc, 2)
