"""All figures of a classifier's verdicts: by label, over the findings, by group, for films with one label."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hilum.card import Card
from hilum.evaluation.call_figures import figures_of_calls, net_benefits
from hilum.evaluation.figures import WITHIN, Bench, Evaluation, Figure, too_few
from hilum.evaluation.six_way import figures_of_six, six_way
from hilum.evaluation.verdicts import TABLE, Verdicts, in_pairs, mean_auroc, mean_auroc_within, mean_name
from hilum.statistics import scores
from hilum.statistics.delong import delong_interval
from hilum.statistics.folds import rarer
from hilum.statistics.intervals import Interval
from hilum.statistics.scores import Statistic
from hilum.statistics.slopes import calibration_intercept, calibration_slope
from hilum.types import Array

Measure = Callable[[Array, Array], Statistic]

DECISION = "decision"
"""Stem of the csv that holds the decision curves."""

BINS = "bins"
"""Stem of the csv that holds predicted and observed frequencies in bins of equal mass."""

ASSESSABLE = 100
"""Patients of either class below which the calibration is not assessed (after Van Calster et al., 2016)."""


def figures_of(
    verdicts: Verdicts,
    *,
    card: Card | None = None,
    prevalences: Mapping[str, float] | None = None,
    seed: int = 0,
    repeats: int = 1000,
) -> Evaluation:
    """All figures of the verdicts, with intervals over patients.

    With the model's `card`, also those of its operating points and prediction sets. `prevalences` are label
    prevalences elsewhere; predictive values are given for them too.
    """
    bench = Bench(verdicts.patients, seed, repeats)
    six = six_way(verdicts)
    figures = [
        *_asked(verdicts, bench),
        *_of_labels(verdicts, bench),
        *figures_of_calls(verdicts, bench, card, prevalences or {}),
        *_of_findings(verdicts, bench),
        *(figure for name in verdicts.groups for figure in _of_groups(verdicts, bench, name)),
        *(figures_of_six(six, bench) if six else ()),
    ]
    return Evaluation(
        figures=tuple(figures),
        confusion=six.confusion(six.by_probability) if six else {},
        tables={TABLE: verdicts.rows(), DECISION: net_benefits(verdicts, bench), BINS: _bins(verdicts)},
    )


def _asked(verdicts: Verdicts, bench: Bench) -> Iterator[Figure]:
    """The share of films shown to the specialist."""
    if verdicts.asked is not None:
        everyone = np.ones(len(verdicts.films), bool)
        yield bench.figure(
            "films", "share shown to the specialist", scores.average, verdicts.asked, films=everyone
        )


def _of_labels(verdicts: Verdicts, bench: Bench) -> Iterator[Figure]:
    of_films: dict[str, Measure] = {"AUROC": scores.auroc, "average precision": scores.average_precision}
    # Probabilities are about patients, so each patient counts once where they are judged.
    of_patients: dict[str, Measure] = {
        "AUROC by patient": scores.auroc,
        "Brier score": scores.brier,
        "Brier skill score": scores.brier_skill,
    }
    calibration: dict[str, Measure] = {
        "calibration error": scores.calibration_error,
        "calibration slope": calibration_slope,
        "calibration intercept": calibration_intercept,
        "observed over expected": scores.observed_expected,
    }
    for i, label in enumerate(verdicts.labels):
        truth, said = verdicts.truth[:, i], verdicts.probabilities[:, i]
        known = ~np.isnan(truth)
        about: dict[str, Any] = {"films": known, "positives": int((truth == 1).sum())}
        for name, measure in of_films.items():
            yield bench.figure(label, name, measure, truth, said, **about)
        yield _delong(label, truth[known], said[known])
        columns = truth, said, verdicts.patients
        for name, measure in of_patients.items():
            yield bench.figure(label, name, scores.by_patient(measure), *columns, **about)
        fewest = rarer(truth[known], verdicts.patients[known])
        about["remark"] = (
            "" if fewest >= ASSESSABLE else f"not assessable: {fewest} patients, fewer than {ASSESSABLE}"
        )
        for name, measure in calibration.items():
            reflected = name == "calibration error"
            yield bench.figure(
                label, name, scores.by_patient(measure), *columns, reflected=reflected, **about
            )


def _bins(verdicts: Verdicts) -> list[dict[str, Any]]:
    """Predicted and observed frequency in ten bins with equally many patients, by label."""
    rows = []
    for i, label in enumerate(verdicts.labels):
        known = ~np.isnan(verdicts.truth[:, i])
        binned = scores.calibration_bins(verdicts.truth[known, i], verdicts.probabilities[known, i], 10)
        weights = scores.patient_weights(verdicts.patients[known])[None]
        for patients, stated, seen in zip(*(part[0] for part in binned(weights)), strict=True):
            if patients:
                shares = {"mean probability": stated / patients, "share positive": seen / patients}
                rows.append({"label": label, "patients": round(patients, 1), **shares})
    return rows


def _delong(label: str, truth: Array, said: Array) -> Figure:
    return Figure.of(
        delong_interval(truth, said),
        subject=label,
        measure="AUROC after DeLong",
        films=len(truth),
        positives=int(truth.sum()),
        remark="films taken as independent",
    )


def _of_findings(verdicts: Verdicts, bench: Bench) -> Iterator[Figure]:
    """The mean over the labels that name a disease."""
    places = verdicts.told()
    if not places:
        return
    subject = mean_name(places)
    columns = verdicts.truth[:, places], verdicts.probabilities[:, places]
    known = np.asarray(~np.isnan(columns[0]).all(axis=1))
    yield bench.figure(subject, "AUROC", mean_auroc, *columns, films=known)
    yield bench.figure(subject, "AUROC by patient", mean_auroc, *columns, verdicts.patients, films=known)


def _of_groups(verdicts: Verdicts, bench: Bench, name: str) -> Iterator[Figure]:
    """AUROC and calibration of each label in each group, and the widest gap between two groups' AUROCs."""
    of = verdicts.groups[name]
    names = sorted({str(one) for one in of} - {""})
    for i, label in enumerate(verdicts.labels):
        truth, said = verdicts.truth[:, i], verdicts.probabilities[:, i]
        found: dict[str, Figure] = {}
        for group in names:
            films = (of == group) & ~np.isnan(truth)
            about: dict[str, Any] = {"films": films, "condition": f"{name} {group}"}
            about["positives"] = positives = int((truth[films] == 1).sum())
            if too_few(int(films.sum()), positives):
                yield untold(label, "AUROC", **about)
                continue
            found[group] = bench.figure(label, "AUROC", scores.auroc, truth, said, **about)
            yield found[group]
            expected, columns = scores.by_patient(scores.observed_expected), (truth, said, verdicts.patients)
            yield bench.figure(label, "observed over expected", expected, *columns, **about)
        if len(found) > 1:
            worst, *_, best = sorted(found, key=lambda group: found[group].value)
            yield _gap(label, name, best, worst, found)
    if len(names) > 1:
        yield from _within(verdicts, bench, name, of)


def _within(verdicts: Verdicts, bench: Bench, name: str, of: Array) -> Iterator[Figure]:
    """The within-group AUROC: differences between groups cannot raise it."""
    for i, label in enumerate(verdicts.labels):
        truth, said = verdicts.truth[:, i], verdicts.probabilities[:, i]
        films = in_pairs(truth, of)
        about: dict[str, Any] = {"films": films, "condition": WITHIN + name}
        about["positives"] = positives = int((truth[films] == 1).sum())
        if too_few(int(films.sum()), positives):
            yield untold(label, "AUROC", **about)
        else:
            yield bench.figure(label, "AUROC", scores.auroc_within, truth, said, of, **about)
    if places := verdicts.told(within=name):
        columns = verdicts.truth[:, places], verdicts.probabilities[:, places], of
        films = (of != "") & ~np.isnan(columns[0]).all(axis=1)
        about = {"films": films, "condition": WITHIN + name}
        yield bench.figure(mean_name(places), "AUROC", mean_auroc_within, *columns, **about)


def _gap(label: str, name: str, best: str, worst: str, found: Mapping[str, Figure]) -> Figure:
    """The AUROC of the best group minus that of the worst."""
    one, other = found[best], found[worst]
    return Figure.of(
        # The pair was chosen for its gap: an interval would be too narrow.
        Interval(value=one.value - other.value, low=math.nan, high=math.nan),
        subject=label,
        measure="AUROC",
        condition=f"{name} {best} more than {worst}",
        films=one.films + other.films,
        positives=(one.positives or 0) + (other.positives or 0),
        remark=f"the widest of {len(found)} groups",
    )


def untold(
    label: str, measure: str, *, films: Array, positives: int, condition: str = "", remark: str = ""
) -> Figure:
    return Figure.of(
        Interval(value=math.nan, low=math.nan, high=math.nan),
        subject=label,
        measure=measure,
        condition=condition,
        films=int(films.sum()),
        positives=positives,
        remark=remark,
    )
