"""A DICOM file's header without its pixels, and how it tells an age: shared by all that ask for one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hilum.read import hushed

if TYPE_CHECKING:
    from pydicom import Dataset

_UNITS = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}  # of an age, how many make a year
_OLDEST = 120  # years; more is a slip of the pen


def header_of(source: Path | BinaryIO, tags: Sequence[str]) -> Dataset | None:
    """The elements `tags` of a file; None where it is no DICOM file, or is damaged before its pixels."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                return header_of(file, tags)
        start = source.read(2)
        source.seek(0)
        # Without preamble, a data set starts with the number of a low, even group, in either byte order.
        bare = len(start) == 2 and min(start) == 0 and max(start) in range(0x02, 0x2A, 2)
        with hushed():  # what pydicom warns of would quote the patient's header
            return dcmread(source, stop_before_pixels=True, specific_tags=list(tags), force=bare)
    except (
        InvalidDicomError,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        EOFError,
        zlib.error,
    ):
        return None


def years(text: str) -> float | None:
    """An age as 018M has it (PS3.5 section 6.2, AS), or a bare number of years; None for anything else."""
    digits, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "Y")
    told = int(digits) / _UNITS[unit] if digits.isdecimal() else None
    return told if told is not None and told <= _OLDEST else None
