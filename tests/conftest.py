"""Fixtures shared by several tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
)

from hilum.card import read_card
from hilum.data.phantom import draw
from hilum.labels import SIX
from hilum.measure import measure
from hilum.reading.reader import hushed, read
from hilum.runtime import find
from hilum.types import Anatomy, Prediction, Report

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def films() -> Path:
    """The folder of real films; without it a test is skipped, or fails if they are required."""
    folder = Path(os.environ.get("HILUM_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "nih14").is_dir():
        why = f"no real films in {folder}; export HILUM_DATA=FOLDER"
        if os.environ.get("HILUM_REQUIRE_FILMS") == "1":
            pytest.fail(why)
        pytest.skip(why)
    return folder


@pytest.fixture(scope="session")
def dicom_film() -> Callable[..., bytes]:
    """Makes a synthetic chest film as a DICOM file; arguments as for `_dicom`."""
    return _dicom


@pytest.fixture(scope="session")
def judged() -> Callable[..., Report]:
    """Reads a film of `dicom_film` and makes a report without a network: true outlines, invented scores."""
    return _judged


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes folders of a name impossible to list, also for root, who may list any."""

    def close(name: str) -> None:
        scandir = os.scandir

        def denied(path: str | Path) -> object:
            if Path(path).name == name:
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", denied)

    return close


SEED = 7
_SIZE = 256


def _dicom(
    syntax: UID = ExplicitVRLittleEndian, drop: Collection[str] = (), *, seed: int = SEED, **elements: Any
) -> bytes:
    """A 12-bit radiograph as a CR image; `elements` are added or changed, those in `drop` omitted."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4.5")
    grey = draw(seed, size=_SIZE).pixels.astype(np.uint16) * 16
    if elements.get("PhotometricInterpretation") == "MONOCHROME1":
        grey = 4095 - grey
    header: dict[str, Any] = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "SOPInstanceUID": "1.2.3.4.5",
        "StudyInstanceUID": "1.2.3.4",
        "SeriesInstanceUID": "1.2.3.4.1",
        "SeriesNumber": 2,
        "InstanceNumber": 1,
        "PatientName": "Doe^Jane",
        "PatientID": "MRN-4711",
        "PatientBirthDate": "19500102",
        "PatientSex": "F",
        "PatientAge": "075Y",
        "StudyDate": "20250304",
        "StudyTime": "101112",
        "AccessionNumber": "ACC-1",
        "StudyID": "S1",
        "ReferringPhysicianName": "Who^Doctor",
        "StudyDescription": "Chest",
        "Modality": "CR",
        "Manufacturer": "Maker",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "PixelSpacing": [1.4, 1.4],
        "Rows": _SIZE,
        "Columns": _SIZE,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "WindowCenter": 2048,
        "WindowWidth": 4096,
    }
    stream = BytesIO()
    with hushed():  # pydicom warns about hostile headers
        for name, value in (header | elements).items():
            if name not in drop:
                setattr(data, name, value)
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data.PixelData = grey.astype(f"{order}u2").tobytes()
        data["PixelData"].VR = "OW"
        data.preamble = b"\0" * 128
        dcmwrite(stream, data)
    return stream.getvalue()


def _judged(data: bytes, **changes: Any) -> Report:
    film = read(data)
    mask = draw(SEED, size=_SIZE).mask
    anatomy = Anatomy(mask=mask, quality={"right_lung": 0.97, "left_lung": 0.95, "heart": 0.875})
    probabilities = (0.08, 0.71, 0.12, 0.65, 1 / 3, 0.9)
    thresholds = (0.22, 0.42, 0.2, 0.3, 0.33, 0.95)
    report = Report(
        status="ok",
        radiograph=film,
        anatomy=anatomy,
        measurements=measure(anatomy, film.spacing),
        prediction=Prediction(
            labels=SIX,
            probabilities=probabilities,
            thresholds=thresholds,
            positive=tuple(p >= t for p, t in zip(probabilities, thresholds, strict=True)),
            abstained=tuple(label == "Pleural Effusion" for label in SIX),
        ),
        cards={task: read_card(find(name)) for task, name in _SHIPPED.items()},
        created="2026-01-05T10:11:12Z",
    )
    return replace(report, **changes)


_SHIPPED = {"gate": "hilum-gate", "segment": "hilum-lungs", "classify": "hilum-six"}
