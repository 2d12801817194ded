"""DICOM objects before other people's programs: dciodvfy finds no error, and DCMTK shows what Hilum saw."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom import uid as uids
from pydicom.valuerep import PersonName

import hilum
from hilum.dicom import FORMS, dicom_bytes, obstacle
from hilum.types import Reason, Report

Film = Callable[..., bytes]
Judge = Callable[..., Report]


def run(name: str, *arguments: str | Path) -> str:
    """What a program says on both channels; where it is missing the test skips, or fails if required."""
    if shutil.which(name) is None:
        why = f"{name} is missing; make test-services installs it"
        if os.environ.get("HILUM_REQUIRE_SERVICES") == "1":
            pytest.fail(why)
        pytest.skip(why)
    done = subprocess.run([name, *map(str, arguments)], capture_output=True, check=False, timeout=60)
    return (done.stdout + done.stderr).decode("latin-1")


def table(bits: int, factor: int) -> list[Dataset]:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, bits])
    item.ModalityLUTType = "OD"
    item.add_new("LUTData", "OW", (np.arange(4096, dtype="<u2") * factor).tobytes())
    return [item]


IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "StudyDate",
            "StudyTime", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber",
            "StudyID", "ReferringPhysicianName", "SeriesNumber", "Manufacturer", "Modality",
            "BodyPartExamined", "PixelSpacing", "WindowCenter", "WindowWidth")  # fmt: skip

VARIANTS: dict[str, dict[str, Any]] = {
    "CR": {},
    "DX, MONOCHROME1, spacing at the detector, not square": {
        "SOPClassUID": uids.DigitalXRayImageStorageForPresentation,
        "Modality": "DX",
        "FrameOfReferenceUID": "1.2.9",
        "PhotometricInterpretation": "MONOCHROME1",
        "PresentationLUTShape": "INVERSE",
        "ImagerPixelSpacing": [0.14, 0.2],
        "drop": ("PixelSpacing",),
        "WindowCenter": [2048, 1000],
        "WindowWidth": [4096, 100],
    },
    "secondary capture": {"SOPClassUID": uids.SecondaryCaptureImageStorage, "Modality": "OT"},
    "private class": {"SOPClassUID": "1.3.12.2.1107.5.9.1"},
    "nothing but pixels": {"drop": IDENTITY},
    "malformed identifiers": {
        "StudyInstanceUID": "1..2",
        "SeriesInstanceUID": "abc",
        "SOPInstanceUID": "1." * 40 + "1",
        "SOPClassUID": "nonsense",
    },
    "latin": {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jürgen"},
    "japanese": {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
        "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    },
    "half width": {
        "SpecificCharacterSet": ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        "PatientName": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    },
    "korean": {
        "SpecificCharacterSet": ["", "ISO 2022 IR 149"],
        "PatientName": "Hong^Gildong=洪^吉洞=홍^길동",
    },
    "arabic": {"SpecificCharacterSet": "ISO_IR 127", "PatientName": "قباني^لنزار"},
    "chinese": {"SpecificCharacterSet": "GB18030", "PatientName": "Wang^XiaoDong=王^小东"},
    "unicode": {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Müller^Jürgen=王^小东"},
    "undeclared UTF-8": {"PatientName": PersonName("Müller^Jürgen".encode())},
    "undeclared Latin 1": {"PatientName": PersonName("Müller^Jürgen".encode("latin-1"))},
    "no such character set": {
        "SpecificCharacterSet": "UTF8",
        "PatientName": PersonName("Müller^Jürgen".encode()),
    },
    "hostile": {
        "PatientName": "A" * 500,
        "PatientID": "A\\B",
        "PatientBirthDate": "20231399",
        "PatientSex": "W",
        "PatientAge": "45",
        "PatientWeight": "80",
        "StudyDate": "2023.01.02",
        "StudyTime": "25:00",
        "StudyID": "a\tb",
        "StudyDescription": "x" * 3000,
        "AccessionNumber": "1" * 20,
        "ReferringPhysicianName": "a=b=c=d^e",
        "InstitutionName": "<script>alert(1)</script>",
        "Manufacturer": "b" * 100,
    },
    "once compressed with loss": {"LossyImageCompression": "01"},
    "de-identified": {"PatientIdentityRemoved": "YES"},
    "rescaled": {"RescaleSlope": 2, "RescaleIntercept": -1024, "RescaleType": "OD"},
    "VOI LUT": {"VOILUTSequence": table(12, 1), "drop": ("WindowCenter", "WindowWidth")},
    "modality LUT": {"ModalityLUTSequence": table(16, 16)},
    "big endian": {"syntax": uids.ExplicitVRBigEndian},
    "implicit": {"syntax": uids.ImplicitVRLittleEndian},
}

# What dciodvfy warns of all the same, and why; docs/dicom.md tells it to users.
KNOWN = (
    r"Unrecognized defined term <99HILUM> ",  # a private coding scheme
    r"is only permitted to be empty when actually unknown; .* attribute <Laterality>",  # of a rejected film
    r"Missing attribute or value that would be needed to build DICOMDIR",  # the film lacks it, too
    r"Value dubious for this VR .* Retired Person Name form",  # the film's own name, of one part alone
)


def complaints(content: bytes, folder: Path) -> list[str]:
    """Every line of dciodvfy's but the known warnings."""
    path = folder / "object.dcm"
    path.write_bytes(content)
    said = [line for line in run("dciodvfy", path).splitlines() if line.startswith(("Error", "Warning"))]
    return [line for line in said if line[0] == "E" or not any(re.search(one, line) for one in KNOWN)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_dciodvfy_finds_no_error(
    variant: str, form: str, dicom_film: Film, judged: Judge, tmp_path: Path
) -> None:
    report = judged(dicom_film(**VARIANTS[variant]))
    assert complaints(dicom_bytes(report, form), tmp_path) == []
    why = (Reason(code="turned", sentence="lies on its side \\ é; turn it\nfirst"),)
    refused = replace(report, status="rejected", reasons=why, prediction=None)
    if not obstacle(refused, form):
        assert complaints(dicom_bytes(refused, form), tmp_path) == []


@pytest.mark.parametrize("form", FORMS)
def test_an_error_would_be_found(form: str, dicom_film: Film, judged: Judge, tmp_path: Path) -> None:
    made = dcmread(BytesIO(dicom_bytes(judged(dicom_film()), form)))
    del made.StudyInstanceUID
    stream = BytesIO()
    made.save_as(stream)
    assert any(line.startswith("Error") for line in complaints(stream.getvalue(), tmp_path))


@pytest.fixture(scope="module")
def demo() -> Report:
    """The real film of the package pydicom-data through the shipped models."""
    data_store = pytest.importorskip("data_store", reason="needs: pip install pydicom-data")
    film = Path(str(data_store.__file__)).parent / "data" / "RG1_UNCR.dcm"
    return hilum.load()(film)


@pytest.mark.parametrize("form", FORMS)
def test_a_real_films_objects_are_valid(form: str, demo: Report, tmp_path: Path) -> None:
    assert demo.status == "ok"
    assert complaints(dicom_bytes(demo, form), tmp_path) == []


@pytest.mark.parametrize(
    "variant",
    ["CR", "DX, MONOCHROME1, spacing at the detector, not square", "rescaled", "VOI LUT", "modality LUT",
     "big endian"],
)  # fmt: skip
def test_dcmtk_shows_the_film_through_the_presentation_state_as_hilum_read_it(
    variant: str, dicom_film: Film, judged: Judge, tmp_path: Path
) -> None:
    film, state, shown = (tmp_path / name for name in ("film.dcm", "state.dcm", "shown.pgm"))
    film.write_bytes(dicom_film(**VARIANTS[variant]))
    report = judged(film.read_bytes())
    state.write_bytes(dicom_bytes(report, "gsps"))
    said = run("dcmp2pgm", "-p", state, film, shown)
    grey = cv2.imread(str(shown), cv2.IMREAD_UNCHANGED)
    assert grey is not None, said
    np.testing.assert_allclose(grey, report.radiograph.pixels * 255, atol=1.01)  # it rounds down


def test_dcmtk_accepts_the_presentation_state_and_reads_the_report(demo: Report, tmp_path: Path) -> None:
    (tmp_path / "state.dcm").write_bytes(dicom_bytes(demo, "gsps"))
    assert "Test passed." in run("dcmpschk", tmp_path / "state.dcm")
    (tmp_path / "report.dcm").write_bytes(dicom_bytes(demo, "sr"))
    said = run("dsrdump", tmp_path / "report.dcm")
    assert 'NUM:(,,"Cardiothoracic ratio")=' in said
    assert not [line for line in said.splitlines() if line.startswith(("E:", "W:"))], said
