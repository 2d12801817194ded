"""Prediction sets hold the truth as often as they promise, by patient, and promise nothing of few."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.calibration.conformal import COVERAGE, FEWEST_PATIENTS, fit_sets, plausible


def films(seed: int, patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, truth and patients: some have dozens of films, which are alike and score lower."""
    rng = np.random.default_rng(seed)
    many = rng.random(patients) < 0.2
    own = np.repeat(np.arange(patients), np.where(many, 30, 1))
    truth = (rng.random(patients) < 0.5).astype(float)[own]
    level = rng.normal(size=patients)[own] + np.where(many, -1.0, 0.5)[own]
    return 1 / (1 + np.exp(-(level + 2 * truth - 1))), truth, own.astype(str)


def covered(sets: object, said: np.ndarray, truth: np.ndarray, patients: np.ndarray, of: int) -> float:
    """Mean over patients of the share of their films of a class whose set holds it."""
    holds = said >= sets.present if of else said <= sets.absent
    chosen = truth == of
    names, place = np.unique(patients[chosen], return_inverse=True)
    return float(np.mean(np.bincount(place, holds[chosen]) / np.bincount(place, minlength=len(names))))


@pytest.mark.parametrize("of", [0, 1])
def test_new_patients_are_covered_as_promised_though_some_have_many_films(of: int) -> None:
    found = [covered(fit_sets(*films(seed, 120)), *films(1000 + seed, 400), of=of) for seed in range(60)]
    assert np.mean(found) == pytest.approx(COVERAGE, abs=0.012)
    # Of the true coverages about 95 % lie within the interval that is told.
    low, high = fit_sets(*films(0, 120)).reached[1 - of]
    assert np.mean([low - 0.03 <= one <= high + 0.03 for one in found]) > 0.9


def test_bounds_by_hand() -> None:
    # 39 ill patients, one film each: of 40 with the unseen one, 36 must lie at or above the bound.
    ill = np.linspace(0.3, 0.9, 39)
    well = np.linspace(0.1, 0.7, 39)
    said, truth = np.r_[ill, well], np.r_[np.ones(39), np.zeros(39)]
    sets = fit_sets(said, truth, np.arange(78).astype(str))
    assert sets.present == pytest.approx(np.sort(ill)[::-1][35])
    assert sets.absent == pytest.approx(np.sort(well)[35])
    assert sets.patients == (39, 39)


def test_the_interval_of_the_coverage_is_that_of_a_beta_distribution() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    said, truth = rng.random(2 * 57), np.repeat([1.0, 0.0], 57)
    for low, high in fit_sets(said, truth, np.arange(len(said)).astype(str)).reached:
        assert (low, high) == pytest.approx(tuple(stats.beta(53, 5).ppf([0.025, 0.975])), abs=1e-6)


def test_few_patients_promise_nothing_however_many_films() -> None:
    count = FEWEST_PATIENTS - 1
    patients = np.r_[np.repeat(np.arange(count), 50), 100 + np.arange(500)].astype(str)
    truth = np.r_[np.ones(50 * count), np.zeros(500)]
    assert fit_sets(np.linspace(0, 1, len(truth)), truth, patients) is None
    unknown = np.full(len(truth), np.nan)
    assert fit_sets(np.linspace(0, 1, len(truth)), unknown, patients) is None


def test_what_cannot_be_excluded() -> None:
    sets = fit_sets(np.linspace(0.01, 0.99, 80), np.tile([0.0, 1.0], 40), np.arange(80).astype(str))
    assert plausible(0.5, sets) == "either"
    assert plausible(0.0, sets) == "absent"
    assert plausible(1.0, sets) == "present"
    apart = sets.model_copy(update={"present": 0.8, "absent": 0.2})
    assert plausible(0.5, apart) == "neither"
    assert plausible(0.5, None) == ""
