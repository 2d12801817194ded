"""What a classifier said of films beside what is true of them: kept film by film, pooled, compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hilum.calibration.decide import called
from hilum.errors import DataError
from hilum.labels import NO_FINDING
from hilum.reading.files import read_csv
from hilum.statistics import scores
from hilum.statistics.scores import Statistic
from hilum.types import Array

TABLE = "films"
"""Stem of the csv that holds an evaluation's verdicts."""

_BY = "by "
"""Begins the head of that csv's column of a group: its name follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """N films, C labels."""

    films: tuple[str, ...]
    patients: Array  # (N,) names
    labels: tuple[str, ...]
    truth: Array  # (N, C) float64: 0, 1 or NaN
    probabilities: Array  # (N, C) float64
    margins: Array  # (N, C) float64: how far above the label's threshold, in logits
    asked: Array | None = None  # (N,) bool: on which films a specialist was heard; None: there was none
    groups: Mapping[str, Array] = field(default_factory=dict)  # sex, say: (N,) names, "" where none is told

    @property
    def findings(self) -> list[int]:
        """Places of the labels that name a disease."""
        return [i for i, label in enumerate(self.labels) if label != NO_FINDING]

    def told(self, within: str = "") -> list[int]:
        """Places of the findings that films of both classes are known of, those in one group of `within`."""
        if within:
            return [i for i in self.findings if in_pairs(self.truth[:, i], self.groups[within]).any()]
        return both_ways(self.truth, self.findings)

    @property
    def called(self) -> Array:
        """Which labels are called, (N, C) bool, No Finding only where no finding is: `decide`."""
        return called(self.margins, self.labels)

    def on(self, films: Sequence[str]) -> Verdicts:
        """The verdicts on these of the films, in this order."""
        place = {film: i for i, film in enumerate(self.films)}
        rows = [place[film] for film in films]
        return replace(
            self,
            films=tuple(films),
            patients=self.patients[rows],
            truth=self.truth[rows],
            probabilities=self.probabilities[rows],
            margins=self.margins[rows],
            asked=None if self.asked is None else self.asked[rows],
            groups={name: of[rows] for name, of in self.groups.items()},
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row a film, for a csv."""
        parts = zip(self.labels, self.truth.T, self.probabilities.T, self.margins.T, strict=True)
        columns = {
            f"{label}{of}": values
            for label, *triple in parts
            for of, values in zip(("", " probability", " margin"), triple, strict=True)
        }
        names = {"film": self.films, "patient": self.patients.tolist()}
        names |= {_BY + name: of.tolist() for name, of in self.groups.items()}
        return [
            {key: column[i] for key, column in names.items()}
            | {key: float(f"{v[i]:.7g}") for key, v in columns.items()}
            for i in range(len(self.films))
        ]


def read_verdicts(path: Path) -> Verdicts:
    """The verdicts of a csv that `Verdicts.rows` filled; raises DataError where it is not one."""
    try:
        columns, rows = read_csv(path)
        return _parsed(columns, [row for _, row in rows])
    except (DataError, KeyError, ValueError) as error:
        raise DataError(f"{path}: no table of verdicts ({error}); evaluate the model again") from None


def _parsed(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> Verdicts:
    """The verdicts in a csv's cells; raises DataError, KeyError or ValueError where those hold none."""
    labels = tuple(name for name in columns if f"{name} margin" in columns)
    if not labels or not rows:
        raise DataError("no labels" if rows else "no films")
    truth = np.array([[float(row[label] or "nan") for label in labels] for row in rows])
    probabilities, margins = (
        np.array([[float(row[label + of]) for label in labels] for row in rows])
        for of in (" probability", " margin")
    )
    groups = columns[2 : columns.index(labels[0])]  # film, patient, groups, labels
    return Verdicts(
        films=tuple(row["film"] for row in rows),
        patients=np.array([row["patient"] for row in rows]),
        labels=labels,
        truth=truth,
        probabilities=probabilities,
        margins=margins,
        groups={name.removeprefix(_BY): np.array([row[name] for row in rows]) for name in groups},
    )


def pool(parts: Sequence[Verdicts]) -> Verdicts:
    """Several sets of films as one: a cross-validation's folds. Raises DataError if a film stands twice."""
    films = tuple(film for part in parts for film in part.films)
    if len(set(films)) < len(films) or len({part.labels for part in parts}) > 1:
        raise DataError("the verdicts to pool share films, or differ in labels; pool the folds of one run")
    return Verdicts(
        films=films,
        patients=np.concatenate([part.patients for part in parts]),
        labels=parts[0].labels,
        truth=np.concatenate([part.truth for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        margins=np.concatenate([part.margins for part in parts]),
        groups={
            name: np.concatenate([part.groups[name] for part in parts])
            for name in parts[0].groups
            if all(name in part.groups for part in parts)
        },
    )


def mean_auroc(truth: Array, said: Array, patients: Array | None = None) -> Statistic:
    """Mean over labels of the AUROC, each where it is known: truth and probabilities (N, C).

    Given `patients` (N,), each of them counts as one, of every label anew.
    """
    if patients is None:
        return _mean(scores.auroc, truth, said)
    return _mean(scores.by_patient(scores.auroc), truth, said, patients)


def mean_auroc_within(truth: Array, said: Array, groups: Array) -> Statistic:
    """Mean over labels of `scores.auroc_within`: truth and probabilities (N, C), groups (N,)."""
    return _mean(scores.auroc_within, truth, said, groups)


def _mean(score: Callable[..., Statistic], truth: Array, said: Array, *others: Array) -> Statistic:
    return scores.mean_of([_on_known(score, *pair, *others) for pair in zip(truth.T, said.T, strict=True)])


def _on_known(score: Callable[..., Statistic], truth: Array, *columns: Array) -> Statistic:
    known = ~np.isnan(truth)
    own = score(truth[known], *(column[known] for column in columns))
    return own if known.all() else lambda weights: own(weights[:, known])


def in_pairs(truth: Array, groups: Array) -> Array:
    """The films, (N,) bool, of `groups` (N,), "" where none is told, that hold both classes of truth (N,)."""
    told = [(groups == group) & ~np.isnan(truth) for group in np.unique(groups[groups != ""])]
    pairs = [own for own in told if {0.0, 1.0} <= set(truth[own])]
    return np.asarray(np.any(pairs or [np.zeros(len(truth), bool)], axis=0))


def mean_name(findings: Sequence[object]) -> str:
    """What a figure of the mean over these findings is of."""
    return f"mean of {len(findings)} findings"


def both_ways(truth: Array, places: Sequence[int]) -> list[int]:
    """Those of the labels of which truth (N, C) has both classes."""
    return [i for i in places if {0.0, 1.0} <= set(truth[:, i].tolist())]
