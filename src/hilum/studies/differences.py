"""Differences between a study's runs and its baseline, paired by film and patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hilum.errors import DataError
from hilum.evaluation.compare import BY_PATIENT, Gain, common, findings_of, gain, six_gain
from hilum.evaluation.figures import WITHIN
from hilum.evaluation.six_way import MEASURES
from hilum.evaluation.verdicts import TABLE, Verdicts, mean_name, read_verdicts
from hilum.statistics.intervals import holm, with_interval, written
from hilum.studies.cost import Cost
from hilum.studies.scores import evaluation_of
from hilum.studies.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run of the study on one of its sources, all seeds."""

    name: str
    source: str
    title: str  # the name, and the source if there are several
    start: str  # origin of its initial weights
    seeds: int  # seeds with figures
    cost: Cost
    seconds: float  # training time of all folds, mean over seeds
    groups: tuple[Path, ...]  # a folder for each seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A run's score minus the baseline's, on the same films."""

    run: str
    source: str
    test: str
    column: tuple[str, ...]  # of the study: subject, measure, and condition if any
    gain: Gain  # its P value is corrected over the runs of this source, test and column


def differences_of(study: Study, rows: Sequence[Row]) -> list[Difference]:
    """Differences of every classifier's run from the baseline, in each column of the study."""
    found: list[Difference] = []
    base = {row.source: row for row in rows if row.name == study.baseline}
    for test in study.tests:
        for source, first in base.items():
            others = [row for row in rows if row.source == source and row.name != study.baseline]
            theirs = verdicts_of(first, test)
            pairs = [(row.title, verdicts_of(row, test)) for row in others if theirs]
            # A P value is at least 2 / draws, and Holm's correction multiplies it by the number of pairs.
            repeats = max(2000, 100 * len(pairs))
            for column in study.columns:
                some = {
                    run: one for run, own in pairs if own and (one := _gain(own, theirs, column, repeats))
                }
                corrected = holm([gained.p for gained in some.values()])
                found += [
                    Difference(
                        run=run, source=source, test=test, column=column, gain=replace(one, corrected=p)
                    )
                    for (run, one), p in zip(some.items(), corrected, strict=True)
                ]
    return found


def verdicts_of(row: Row, test: str) -> list[Verdicts]:
    """The verdicts of each seed of a run; empty for segmenters."""
    folders = [group / f"test-{test}" for group in row.groups]
    tables = [folder / f"{TABLE}.csv" for folder in folders if evaluation_of(folder)]
    return [read_verdicts(table) for table in tables if table.is_file()]


def _gain(
    ours: Sequence[Verdicts], theirs: Sequence[Verdicts], column: Sequence[str], repeats: int
) -> Gain | None:
    """The gain in a column; None if the column has another measure, or the two share no label or film."""
    subject, measure, condition = (*column, "")[:3]
    if condition and not (measure == "AUROC" and condition.startswith(WITHIN)):
        return None
    try:
        if measure in MEASURES:
            return six_gain(ours, theirs, measure, repeats=repeats)
        if measure not in ("AUROC", BY_PATIENT):
            return None
        both, within = common([ours[0], theirs[0]])[0], condition.removeprefix(WITHIN)
        known = [label for label in theirs[0].labels if label in both.labels]
        findings = findings_of(both, known, within)
        labels = findings if subject == mean_name(findings) else {subject} & set(known)
        found = gain(
            ours, theirs, sorted(labels), subject=subject, measure=measure, within=within, repeats=repeats
        )
    except DataError:
        return None
    return found if found.value == found.value else None


def difference_table(differences: Sequence[Difference], baseline: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a run a row, with its difference in each column."""
    columns = list(dict.fromkeys(one.column for one in differences))
    head = [f"run minus {baseline}", "source to test", *(", ".join(column) for column in columns)]
    rows: dict[tuple[str, str], dict[tuple[str, ...], str]] = {}
    for one in differences:
        gain = one.gain
        told = with_interval(gain.value, gain.low, gain.high, "+.3f", of_value="+.4f")
        told += f", P {written(gain.corrected)}" if gain.low == gain.low else " (too few films)"
        rows.setdefault((one.run, f"{one.source} to {one.test}"), {})[one.column] = told
    return head, [[*run, *(cells.get(column, "") for column in columns)] for run, cells in rows.items()]
