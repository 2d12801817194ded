"""Scores that another program or a reader gave the same films, from a csv, to compare a classifier with."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hilum.errors import DataError
from hilum.evaluation.verdicts import Verdicts, parsed_verdicts
from hilum.labels import canonical
from hilum.reading.files import read_csv

_FILM = ("film", "path")


def read_scores(path: Path, labels: Sequence[str], films: Sequence[str]) -> tuple[Verdicts, str]:
    """The scores of a csv for these labels and films, or those that it has, and the csv's SHA-256.

    It has a column `film` or `path` and one for each label, spelt as in any data set. A film is named as in
    an evaluation's films.csv, or without the data set's name and the colon. Scores are on any scale; higher
    ones speak for the label. They have no thresholds: margins, truth and patients are unknown. The films.csv
    of an evaluation is read as it is. Raises DataError for another table, and if it shares no film or label.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; give a csv of scores") from None
    columns, rows = read_csv(path, data=data)
    if any(name.endswith(" margin") for name in columns):
        found = parsed_verdicts(path, columns, [row for _, row in rows])
        if not set(found.labels) & set(labels):
            raise DataError(f"{path}: has none of {', '.join(labels)}; compare models of the same labels")
    else:
        found = _scores(path, columns, rows, labels, films)
    if not set(found.films) & set(films):
        raise DataError(
            f"{path}: names {found.films[0]!r}, but none of the films; "
            f"name them as in films.csv: {films[0]!r}"
        )
    return found, hashlib.sha256(data).hexdigest()


def _scores(
    path: Path,
    columns: Sequence[str],
    rows: Sequence[tuple[int, Mapping[str, str]]],
    labels: Sequence[str],
    films: Sequence[str],
) -> Verdicts:
    of = {label: [name for name in columns if canonical(name) == label] for label in labels}
    told = [label for label in labels if of[label]]
    named = next((name for name in _FILM if name in columns), None)
    if named is None or not told or not rows:
        wanted = f"a column film, and columns of scores for {', '.join(labels)} or some of them"
        raise DataError(f"{path}: no table of scores; it needs {wanted}")
    if twice := next((label for label in told if len(of[label]) > 1), None):
        raise DataError(f"{path}: {' and '.join(of[twice])} both mean {twice}; keep one")
    full = {film.partition(":")[2]: film for film in films}
    names, scores = [], []
    for line, row in rows:
        names.append(full.get(row[named], row[named]))
        scores.append([_number(path, line, of[label][0], row) for label in told])
    film, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise DataError(f"{path}: has {times} rows for {film!r}; keep one")
    unknown = np.full((len(names), len(told)), math.nan)
    return Verdicts(
        films=tuple(names),
        patients=np.full(len(names), ""),
        labels=tuple(told),
        truth=unknown,
        probabilities=np.array(scores),
        margins=unknown,
    )


def _number(path: Path, line: int, column: str, row: Mapping[str, str]) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{path}, line {line}: {column} is {row[column]!r}, not a number; "
            "give a score or leave the row out"
        )
    return value
