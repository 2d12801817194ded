"""Planted names, numbers and dates of a patient, searched for in everything that `predict` leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

NAME, NUMBER, BORN, OTHER = "Quokka^Zelda", "MRN-90210", "19010203", "Xanthippe"
SECRETS = ("Quokka", "Zelda", "90210", BORN, OTHER)
START = "import sys; sys.argv[0] = 'hilum'; from hilum.cli import main; main()"

# What no element of its kind may hold, so that whatever warns of it or fails over it would quote it.
PLANTED = {
    "AccessionNumber": NAME,
    "StudyDate": NAME,
    "StudyTime": NAME,
    "PatientAge": NAME,
    "SeriesDescription": OTHER,
    "ViewPosition": OTHER,
    "BodyPartExamined": OTHER,
    "Modality": OTHER,
    "PatientComments": f"{NAME} {NUMBER}",
    "OtherPatientIDs": NUMBER,
    "SpecificCharacterSet": OTHER,
    "VOILUTFunction": OTHER,
    "PresentationLUTShape": OTHER,
    "PhotometricInterpretation": OTHER,
}


def films(make: Callable[..., bytes]) -> dict[str, bytes]:
    own = {"PatientName": NAME, "PatientID": NUMBER, "PatientBirthDate": BORN, "OperatorsName": OTHER}
    sound = make(**own)
    texts = {f"planted-{i}": make(**own | {word: text}) for i, (word, text) in enumerate(PLANTED.items())}
    number = bytearray(sound)
    at = number.index(b"\x28\0\x50\x10DS") + 8  # the window's centre
    number[at : at + 4] = OTHER.encode()[:4]
    return texts | {
        "sound": sound,
        "number": bytes(number),
        "cut": sound[: len(sound) // 2],
        "header": sound[:700],
        "deflated": make(DeflatedExplicitVRLittleEndian, **own)[:-20],
        "rejected": make(**own, Modality="MR"),
        "kind": sound.replace(b"\x10\0\x20\0LO", b"\x10\0\x20\0SQ"),
    }


@pytest.mark.parametrize("verb", ["predict", "segment"])
def test_nothing_that_predict_leaves_names_the_patient(
    verb: str, tmp_path: Path, dicom_film: Callable[..., bytes]
) -> None:
    folder, out, scratch = tmp_path / "films", tmp_path / "out", tmp_path / "scratch"
    for path in (folder, scratch):
        path.mkdir()
    for name, data in films(dicom_film).items():
        assert any(secret.encode() in data for secret in SECRETS) or name == "deflated"
        (folder / f"{name}.dcm").write_bytes(data)
    more = ["--as", "csv,json,png,html"] if verb == "predict" else []
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", START, verb, str(folder), "--out", str(out), *more],
        capture_output=True,
        check=False,
        env=os.environ | {"TMPDIR": str(scratch)},
    )
    assert done.returncode == 1, done.stderr
    files = [path for place in (out, scratch) for path in place.rglob("*") if path.is_file()]
    left = {path.relative_to(tmp_path): path.read_bytes() for path in files}
    assert len(left) > 10
    left |= {Path("stdout"): done.stdout, Path("stderr"): done.stderr}
    for path, content in left.items():
        for secret in SECRETS:
            # A page and a picture's bytes are random enough to hold four digits, never a word of these.
            assert secret.lower().encode() not in content.lower(), (path, secret)
            assert secret not in str(path)
