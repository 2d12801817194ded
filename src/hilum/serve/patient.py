"""Patient and study from a film's header, for authorised answers and the worklist, never for a log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hilum.reading.age import day
from hilum.reading.reader import hushed

if TYPE_CHECKING:
    from pydicom import Dataset

_LONGEST = 128  # characters; DICOM allows 64 per component of these attributes (PS3.5 section 6.2)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def plain(value: object, longest: int = _LONGEST) -> str:
    """Text on one line, without control or invisible characters, at most `longest` characters."""
    return _CONTROL.sub(" ", str(value)).strip()[:longest]


def patient_of(header: Dataset | None) -> dict[str, str] | None:
    """Id, name, birth date and sex; missing values are empty. None for a film without a header."""
    if header is None:
        return None
    return {
        "id": _text(header, "PatientID"),
        "name": _name(_text(header, "PatientName")),
        "birth_date": _date(_text(header, "PatientBirthDate")),
        "sex": _text(header, "PatientSex"),
    }


def study_of(header: Dataset | None) -> dict[str, str] | None:
    """UID, date, time, description and accession number of the study, in the same way."""
    if header is None:
        return None
    return {
        "uid": _text(header, "StudyInstanceUID"),
        "date": _date(_text(header, "StudyDate")),
        "time": _time(_text(header, "StudyTime")),
        "description": _text(header, "StudyDescription"),
        "accession": _text(header, "AccessionNumber"),
    }


def _text(header: Dataset, keyword: str) -> str:
    try:
        with hushed():
            return plain(header.get(keyword) or "")
    except Exception:  # pydicom converts on access, and raises whatever the conversion raises
        return ""


def _name(said: str) -> str:
    """Family name, comma, other names; of several component groups the first with text (PS3.5 6.2.1.2)."""
    group = next((one for one in said.split("=") if one.strip("^ ")), "")
    family, *others = (part.strip() for part in group.split("^"))
    rest = " ".join(part for part in others if part)
    return f"{family}, {rest}" if family and rest else family or rest


def _date(said: str) -> str:
    """A header's date as ISO 8601; anything else unchanged."""
    found = day(said)
    return found.isoformat() if found else said


def _time(said: str) -> str:
    """HHMM, HHMMSS or HHMMSS.F as HH:MM:SS; anything else unchanged."""
    found = re.fullmatch(r"([0-9]{2})([0-9]{2})([0-9]{2})?(\.[0-9]*)?", said)
    return f"{found[1]}:{found[2]}:{found[3] or '00'}" if found else said
