"""Days and ages in DICOM headers."""

from __future__ import annotations

from datetime import date

_UNITS = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}  # how many of each unit make a year
_OLDEST = 120  # years; a larger number is a typing error


def age_of(said: str, born: str, made: str) -> float | None:
    """Years by a header's PatientAge, else from the date of birth to the film's; None without either."""
    told = years(said.strip().upper())
    return lived(born, made) if told is None else told


def years(text: str) -> float | None:
    """Years of an age such as 018M (PS3.5 section 6.2, AS) or a bare number; None for anything else."""
    digits, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "Y")
    told = int(digits) / _UNITS[unit] if digits.isdecimal() else None
    return told if told is not None and told <= _OLDEST else None


def lived(born: str, made: str) -> int | None:
    """Whole years between two dates as in a header; None if one is no date."""
    first, last = day(born), day(made)
    if first is None or last is None:
        return None
    age = last.year - first.year - ((last.month, last.day) < (first.month, first.day))
    return age if 0 <= age <= _OLDEST else None


def day(said: str) -> date | None:
    """The day of a date such as 20200131 or, in older files, 2020.01.31 (PS3.5 section 6.2, DA), or None."""
    try:
        return date.fromisoformat(said.replace(".", "-"))
    except ValueError:
        return None
