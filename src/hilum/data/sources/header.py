"""What DICOM headers say of many films, read without their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hilum.data.sources.rows import sex_of, view_of
from hilum.reading.age import lived, years
from hilum.reading.dicom_grey import coded_view
from hilum.reading.dicom_header import header_of
from hilum.reading.reader import hushed

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
    found = header_of(path, _TAGS)
    if found is None:
        return None
    with hushed():  # an element is understood when it is asked for
        said = {tag: str(found.get(tag, "") or "").strip() for tag in _TAGS if tag != "ViewCodeSequence"}
        stated = said["ViewPosition"].upper() or coded_view(found)
        age = years(said["PatientAge"])
    return Header(
        patient=said["PatientID"],
        study=said["StudyInstanceUID"],
        view=view_of(stated),
        stated_view=stated,
        sex=sex_of(said["PatientSex"]),
        age=lived(said["PatientBirthDate"], said["StudyDate"]) if age is None else age,
        size=(_whole(said["Rows"]), _whole(said["Columns"])),
        frames=_whole(said["NumberOfFrames"]),
        modality=said["Modality"].upper(),
    )


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0
