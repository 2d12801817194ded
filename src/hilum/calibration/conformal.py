"""Prediction sets: the answers on a label that cannot be excluded, with a guaranteed coverage by patient.

Class-conditional split conformal prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random
World, 2005), in which each patient, not each film, is one draw (Lee, Barber and Willett, 2023).
"""

from __future__ import annotations

import math

import numpy as np

from hilum.card import Sets
from hilum.statistics.metrics import forecasts
from hilum.types import Array

COVERAGE = 0.9

FEWEST_PATIENTS = 20
"""Patients of either class below which a label gets no sets."""


def fit_sets(probabilities: Array, truth: Array, patients: Array) -> Sets | None:
    """Choose the lowest probability at which "present" is in the set, and the highest at which "absent" is.

    Takes probabilities (N,), truth (N,) of 0, 1 or NaN (left out) and each film's patient (N,). For a film of
    a new patient that has the label, the set holds "present" with a chance of at least COVERAGE; without the
    label, "absent". Returns None with fewer than FEWEST_PATIENTS patients of one of the classes.
    """
    known = ~np.isnan(truth)
    truth, said = forecasts(truth, probabilities)
    ill, well = truth == 1, truth == 0
    names = np.asarray(patients)[known]
    count = tuple(len(set(names[films].tolist())) for films in (ill, well))
    if min(count) < FEWEST_PATIENTS:
        return None
    return Sets(
        coverage=COVERAGE,
        present=max(0.0, _bound(said[ill], names[ill])),
        absent=min(1.0, -_bound(-said[well], names[well])),
        patients=count,
        reached=tuple(_reached(patients) for patients in count),
    )


def plausible(probability: float, sets: Sets | None) -> str:
    """The answers in the set of a probability: present, absent, either or neither; "" without `sets`."""
    if sets is None:
        return ""
    present, absent = probability >= sets.present, probability <= sets.absent
    return {(True, False): "present", (False, True): "absent", (True, True): "either"}.get(
        (present, absent), "neither"
    )


def _bound(scores: Array, patients: Array) -> float:
    """The largest score such that COVERAGE of the patients, plus one unseen patient, lie at or above it."""
    _, place, films = np.unique(patients, return_inverse=True, return_counts=True)
    order = np.argsort(-scores)
    above = np.cumsum((1 / films[place])[order]) / (len(films) + 1)
    first = int(np.searchsorted(above, COVERAGE - 1e-9))
    return float(scores[order][first]) if first < len(scores) else -math.inf


def _reached(patients: int) -> tuple[float, float]:
    """95 % bounds of the coverage that sets fitted on so many patients reach.

    From a beta distribution (Vovk, Machine Learning 92, 2013), as if each patient had one film.
    """
    kept = min(patients, math.ceil((patients + 1) * COVERAGE - 1e-9))
    return _beta_quantile(0.025, kept, patients + 1 - kept), _beta_quantile(0.975, kept, patients + 1 - kept)


def _beta_quantile(level: float, a: int, b: int) -> float:
    """Quantile of a beta distribution with whole parameters, by bisection on the binomial's upper tail."""
    n = a + b - 1
    times = np.arange(a, n + 1)
    ways = np.array(
        [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in times.tolist()]
    )
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        tail = np.exp(ways + times * math.log(middle) + (n - times) * math.log1p(-middle)).sum()
        low, high = (middle, high) if tail < level else (low, middle)
    return (low + high) / 2
