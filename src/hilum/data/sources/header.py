"""What DICOM headers say of many films, read without their pixels."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.data.sources.rows import sex_of, view_of
from hilum.read import hushed

_TAGS = (
    "Modality",
    "PatientID",
    "StudyInstanceUID",
    "PatientSex",
    "PatientAge",
    "ViewPosition",
    "Rows",
    "Columns",
    "NumberOfFrames",
)
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A film's header; what it does not say is "" or None."""

    patient: str  # the PatientID itself, which must not leave the adapter that asked
    study: str  # the study's UID, likewise
    view: str | None  # "AP", "PA" or None
    stated_view: str  # as the header has it, upper case
    sex: str | None
    age: float | None  # years
    size: tuple[int, int]  # rows, columns; 0 where unsaid
    frames: int  # 0 where unsaid
    modality: str


def headers(paths: Sequence[Path]) -> list[Header | None]:
    """The header of each file, in their order; None for a file that is no DICOM."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(_header, paths))


def _header(path: Path) -> Header | None:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with path.open("rb") as file:
            start = file.read(2)
        # Without preamble, a data set starts with the number of a low, even group, in either byte order.
        bare = len(start) == 2 and min(start) == 0 and max(start) in range(0x02, 0x2A, 2)
        with hushed():  # what pydicom warns of would quote the patient's header
            found = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS), force=bare)
            said = {tag: str(found.get(tag, "") or "").strip() for tag in _TAGS}
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
    return Header(
        patient=said["PatientID"],
        study=said["StudyInstanceUID"],
        view=view_of(said["ViewPosition"]),
        stated_view=said["ViewPosition"].upper(),
        sex=sex_of(said["PatientSex"]),
        age=_age(said["PatientAge"]),
        size=(_whole(said["Rows"]), _whole(said["Columns"])),
        frames=_whole(said["NumberOfFrames"]),
        modality=said["Modality"].upper(),
    )


def _age(text: Any) -> float | None:
    """Years; a number of days, weeks, months or years, as in 018M (PS3.5 section 6.2), or a bare number."""
    digits, unit = (text[:-1], text[-1:]) if text[-1:] in _YEARS else (text, "Y")
    years = int(digits) * _YEARS[unit] if digits.isdecimal() else None
    return years if years is not None and years <= 120 else None


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0
