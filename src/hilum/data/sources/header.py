"""Read the DICOM headers of many films without their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hilum.data.opened import patiently
from hilum.data.sources.rows import sex_of
from hilum.errors import DataError
from hilum.reading.age import age_of
from hilum.reading.dicom_grey import view_of
from hilum.reading.dicom_header import header_of
from hilum.reading.reader import hushed
from hilum.reading.views import FRONTAL

_TAGS = (
    "Modality",
    "PatientID",
    "StudyInstanceUID",
    "PatientSex",
    "PatientAge",
    "ViewPosition",
    "ViewCodeSequence",
    "PatientBirthDate",
    "StudyDate",
    "Rows",
    "Columns",
    "NumberOfFrames",
)
_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A film's header; fields that it does not have are "" or None."""

    patient: str  # the PatientID itself; it must not leave the calling source
    study: str  # the study's UID; likewise
    view: str | None  # "AP", "PA" or None
    stated_view: str  # the word of `hilum.reading.views.VIEWS` that the header states, or ""
    sex: str | None
    age: float | None  # years
    size: tuple[int, int]  # rows, columns; 0 if unknown
    frames: int  # 0 if unknown
    modality: str


def headers(paths: Sequence[Path]) -> list[Header | None]:
    """The header of each file, in their order; None for a file that is no DICOM.

    Raises DataError for a file that cannot be read from its disk.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(_header, paths))


def _header(path: Path) -> Header | None:
    try:
        found = patiently(partial(header_of, path, _TAGS))
    except FileNotFoundError:  # a broken link, or a file that is gone since the folder was listed
        return None
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror or error}; let this user read it, or move it away"
        ) from None
    if found is None:
        return None
    with hushed():  # pydicom converts an element at its first use
        said = {tag: str(found.get(tag, "") or "").strip() for tag in _TAGS if tag != "ViewCodeSequence"}
        view = view_of(found, []) or ""
    return Header(
        patient=said["PatientID"],
        study=said["StudyInstanceUID"],
        view=FRONTAL.get(view),
        stated_view=view,
        sex=sex_of(said["PatientSex"]),
        age=age_of(said["PatientAge"], said["PatientBirthDate"], said["StudyDate"]),
        size=(_whole(said["Rows"]), _whole(said["Columns"])),
        frames=_whole(said["NumberOfFrames"]),
        modality=said["Modality"].upper(),
    )


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0
