"""A study's runs against its baseline, paired by film and patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hilum.compare import Gain, gain
from hilum.cost import Cost
from hilum.errors import DataError
from hilum.intervals import holm
from hilum.study import Study
from hilum.verdicts import TABLE, Verdicts, read_verdicts


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

    source: str
    test: str
    gain: Gain  # its subject is the run; P corrected over the runs compared on this source and test


def differences_of(study: Study, rows: Sequence[Row]) -> list[Difference]:
    """Every run that judged labels against the baseline, paired by film and patient."""
    found: list[Difference] = []
    base = {row.source: row for row in rows if row.name == study.baseline}
    for test in study.tests:
        for source, first in base.items():
            others = [row for row in rows if row.source == source and row.name != study.baseline]
            theirs = verdicts_of(first, test)
            pairs = [(row, verdicts_of(row, test)) for row in others if theirs]
            some = [one for row, own in pairs if own and (one := _gain(row, own, theirs))]
            corrected = holm([one.p for one in some])
            found += [
                Difference(source=source, test=test, gain=replace(one, corrected=p))
                for one, p in zip(some, corrected, strict=True)
            ]
    return found


def verdicts_of(row: Row, test: str) -> list[Verdicts]:
    """What each seed of a run said; nothing, where the test was of outlines."""
    tables = [group / f"test-{test}" / f"{TABLE}.csv" for group in row.groups]
    return [read_verdicts(table) for table in tables if table.is_file()]


def _gain(row: Row, ours: Sequence[Verdicts], theirs: Sequence[Verdicts]) -> Gain | None:
    """Of the findings that both judge; none where they share no finding or film."""
    shared = [theirs[0].labels[i] for i in theirs[0].findings if theirs[0].labels[i] in ours[0].labels]
    try:
        return gain(ours, theirs, shared, subject=row.title)
    except DataError:
        return None


def difference_table(differences: Sequence[Difference], baseline: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows, for people."""
    head = [f"run, against {baseline}", "source to test", "mean AUROC of the findings", "p", "p after Holm"]
    rows = [
        [
            one.gain.subject,
            f"{one.source} to {one.test}",
            f"{one.gain.value:+.4f} ({one.gain.low:+.3f} to {one.gain.high:+.3f})",
            f"{one.gain.p:.3f}",
            f"{one.gain.corrected:.3f}",
        ]
        for one in differences
    ]
    return head, rows
