"""A study's runs against its baseline, paired by film and patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilum.cost import Cost
from hilum.intervals import around, holm, resamples, two_sided, weighed
from hilum.scores import mean_of
from hilum.study import Study
from hilum.types import Array
from hilum.verdicts import TABLE, Verdicts, mean_auroc, read_verdicts, told

_DRAWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run of the study on one of its sources, all seeds."""

    name: str
    source: str
    title: str  # the name, and where there are several the source
    start: str  # of its weights
    seeds: int
    cost: Cost
    seconds: float  # of training, all its folds, the mean of its seeds
    groups: tuple[Path, ...]  # a folder for each seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much more a run's mean AUROC over the findings is than the baseline's, on the same films."""

    name: str
    source: str
    test: str
    films: int
    value: float
    low: float
    high: float
    p: float
    corrected: float  # Holm's, over the runs compared on this source and test


def differences_of(study: Study, rows: Sequence[Row]) -> list[Difference]:
    """Every run that judged labels against the baseline, paired by film and patient."""
    found: list[Difference] = []
    base = {row.source: row for row in rows if row.name == study.baseline}
    for test in study.tests:
        for source, first in base.items():
            others = [row for row in rows if row.source == source and row.name != study.baseline]
            theirs = verdicts_of(first, test)
            pairs = [(row, verdicts_of(row, test)) for row in others if theirs]
            some = [_difference(row, test, theirs, own) for row, own in pairs if own]
            corrected = holm([one["p"] for one in some])
            found += [Difference(**one, corrected=p) for one, p in zip(some, corrected, strict=True)]
    return found


def verdicts_of(row: Row, test: str) -> list[Verdicts]:
    """What each seed of a run said; nothing, where the test was of outlines."""
    tables = [group / f"test-{test}" / f"{TABLE}.csv" for group in row.groups]
    return [read_verdicts(table) for table in tables if table.is_file()]


def _difference(row: Row, test: str, base: Sequence[Verdicts], own: Sequence[Verdicts]) -> dict[str, Any]:
    """The difference of the means over seeds, its interval over patients, and its P value."""
    common = sorted(set(base[0].films).intersection(*(one.films for one in (*base, *own))))
    places = [{film: i for i, film in enumerate(one.films)} for one in (*base, *own)]
    order = [[place[film] for film in common] for place in places]
    first = base[0]
    shared = [label for label in first.labels if label in own[0].labels and label != "No Finding"]

    def table(one: Verdicts, of: Array, films: list[int]) -> Array:
        return of[films][:, [one.labels.index(label) for label in shared]]

    truth = table(first, first.truth, order[0])
    scores = [table(one, one.probabilities, films) for one, films in zip((*base, *own), order, strict=True)]
    known = told(first)[order[0]] & ~np.isnan(truth).any(axis=1)

    each = [mean_auroc(truth[known], column[known]) for column in scores]
    theirs, ours = mean_of(each[: len(base)]), mean_of(each[len(base) :])
    patients = first.patients[order[0]][known]
    weights = resamples(patients, rng=np.random.default_rng(0), repeats=_DRAWS)
    value, drawn = weighed(lambda rows: ours(rows) - theirs(rows), weights)
    interval = around(value, drawn)
    return {
        "name": row.title,
        "source": row.source,
        "test": test,
        "films": int(known.sum()),
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "p": two_sided(drawn),
    }


def difference_table(differences: Sequence[Difference], baseline: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows, for people."""
    head = [f"run, against {baseline}", "source to test", "mean AUROC of the findings", "p", "p after Holm"]
    rows = [
        [
            one.name,
            f"{one.source} to {one.test}",
            f"{one.value:+.4f} ({one.low:+.3f} to {one.high:+.3f})",
            f"{one.p:.3f}",
            f"{one.corrected:.3f}",
        ]
        for one in differences
    ]
    return head, rows
