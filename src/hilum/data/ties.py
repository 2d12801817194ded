"""Join names that are tied in pairs into groups that must stay together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from hilum.errors import DataError
from hilum.reading.files import read_csv

_Name = TypeVar("_Name", int, str)

_PATIENTS = ("patient", "other patient")


def tied(pairs: Iterable[tuple[_Name, _Name]]) -> dict[_Name, _Name]:
    """Each name of the pairs -> the smallest name of its group."""
    found: dict[_Name, _Name] = {}

    def least(name: _Name) -> _Name:
        while found.setdefault(name, name) != name:
            found[name] = name = found[found[name]]
        return name

    for pair in pairs:
        one, other = sorted(map(least, pair))
        found[other] = one
    return {name: least(name) for name in list(found)}


def read_together(path: Path) -> list[tuple[str, str]]:
    """The pairs of patients in a ``duplicates.csv`` of `hilum data audit`; DataError for another file."""
    columns, rows = read_csv(path)
    if missing := [name for name in _PATIENTS if name not in columns]:
        raise DataError(f"{path}: no column {missing[0]!r}; give the duplicates.csv of 'hilum data audit'")
    return [(row[_PATIENTS[0]], row[_PATIENTS[1]]) for _, row in rows]
