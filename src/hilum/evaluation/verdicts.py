"""A classifier's outputs beside the truth, film by film: stored, pooled, compared."""

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
"""Prefix of that csv's columns of groups; the name of the grouping follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """N films, C labels."""

    films: tuple[str, ...]
    patients: Array  # (N,) names
    labels: tuple[str, ...]
    truth: Array  # (N, C) float64: 0, 1 or NaN
    probabilities: Array  # (N, C) float64
    margins: Array  # (N, C) float64: log-odds above the label's threshold
    asked: Array | None = None  # (N,) bool: films shown to a specialist; None: there was none
    groups: Mapping[str, Array] = field(default_factory=dict)  # such as sex: (N,) names, "" for unknown

    @property
    def findings(self) -> list[int]:
        """Indices of the labels that name a disease."""
        return [i for i, label in enumerate(self.labels) if label != NO_FINDING]

    def told(self, within: str = "") -> list[int]:
        """Indices of the findings with films of both classes, in one group if `within` names a grouping."""
        if within:
            return [i for i in self.findings if in_pairs(self.truth[:, i], self.groups[within]).any()]
        return both_ways(self.truth, self.findings)

    @property
    def called(self) -> Array:
        """Which labels are called, (N, C) bool, as `decide.called`."""
        return called(self.margins, self.labels)

    def on(self, films: Sequence[str]) -> Verdicts:
        """The verdicts on these films, in this order."""
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
    columns, rows = read_csv(path, remedy="evaluate the model again")
    return parsed_verdicts(path, columns, [row for _, row in rows])


def parsed_verdicts(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> Verdicts:
    """As `read_verdicts`, of a csv that was read already."""
    try:
        return _parsed(columns, rows)
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
    """Verdicts on several sets of films as one, such as a cross-validation's folds.

    Raises DataError if they share a film or differ in labels.
    """
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
    """Mean over labels of the AUROC, each on the films where it is known: truth and probabilities (N, C).

    Given `patients` (N,), the AUROC is patient-weighted: each patient counts once for every label.
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
    """The films, (N,) bool, of `groups` (N,), "" for unknown, that hold both classes of truth (N,)."""
    told = [(groups == group) & ~np.isnan(truth) for group in np.unique(groups[groups != ""])]
    pairs = [own for own in told if {0.0, 1.0} <= set(truth[own])]
    return np.asarray(np.any(pairs or [np.zeros(len(truth), bool)], axis=0))


def mean_name(findings: Sequence[object]) -> str:
    """The subject of a figure that is a mean over these findings."""
    return f"mean of {len(findings)} findings"


def both_ways(truth: Array, places: Sequence[int]) -> list[int]:
    """Those of the labels, by index, of which truth (N, C) has both classes."""
    return [i for i in places if {0.0, 1.0} <= set(truth[:, i].tolist())]
