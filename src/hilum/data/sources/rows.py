"""Read data sets' tables row by row, plain or gzipped; errors say where the fault is."""

from __future__ import annotations

import csv
import math
import zlib
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from hilum.errors import DataError
from hilum.labels import UNCERTAIN
from hilum.reading.files import csv_lines, film_paths

LABELS = {"": math.nan, "nan": math.nan, "null": math.nan} | {
    f"{sign}{digit}{tail}": float(f"{sign}{digit}")
    for sign, digit in (("", 0), ("", 1), ("-", 1))
    for tail in ("", ".0")
}
"""The usual spellings of a label's cell; `value` reads others, and refuses the rest."""

_SEX = {"m": "M", "male": "M", "f": "F", "female": "F"}
_OLDEST = 120  # years; a larger number is a typing error


def table(folder: Path, *patterns: str, whose: str) -> Path:
    """The file that matches a pattern, gzipped or not; the last of several. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the folder that holds {whose}'s {patterns[0]}")
    for pattern in patterns:
        if found := sorted([*folder.glob(pattern), *folder.glob(f"{pattern}.gz")]):
            return found[-1]
    raise DataError(f"{folder}: no {patterns[0]}; put {whose}'s table there")


def rows(
    path: Path, needed: Sequence[str], also: Sequence[str] | None = (), *, whose: str
) -> Iterator[tuple[int, dict[str, str]]]:
    """The line number and the cells (column -> text) of each row.

    Columns are those `needed`, and those of `also` that the table has; all, if `also` is None. A gzipped
    table is recognised by its content. Raises DataError for a missing column, a row of the wrong length, and
    a damaged or truncated file.
    """
    try:
        with csv_lines(path, remedy=f"download {whose}'s table again") as lines:
            reader = csv.reader(lines)
            heading = next(reader, [])
            if missing := [name for name in needed if name not in heading]:
                raise DataError(f"{path}: no column {missing[0]!r}; give {whose}'s own file unchanged")
            names = heading if also is None else [*needed, *(name for name in also if name in heading)]
            places = [heading.index(name) for name in names]
            pick = itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)
            for row in reader:
                if len(row) != len(heading):
                    if not row:
                        continue
                    raise DataError(
                        f"{path}, line {reader.line_num}: not {len(heading)} cells as the heading has but "
                        f"{len(row)}; download {whose}'s table again"
                    )
                yield reader.line_num, dict(zip(names, pick(row), strict=True))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: truncated or damaged ({type(error).__name__}); download {whose}'s table again"
        ) from None


def value(text: str, path: Path, line: int, column: str) -> float:
    """A label's cell: 0, 1, UNCERTAIN, or NaN if blank; raises DataError for anything else."""
    found = LABELS.get(text.strip().lower())
    if found is None:
        raise DataError(
            f"{path}, line {line}, column {column!r}: {text!r}; labels are 0, 1, {UNCERTAIN:g} or empty, "
            "so download the table again"
        )
    return found


def number(text: str, path: Path, line: int, column: str) -> float:
    """A cell that must hold a number; raises DataError."""
    try:
        return float(text)
    except ValueError:
        raise DataError(
            f"{path}, line {line}, column {column!r}: {text!r} is no number; download the table again"
        ) from None


def sex_of(text: str | None) -> str | None:
    """Sex as F, M or None."""
    return _SEX.get((text or "").strip().lower())


def years_of(text: str | None) -> float | None:
    """An age in years; None if it is missing, not a number, or impossible."""
    try:
        years = float(text or "nan")
    except ValueError:
        return None
    return years if 0 <= years <= _OLDEST else None


def view_of(text: str | None) -> str | None:
    """View as AP, PA or None."""
    return view if (view := (text or "").strip().upper()) in ("AP", "PA") else None


def by_name(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    """File name -> path for the files at any depth of `folder` that have one of the `endings` (lower case).

    Raises DataError where two files share a name, and as `hilum.reading.files.film_paths` does.
    """
    found: dict[str, Path] = {}
    for path in film_paths(folder, endings=tuple(endings)):
        if path.name in found:
            raise DataError(f"{path}: {found[path.name]} has the same name; keep one of them")
        found[path.name] = path
    return found
