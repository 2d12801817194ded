"""Scores under weights: as those of films that stand several times, and against values worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hilum.statistics import scores, slopes
from hilum.statistics.scores import Statistic
from hilum.types import Array

ONE = np.ones((1, 4))


def films(seed: int, n: int = 200) -> tuple[Array, Array]:
    """Truth and an informative probability of n films, some of them tied."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.3).astype(float)
    return truth, np.round(1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * truth - 1))), 2).clip(0.01, 0.99)


def classes(truth: Array, score: Array) -> tuple[Array, Array]:
    return np.where(truth == 1, "ill", "well"), np.where(score > 0.5, "ill", "well")


EVERY: dict[str, Callable[[Array, Array], Statistic]] = {
    "auroc": scores.auroc,
    "auroc_within": lambda truth, score: scores.auroc_within(truth, score, np.round(score * 50) % 2),
    "average_precision": scores.average_precision,
    "brier": scores.brier,
    "brier_skill": scores.brier_skill,
    "calibration_error": scores.calibration_error,
    "calibration_slope": slopes.calibration_slope,
    "calibration_intercept": slopes.calibration_intercept,
    "observed_expected": scores.observed_expected,
    "sensitivity": lambda truth, score: scores.sensitivity(truth, score > 0.5),
    "specificity": lambda truth, score: scores.specificity(truth, score > 0.5),
    "positive predictive value": lambda truth, score: scores.predictive_value(
        truth, score > 0.5, positive=True
    ),
    "positive likelihood ratio": lambda truth, score: scores.likelihood_ratio(
        truth, score > 0.5, positive=True
    ),
    "negative likelihood ratio": lambda truth, score: scores.likelihood_ratio(
        truth, score > 0.5, positive=False
    ),
    "negative predictive value": lambda truth, score: scores.predictive_value(
        truth, score > 0.5, positive=False, prevalence=0.1
    ),
    "balanced_accuracy": lambda truth, score: scores.balanced_accuracy(
        *classes(truth, score), ["ill", "well", "unheard of"]
    ),
    "macro_f1": lambda truth, score: scores.macro_f1(*classes(truth, score), ["ill", "well", "unheard of"]),
}


@pytest.mark.parametrize("name", EVERY)
def test_weights_count_as_films_that_stand_several_times(name: str) -> None:
    truth, score = films(0)
    times = np.random.default_rng(1).integers(0, 4, (5, len(truth)))
    together = EVERY[name](truth, score)(times.astype(float))
    assert together.shape == (5,)
    for row, value in zip(times, together, strict=True):
        repeated = EVERY[name](np.repeat(truth, row), np.repeat(score, row))
        assert value == pytest.approx(repeated(np.ones((1, row.sum())))[0], rel=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_films_that_cannot_tell_give_nan_and_spoil_no_other_row(name: str) -> None:
    truth, score = films(2)
    weights = np.stack([np.zeros(len(truth)), np.ones(len(truth))])
    with np.errstate(all="raise"):
        nothing, all_ = EVERY[name](truth, score)(weights)
    assert np.isnan(nothing)
    assert np.isfinite(all_)


@pytest.mark.parametrize(
    "name", ["auroc", "average_precision", "calibration_slope", "calibration_intercept", "sensitivity"]
)
def test_without_a_positive_film_there_is_nothing_to_tell(name: str) -> None:
    truth, score = films(3)
    assert np.isnan(EVERY[name](truth, score)((truth == 0)[None].astype(float))[0])


def test_pairs_within_groups_by_hand() -> None:
    truth, score = np.array([1, 0, 0, 1, 0, 1]), np.array([0.9, 0.1, 0.95, 0.2, 0.2, 0.3])
    groups = np.array(["a", "a", "a", "b", "b", "b"])
    # Of a's one positive film half of the negative ones are beaten; b's two tie and win. Across the groups
    # nothing counts.
    assert scores.auroc_within(truth, score, groups)(np.ones((1, 6))) == pytest.approx((0.5 + 0.5 + 1) / 3)
    # A positive film that stands twice counts twice; one whose group has no negative film says nothing.
    twice = np.array([[2.0, 1, 1, 1, 1, 1], [2.0, 1, 1, 0, 0, 1], [0, 0, 0, 1, 0, 1]])
    expected = [(2 * 0.5 + 0.5 + 1) / 4, 0.5, np.nan]
    assert scores.auroc_within(truth, score, groups)(twice) == pytest.approx(expected, nan_ok=True)
    assert scores.auroc_within(truth, score, np.full(6, "a"))(np.ones((1, 6))) == pytest.approx(
        scores.auroc(truth, score)(np.ones((1, 6)))
    )


def test_rates_by_hand() -> None:
    truth, called = np.array([1, 1, 1, 0]), np.array([True, True, False, True])
    assert scores.sensitivity(truth, called)(ONE) == pytest.approx(2 / 3)
    assert scores.specificity(truth, called)(ONE) == 0
    assert scores.predictive_value(truth, called, positive=True)(ONE) == pytest.approx(2 / 3)
    assert scores.predictive_value(truth, called, positive=False)(ONE) == 0
    assert np.isinf(scores.likelihood_ratio(truth, ~called, positive=True)(ONE))  # 1/3 over 0
    assert scores.likelihood_ratio(truth, called, positive=True)(ONE) == pytest.approx(2 / 3)  # over 1
    # Sensitivity 0.9, specificity 0.8, one in ten ill: 0.09 right of 0.09 + 0.18 positive calls.
    ill = np.repeat([1.0, 0.0], 10)
    said = np.repeat([True, False, True, False], [9, 1, 2, 8])
    every = np.ones((1, 20))
    assert scores.predictive_value(ill, said, positive=True, prevalence=0.1)(every) == pytest.approx(
        0.09 / 0.27
    )
    assert scores.predictive_value(ill, said, positive=False, prevalence=0.1)(every) == pytest.approx(
        0.72 / 0.73
    )


def test_skill_is_nought_for_who_says_the_prevalence() -> None:
    truth = np.array([1.0, 0, 0, 0])
    assert scores.brier_skill(truth, np.full(4, 0.25))(ONE) == pytest.approx(0)
    assert scores.brier_skill(truth, truth)(ONE) == pytest.approx(1)
    assert scores.brier_skill(truth, np.full(4, 0.9))(ONE)[0] < 0


def test_a_line_through_the_log_odds_undoes_what_was_done_to_them() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(-1, 1.5, 50_000)
    truth = (rng.random(50_000) < 1 / (1 + np.exp(-odds))).astype(float)
    every = np.ones((1, 50_000))
    right = 1 / (1 + np.exp(-odds))
    assert slopes.calibration_slope(truth, right)(every) == pytest.approx(1, abs=0.04)
    assert slopes.calibration_intercept(truth, right)(every) == pytest.approx(0, abs=0.03)
    assert scores.observed_expected(truth, right)(every) == pytest.approx(1, abs=0.03)
    sure = 1 / (1 + np.exp(-2 * odds))
    assert slopes.calibration_slope(truth, sure)(every) == pytest.approx(0.5, abs=0.02)
    high = 1 / (1 + np.exp(-odds - 0.7))
    assert slopes.calibration_intercept(truth, high)(every) == pytest.approx(-0.7, abs=0.03)


@pytest.mark.parametrize(("spread", "slope"), [(6, 0.2), (12, 0.05), (8, 0.0), (0.3, 4.0)])
def test_a_line_is_found_however_sure_the_model_is(spread: float, slope: float) -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, spread, 20_000).clip(-15, 15)
    truth = (rng.random(20_000) < 1 / (1 + np.exp(-slope * odds))).astype(float)
    weights = rng.integers(0, 3, (3, 20_000)).astype(float)
    said = 1 / (1 + np.exp(-odds))
    np.testing.assert_allclose(
        slopes.calibration_slope(truth, said)(weights), slope, atol=0.02 + 0.05 * slope
    )


def test_an_intercept_needs_both_classes_and_no_more() -> None:
    sure = np.array([1e-6, 1 - 1e-6] * 2)
    assert slopes.calibration_intercept(np.array([0.0, 1, 1, 0]), sure)(ONE) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_line_agrees_with_scikit_learn(seed: int) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    truth, score = films(seed)
    odds = np.log(score / (1 - score))
    fitted = linear.LogisticRegression(C=1e12, tol=1e-10).fit(odds[:, None], truth)
    slope = slopes.calibration_slope(truth, score)(np.ones((1, len(truth))))
    assert slope == pytest.approx(fitted.coef_[0, 0], rel=1e-3)


def test_films_parted_cleanly_have_no_slope() -> None:
    assert np.isnan(slopes.calibration_slope(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))(ONE)[0])


def test_bins_hold_all_films() -> None:
    truth, score = films(4)
    weights = np.random.default_rng(5).integers(0, 3, (7, len(truth))).astype(float)
    held, stated, seen = scores.calibration_bins(truth, score, 10)(weights)
    assert held.shape == (7, 10)
    np.testing.assert_allclose(held.sum(axis=1), weights.sum(axis=1))
    np.testing.assert_allclose(stated.sum(axis=1), weights @ score)
    np.testing.assert_allclose(seen.sum(axis=1), weights @ truth)


def test_several_scores_have_a_mean_and_films_a_weight_of_their_own() -> None:
    truth, score = films(6)
    weights = np.ones((2, len(truth)))
    one, other = scores.auroc(truth, score), scores.auroc(truth, -score)
    np.testing.assert_allclose(scores.mean_of([one, other])(weights), 0.5)
    by = np.random.default_rng(7).random(len(truth))
    np.testing.assert_allclose(scores.scaled(one, by)(weights), one(weights * by))
