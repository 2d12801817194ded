"""What a classifier said of films beside what is true of them: scored, kept film by film, pooled."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hilum import scores
from hilum.errors import DataError
from hilum.figures import Bench, Evaluation, Figure
from hilum.labels import SIX
from hilum.metrics import confusion
from hilum.scores import Statistic
from hilum.types import Array

TABLE = "films"
"""Stem of the csv that holds an evaluation's verdicts."""


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

    @property
    def findings(self) -> list[int]:
        """Places of the labels that name a disease."""
        return [i for i, label in enumerate(self.labels) if label != "No Finding"]

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
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row a film, for a csv."""
        parts = zip(self.labels, self.truth.T, self.probabilities.T, self.margins.T, strict=True)
        columns = {
            f"{label}{of}": values
            for label, *triple in parts
            for of, values in zip(("", " probability", " margin"), triple, strict=True)
        }
        names = zip(self.films, self.patients.tolist(), strict=True)
        return [
            {"film": film, "patient": patient} | {key: float(f"{v[i]:.7g}") for key, v in columns.items()}
            for i, (film, patient) in enumerate(names)
        ]


def read_verdicts(path: Path) -> Verdicts:
    """The verdicts of a csv that `Verdicts.rows` filled; raises DataError where it is not one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        labels = tuple(name for name in rows[0] if f"{name} margin" in rows[0])
        truth, probabilities, margins = (
            np.array([[float(row[label + of] or "nan") for label in labels] for row in rows])
            for of in ("", " probability", " margin")
        )
        films, patients = tuple(row["film"] for row in rows), np.array([row["patient"] for row in rows])
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise DataError(f"{path}: no table of verdicts ({error}); evaluate the model again") from None
    return Verdicts(
        films=films,
        patients=patients,
        labels=labels,
        truth=truth,
        probabilities=probabilities,
        margins=margins,
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
    )


def score(verdicts: Verdicts, *, seed: int = 0, repeats: int = 1000) -> Evaluation:
    """Figures of every label, of the findings together, and of the six-way task."""
    bench = Bench(verdicts.patients, seed, repeats)
    six = six_way(verdicts)
    heard = []
    if verdicts.asked is not None:
        everyone = np.ones(len(verdicts.films), bool)
        subject = "share shown to the specialist"
        heard = [bench.figure("films", subject, scores.average, verdicts.asked, films=everyone)]
    return Evaluation(
        figures=(*heard, *_by_label(verdicts, bench), *(_of_six(six, bench) if six else ())),
        confusion=six.confusion(six.by_probability) if six else {},
        tables={TABLE: verdicts.rows()},
    )


def mean_auroc(truth: Array, said: Array) -> Statistic:
    """Mean over labels of the AUROC: truth and probabilities (N, C)."""
    return scores.mean_of([scores.auroc(*pair) for pair in zip(truth.T, said.T, strict=True)])


def told(verdicts: Verdicts) -> Array:
    """Films (N,) bool of which every finding is known."""
    return np.asarray(~np.isnan(verdicts.truth[:, verdicts.findings]).any(axis=1))


def patient_weights(patients: Array) -> Array:
    """Weights (N,) float64 with which each patient, however many films, counts as one."""
    _, place, films = np.unique(patients, return_inverse=True, return_counts=True)
    return np.asarray(1 / films[place])


def _by_label(verdicts: Verdicts, bench: Bench) -> Iterator[Figure]:
    measures = {
        "AUROC": scores.auroc,
        "average precision": scores.average_precision,
        "Brier score": scores.brier,
        "calibration error": scores.calibration_error,
    }
    weights = patient_weights(verdicts.patients)
    for i, label in enumerate(verdicts.labels):
        truth, said = verdicts.truth[:, i], verdicts.probabilities[:, i]
        about: dict[str, Any] = {"films": ~np.isnan(truth), "positives": int((truth == 1).sum())}
        for name, measure in measures.items():
            yield bench.figure(label, name, measure, truth, said, **about)
        yield bench.figure(label, "AUROC by patient", _weighted_auroc, truth, said, weights, **about)
    if not verdicts.findings:
        return
    subject, known = f"mean of {len(verdicts.findings)} findings", told(verdicts)
    columns = verdicts.truth[:, verdicts.findings], verdicts.probabilities[:, verdicts.findings]
    yield bench.figure(subject, "AUROC", mean_auroc, *columns, films=known)
    yield bench.figure(subject, "AUROC by patient", _weighted_mean, *columns, weights, films=known)


def _weighted_auroc(truth: Array, said: Array, weights: Array) -> Statistic:
    return scores.scaled(scores.auroc(truth, said), weights)


def _weighted_mean(truth: Array, said: Array, weights: Array) -> Statistic:
    return scores.scaled(mean_auroc(truth, said), weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class SixWay:
    """The films that carry exactly one of the six labels: that label, and which one was called."""

    names: tuple[str, ...]  # those of the six that the verdicts are about
    single: Array  # (N,) bool: which films
    actual: Array  # (N,) names; of the other films any
    by_probability: Array  # (N,) names of the labels of greatest probability
    by_threshold: Array  # (N,) names of those furthest above their thresholds, which may be rare ones

    def confusion(self, called: Array) -> dict[str, dict[str, int]]:
        """True label -> called label -> films."""
        counts = confusion(self.actual[self.single], called[self.single], self.names)
        return {
            true: dict(zip(self.names, row, strict=True))
            for true, row in zip(self.names, counts.tolist(), strict=True)
        }


def six_way(verdicts: Verdicts) -> SixWay | None:
    """One of six as a task of its own; None where fewer than two labels or no film can tell."""
    places = [verdicts.labels.index(name) for name in SIX if name in verdicts.labels]
    carried = verdicts.truth[:, places] == 1
    single = carried.sum(axis=1) == 1
    if len(places) < 2 or not single.any():
        return None
    names = np.array([verdicts.labels[i] for i in places])
    return SixWay(
        names=tuple(names.tolist()),
        single=single,
        actual=names[np.argmax(carried, axis=1)],
        by_probability=names[np.argmax(verdicts.probabilities[:, places], axis=1)],
        by_threshold=names[np.argmax(verdicts.margins[:, places], axis=1)],
    )


def _of_six(six: SixWay, bench: Bench) -> Iterator[Figure]:
    """How often the one label is the one that was called."""

    def right(true: Array, called: Array) -> Statistic:
        return scores.average(true == called)

    measures: dict[str, tuple[Callable[..., Statistic], Array]] = {
        "accuracy": (right, six.by_probability),
        "macro F1": (partial(scores.macro_f1, classes=six.names), six.by_probability),
        "balanced accuracy": (partial(scores.balanced_accuracy, classes=six.names), six.by_probability),
        "balanced accuracy by threshold": (
            partial(scores.balanced_accuracy, classes=six.names),
            six.by_threshold,
        ),
    }
    subject = f"films with exactly one of the {len(six.names)}"
    for name, (measure, called) in measures.items():
        yield bench.figure(subject, name, measure, six.actual, called, films=six.single)
