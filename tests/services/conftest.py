"""Real programs on loopback, each with random ports and its own folder, stopped when the test ends."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from hilum.data import phantom

DICOMWEB = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


def missing(what: str) -> None:
    """Skip the test, or fail if the services are required."""
    if os.environ.get("HILUM_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{what} is missing; make test-services installs it")
    pytest.skip(f"{what} is missing; make test-services installs it")


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """The path of an installed program; without it the test is skipped, or fails if services are required."""

    def find(name: str) -> str:
        path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
        if path is None:
            missing(name)
        return str(path)

    return find


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


@pytest.fixture(scope="session")
def lacking() -> Callable[[str], None]:
    """Skips the test because something is missing, or fails if the services are required."""
    return missing


class Orthanc:
    """An Orthanc with its DICOMweb plugin that accepts only this machine."""

    def __init__(self, program: Callable[[str], str], folder: Path) -> None:
        self._orthanc, self._storescu = program("Orthanc"), program("storescu")
        if not Path(DICOMWEB).exists():
            missing("Orthanc's DICOMweb plugin (orthanc-dicomweb)")
        self.root_port, self._dicom_port, self._folder = free_port(), free_port(), folder
        self.root = f"http://127.0.0.1:{self.root_port}"
        self.url = f"{self.root}/dicom-web"
        # The DICOM port listens on every interface, so it must accept films only from this machine.
        settings = {
            "Name": "test",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "HttpPort": self.root_port,
            "DicomPort": self._dicom_port,
            "DicomAet": "ARCHIVE",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowStore": False,
            "DicomCheckModalityHost": True,
            "DicomModalities": {"here": ["STORESCU", "127.0.0.1", 104]},
            "Plugins": [DICOMWEB],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        (folder / "db").mkdir()
        (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start Orthanc and wait until it answers."""
        with (self._folder / "orthanc.log").open("ab") as log:
            command = [self._orthanc, str(self._folder / "orthanc.json")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                self.get("/system")
            except OSError:
                time.sleep(0.1)
            else:
                return
        pytest.fail("Orthanc did not start")

    def stop(self) -> None:
        """Stop with SIGTERM, as a service manager does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def get(self, path: str) -> Any:
        """Query Orthanc's own REST interface."""
        return requests.get(self.root + path, timeout=10).json()

    def send(self, films: Sequence[Path]) -> None:
        """Send films over DICOM, as a modality does."""
        to = ["-aet", "STORESCU", "-aec", "ARCHIVE", "127.0.0.1", str(self._dicom_port)]
        subprocess.run([self._storescu, *to, *map(str, films)], check=True)

    def held(self) -> dict[str, list[str]]:
        """SOP Class UID -> SOP Instance UIDs in the archive, one entry per stored instance."""
        found: dict[str, list[str]] = {}
        for instance in self.get("/instances?expand"):
            path = f"{self.root}/instances/{instance['ID']}/metadata/SopClassUid"
            kind = requests.get(path, timeout=10).text
            found.setdefault(kind, []).append(instance["MainDicomTags"]["SOPInstanceUID"])
        return found


@pytest.fixture
def orthanc(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An empty, running archive."""
    archive = Orthanc(program, tmp_path_factory.mktemp("orthanc"))
    yield archive
    archive.stop()


@pytest.fixture(scope="session")
def chest_film() -> Callable[..., Dataset]:
    """Draws a chest film as a DICOM data set (DX, 12 bits): `chest_film(seed, size=512)`."""

    def draw(seed: int, size: int = 512) -> Dataset:
        one = phantom.draw(seed, size=size)
        film = Dataset()
        film.SOPClassUID, film.Modality = "1.2.840.10008.5.1.4.1.1.1.1", "DX"
        for level in ("Study", "Series"):
            setattr(film, f"{level}InstanceUID", generate_uid(entropy_srcs=[level, str(seed)]))
        film.SOPInstanceUID = generate_uid(entropy_srcs=["film", str(seed)])
        film.PatientName, film.PatientID = f"PHANTOM^{seed:04d}", f"P{seed:04d}"
        film.PatientBirthDate, film.PatientSex, film.PatientAge = "", one.sex, f"{one.age:03.0f}Y"
        film.StudyDate = film.SeriesDate = film.ContentDate = "20240131"
        film.StudyTime = film.SeriesTime = film.ContentTime = "101500"
        film.AccessionNumber, film.StudyID, film.ReferringPhysicianName = f"A{seed:04d}", "1", ""
        film.SeriesNumber = film.InstanceNumber = 1
        film.BodyPartExamined, film.ViewPosition = "CHEST", one.view
        film.ImageType = ["ORIGINAL", "PRIMARY"]
        film.ImagerPixelSpacing = [0.15 * 2500 / size] * 2
        film.Rows = film.Columns = size
        film.BitsAllocated, film.BitsStored, film.HighBit = 16, 12, 11
        film.PixelRepresentation, film.SamplesPerPixel = 0, 1
        film.PhotometricInterpretation, film.PresentationLUTShape = "MONOCHROME2", "IDENTITY"
        film.PixelData = (one.pixels.astype(np.uint16) << 4).tobytes()
        film.file_meta = FileMetaDataset()
        film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return film

    return draw
