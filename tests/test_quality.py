"""How far an outline can be trusted: what probabilities promise, and what promises turned out to be worth."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.card import Reliability
from hilum.quality import POOR, fit, judge, promised, promises_of
from hilum.types import STRUCTURES, Array

SURE = 12.0  # a logit whose probability is 1 within 1e-5


def test_the_promise_is_the_expected_dice() -> None:
    plane = np.full((64, 64), -SURE, np.float32)
    plane[:32, :32] = np.log(0.8 / 0.2)  # 1024 pixels at 0.8, the others at 0
    assert promised(plane) == pytest.approx(2 * 0.8 * 1024 / (0.8 * 1024 + 1024), abs=1e-3)
    plane[:32, 32:48] = np.log(0.4 / 0.6)  # 512 that are not in the outline, but might be
    assert promised(plane) == pytest.approx(2 * 0.8 * 1024 / (0.8 * 1024 + 0.4 * 512 + 1024), abs=1e-3)


def test_the_promise_is_one_when_sure_and_falls_with_doubt() -> None:
    inside = np.zeros((64, 64), bool)
    inside[10:50, 10:30] = True
    values = [promised(np.where(inside, logit, -logit)) for logit in (1e4, 90.0, 8.0, 4.0, 2.0, 0.5)]
    assert values[0] == values[1] == pytest.approx(1)
    assert values[1] > values[2] > values[3] > values[4] > values[5] > 0


def test_nothing_found_promises_nothing_however_much_it_was_doubted() -> None:
    for logit in (-1e4, -SURE, -0.1, 0.0):
        assert promised(np.full((64, 64), logit, np.float32)) == 0


def test_each_structure_is_promised_by_its_own_plane() -> None:
    logits = np.full((3, 32, 32), -99.0, np.float32)
    logits[1, :16] = np.log(0.8 / 0.2)
    logits[2, :8] = 99.0
    expected = {"right_lung": 0.0, "left_lung": 1.6 / 1.8, "heart": 1.0}
    assert promises_of(logits) == pytest.approx(expected, abs=1e-6)


PROMISES = {"right_lung": 0.9, "left_lung": 0.6, "heart": 0.3}


def test_without_a_fit_the_promise_is_the_quality() -> None:
    assert judge(PROMISES, {}) == PROMISES


def test_quality_is_what_the_fit_expects_of_the_promise() -> None:
    # What lacks to 1 is 0.10, and a hundredth, the least that can be told: the square root of it, and twice.
    fitted = Reliability(intercept=0.0, slope=0.5, threshold=0.9)
    quality = judge(PROMISES, {"right_lung": fitted})
    assert quality["right_lung"] == pytest.approx(1.01 - 0.11**0.5)
    assert quality["heart"] == 0.3  # of which no fit is known
    doubled = judge(PROMISES, {"right_lung": fitted.model_copy(update={"intercept": float(np.log(2))})})
    assert doubled["right_lung"] == pytest.approx(1.01 - 2 * 0.11**0.5)


@pytest.mark.parametrize(("intercept", "bound"), [(9.0, 0.0), (-99.0, 1.0)])
def test_quality_stays_between_none_and_full(intercept: float, bound: float) -> None:
    fitted = Reliability(intercept=intercept, slope=1.0, threshold=0.5)
    assert judge(PROMISES, dict.fromkeys(STRUCTURES, fitted)) == dict.fromkeys(STRUCTURES, bound)


def test_an_empty_outline_has_no_quality_whatever_the_fit() -> None:
    nothing = dict.fromkeys(STRUCTURES, 0.0)
    fitted = Reliability(intercept=-9.0, slope=0.0, threshold=0.5)
    assert judge(nothing, {}) == judge(nothing, dict.fromkeys(STRUCTURES, fitted)) == nothing


def outlines(seed: int, count: int = 400) -> tuple[Array, Array]:
    """Promises (N,) and Dice (N,) of a known law: what lacks is 0.6 of the 0.7th power of what should."""
    promises = 1 - np.random.default_rng(seed).uniform(0.01, 0.3, count)
    return promises, 1.01 - 0.6 * (1.01 - promises) ** 0.7


def qualities(fitted: Reliability, promises: Array) -> Array:
    """Of hearts with these promises (N,)."""
    return np.array([judge({"heart": float(promise)}, {"heart": fitted})["heart"] for promise in promises])


def flagged(fitted: Reliability, promises: Array) -> Array:
    """Which of the outlines (N,) would be called unreliable, (N,) bool."""
    return qualities(fitted, promises) < fitted.threshold


def test_a_fit_finds_the_law_and_judges_by_it() -> None:
    fitted = fit(*outlines(1), false_flags=0.05)
    assert (fitted.intercept, fitted.slope) == pytest.approx((np.log(0.6), 0.7))
    unseen, truth = outlines(2, 5)
    np.testing.assert_allclose(qualities(fitted, unseen), truth)


def test_promises_that_are_all_alike_are_worth_the_mean_of_what_lacked() -> None:
    fitted = fit(np.full(2, 0.8), np.array([0.91, 0.61]), false_flags=0.05)
    assert fitted.slope == 0
    assert qualities(fitted, np.array([0.8, 0.95])) == pytest.approx(1.01 - (0.1 * 0.4) ** 0.5)


def test_a_greater_promise_never_lowers_the_quality() -> None:
    promises, dices = outlines(5)
    for truth in (dices, 1.6 - dices):  # also where the more was promised, the worse it was
        values = qualities(fit(promises, truth, false_flags=0.05), np.linspace(0.01, 1, 50))
        assert (np.diff(values) >= 0).all()


def test_where_quality_tells_poor_from_good_just_the_poor_are_flagged() -> None:
    promises, dices = outlines(3)
    assert 0.2 < (dices < POOR).mean() < 0.8
    for share in (0.0, 0.05, 0.5):  # flags are not given to fill the share
        np.testing.assert_array_equal(
            flagged(fit(promises, dices, false_flags=share), promises), dices < POOR
        )


@pytest.mark.parametrize("count", [40, 45, 130, 400])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_at_most_the_share_asked_for_is_flagged_of_the_good_ones(share: float, count: int) -> None:
    promises, dices = outlines(4, count)
    dices = np.clip(dices + np.random.default_rng(6).normal(0, 0.05, count), 0, 1)  # not all is promised
    flags, good = flagged(fit(promises, dices, false_flags=share), promises), dices >= POOR
    assert flags[good].sum() <= share * good.sum() + 1e-9
    if share:
        assert flags[~good].mean() > flags[good].mean()


@pytest.mark.parametrize(("low", "high", "all_poor"), [(0.95, 0.99, False), (0.2, 0.5, True)])
def test_films_that_are_all_good_or_all_poor_can_be_fitted(low: float, high: float, all_poor: bool) -> None:
    promises = np.random.default_rng(7).uniform(low, high, 60)
    fitted = fit(promises, promises, false_flags=0.05)
    assert 0 <= fitted.threshold <= 1
    flags = flagged(fitted, promises)
    assert flags.all() if all_poor else flags.mean() <= 0.05


def test_an_empty_outline_is_flagged() -> None:
    promises, dices = outlines(8)
    promises[:20], dices[:20] = 0.0, 0.0
    assert flagged(fit(promises, dices, false_flags=0.05), promises)[:20].all()
