"""What the conformance statement says of codes and classes is what the objects hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.sr.coding import Code

from hilum.dicom import codes
from hilum.dicom.common import KINDS
from hilum.labels import SIX

PAGE = (Path(__file__).parents[2] / "docs" / "dicom.md").read_text(encoding="utf-8")
STATED = [code for code in vars(codes).values() if isinstance(code, Code) and code[1] == codes.OWN]


@pytest.mark.parametrize("code", [*STATED, *map(codes.finding, SIX), codes.LUNG, codes.RIGHT, codes.PRESENT])
def test_every_code_is_stated(code: Code) -> None:
    assert f"({code[0]}, {code[1]}, {code[2]}" in PAGE or f"({code[0]}, {code[1]},\n{code[2]}" in PAGE


def test_every_class_is_stated() -> None:
    for sop_class, modality, _ in KINDS.values():
        assert f"| {sop_class} | {modality} |" in PAGE


def test_own_codes_fit_a_code_value() -> None:
    for code in (*STATED, codes.finding("x" * 999)):
        assert len(code[0]) <= 16 and len(code[2]) <= 64  # SH and LO
