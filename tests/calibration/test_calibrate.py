"""Calibration recovers what was simulated."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from hilum.calibration.calibrate import (
    FEWEST,
    fit_classes,
    fit_intercept,
    fit_platt,
    fit_temperature,
    fit_temperature_of_classes,
    lines,
    probabilities,
)
from hilum.card import Calibration, Card, Preparation
from hilum.errors import CheckpointError, ConfigError
from hilum.labels import SIX
from hilum.statistics import scores
from hilum.statistics.metrics import auroc

NAN = float("nan")


def sigmoid(z: np.ndarray | float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(z, float)))


def simulate(seed: int, n: int, slope: float, intercept: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and truth drawn from sigmoid(slope * logit + intercept)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=n)
    return logits, (rng.random(n) < sigmoid(slope * logits + intercept)).astype(float)


def log_loss(truth: np.ndarray, probability: np.ndarray) -> float:
    return float(-np.mean(np.log(np.where(truth == 1, probability, 1 - probability))))


def card(**changes: object) -> Card:
    fields = {"name": "toy", "version": "1", "task": "classify", "labels": SIX, "architecture": "none"}
    return Card.model_validate(fields | {"preparation": Preparation(size=64)} | changes)


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, -1.0), (1.0, 0.0), (2.0, -3.0)])
def test_platt_recovers_the_simulated_line(slope: float, intercept: float) -> None:
    logits, truth = simulate(1, 40_000, slope, intercept)
    fitted = fit_platt(logits, truth)
    assert fitted.slope == pytest.approx(slope, rel=0.05)
    assert fitted.intercept == pytest.approx(intercept, abs=0.08)
    assert fitted.events == truth.sum()


def test_platt_lowers_log_loss_and_calibration_error_on_other_films() -> None:
    fitted = fit_platt(*simulate(2, 3_000, 0.4, -1.5))
    logits, truth = simulate(3, 3_000, 0.4, -1.5)
    before, after = sigmoid(logits), sigmoid(fitted.slope * logits + fitted.intercept)
    assert log_loss(truth, after) < log_loss(truth, before) - 0.1
    worse, better = (
        scores.calibration_error(truth, said)(np.ones((1, 3_000)))[0] for said in (before, after)
    )
    assert better < worse / 3
    assert auroc(truth, after) == auroc(truth, before)


def test_a_patient_filmed_again_and_again_has_no_more_say() -> None:
    logits, truth = simulate(6, 300, 0.7, -1.0)
    truth[:3] = NAN
    again = np.repeat(np.arange(300), np.where(np.arange(300) % 9, 1, 40))
    once, often = (logits, truth, np.arange(300)), (logits[again], truth[again], again)

    def line(fitted: Calibration) -> tuple[float, float]:
        return fitted.slope, fitted.intercept

    assert line(fit_platt(*often)) == pytest.approx(line(fit_platt(*once)), rel=1e-6)
    assert line(fit_platt(*once)) == pytest.approx(line(fit_platt(logits, truth)), rel=1e-6)
    assert fit_platt(*often[:2]).intercept != pytest.approx(fit_platt(*once).intercept, abs=0.05)
    known, more = ([column[~np.isnan(of[1])] for column in of] for of in (once, often))
    few, many = (fit_intercept(*of, slope=0.5) for of in (known, more))
    assert line(many) == pytest.approx(line(few), rel=1e-6)
    few, many = (fit_temperature(*of, was=Calibration(slope=0.5, intercept=-1)) for of in (known, more))
    assert line(many) == pytest.approx(line(few), rel=1e-6)

    classes = np.random.default_rng(7).normal(size=(300, 3))
    which = np.eye(3)[np.argmax(classes + np.random.default_rng(8).normal(size=(300, 3)), axis=1)]
    for fit in (fit_classes, partial(fit_temperature_of_classes, was=[Calibration()] * 3)):
        once_each = fit(classes, which, np.arange(300))
        many_times = fit(classes[again], which[again], again)
        assert [line(one) for one in many_times] == [pytest.approx(line(one), rel=1e-6) for one in once_each]


def test_platt_agrees_with_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    logits, truth = simulate(4, 20_000, 0.8, -1.0)
    referee = linear.LogisticRegression(C=np.inf, tol=1e-8).fit(logits[:, None], truth)
    fitted = fit_platt(logits, truth)  # smoothed targets barely matter with this many films
    assert fitted.slope == pytest.approx(referee.coef_[0, 0], rel=5e-3)
    assert fitted.intercept == pytest.approx(referee.intercept_[0], abs=5e-3)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_platt_stays_calm_when_the_classes_are_parted_cleanly(scale: float) -> None:
    truth = np.repeat([0.0, 1.0], 100)
    dots = fit_platt(np.repeat([-5, 5], 100) * scale, truth)
    # Two places only, so both smoothed targets, 1 / 102 and 101 / 102, are met: log-odds of +-log(101).
    assert dots.slope * scale * 5 == pytest.approx(math.log(101), rel=1e-5)
    assert dots.intercept == pytest.approx(0, abs=1e-6)
    spread = fit_platt(np.linspace(-5, 5, 200) * scale, truth)
    assert 0 < spread.slope * scale < dots.slope * scale * 5


def test_platt_survives_far_outliers() -> None:
    logits, truth = simulate(5, 2_000, 1.0, 0.0)
    logits[0], truth[0] = 1e4, 0
    fitted = fit_platt(logits, truth)
    assert fitted.slope > 0
    assert math.isfinite(fitted.intercept)


def test_platt_leaves_unknown_labels_out() -> None:
    logits, truth = simulate(6, 1_000, 1.5, -1.0)
    some = truth.copy()
    some[::2] = NAN
    assert fit_platt(logits, some) == fit_platt(logits[1::2], truth[1::2])


@pytest.mark.parametrize(
    ("events", "others", "own_slope"),
    [(FEWEST, 200, True), (FEWEST - 1, 200, False), (200, FEWEST - 1, False), (0, 50, False), (50, 0, False)],
)
def test_platt_fits_the_intercept_alone_for_few_films(events: int, others: int, own_slope: bool) -> None:
    rng = np.random.default_rng(7)
    truth = np.repeat([1.0, 0.0], [events, others])
    logits = rng.normal(size=len(truth)) + truth
    fitted = fit_platt(logits, truth)
    assert (fitted.slope != 1) == own_slope
    assert fitted.events == events
    mean = (events * (events + 1) / (events + 2) + others / (others + 2)) / len(truth)
    assert sigmoid(fitted.slope * logits + fitted.intercept).mean() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("logits", [np.linspace(3, -3, 100), np.full(100, 0.1), np.full(100, 500.0)])
def test_platt_never_turns_the_order_round(logits: np.ndarray) -> None:
    truth = np.repeat([0.0, 1.0], 50)
    fitted = fit_platt(logits, truth)
    assert fitted.slope == 1
    assert sigmoid(logits + fitted.intercept).mean() == pytest.approx(0.5)


def test_platt_without_labels_changes_nothing() -> None:
    assert fit_platt(np.zeros(5), np.full(5, NAN)) == Calibration()


def test_platt_refuses_infinite_logits() -> None:
    with pytest.raises(ConfigError, match="infinite logit"):
        fit_platt([0.0, np.inf], [0, 1])


def test_probabilities_follow_each_labels_own_calibration() -> None:
    calibration = {"Edema": Calibration(slope=0.5, intercept=-1), "Atelectasis": Calibration(slope=2)}
    logits = np.random.default_rng(0).normal(scale=3, size=(5, 6)).astype(np.float32)
    result = probabilities(logits, card(calibration=calibration))
    assert result.shape == (5, 6)
    assert result.dtype == np.float64
    assert result[:, SIX.index("Edema")] == pytest.approx(sigmoid(0.5 * logits[:, SIX.index("Edema")] - 1))
    assert result[:, SIX.index("Atelectasis")] == pytest.approx(sigmoid(2 * logits[:, 0]))
    assert result[:, SIX.index("No Finding")] == pytest.approx(sigmoid(logits[:, SIX.index("No Finding")]))


def test_extreme_logits_stay_in_range_without_warnings() -> None:
    result = probabilities(np.array([[-1e4, 1e4, 0, -745, 745, 40]]), card())
    assert result[0, :3].tolist() == [0, 1, 0.5]
    assert ((result >= 0) & (result <= 1)).all()


def test_softmax_sums_to_one_whatever_the_calibration() -> None:
    logits = np.array([[0, 1, 2, 3, 4, 1000.0], [0, 0, 0, 0, 0, math.log(5)]])
    plain = probabilities(logits, card(activation="softmax"))
    assert plain.sum(axis=1) == pytest.approx([1, 1])
    assert plain[1] == pytest.approx([0.1] * 5 + [0.5])
    halved = dict.fromkeys(SIX, Calibration(slope=0.5))
    result = probabilities(logits, card(activation="softmax", calibration=halved))
    assert result.sum(axis=1) == pytest.approx([1, 1])
    assert result[1] == pytest.approx([1 / (5 + math.sqrt(5))] * 5 + [math.sqrt(5) / (5 + math.sqrt(5))])


def test_the_temperature_of_classes_is_the_one_they_were_drawn_with() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4000, 4))
    odds = np.exp(0.4 * logits)
    chances = odds / odds.sum(axis=1, keepdims=True)
    truth = np.eye(4)[[rng.choice(4, p=row) for row in chances]]
    truth[:500] = np.nan  # unknown
    truth[500:600] = 1  # all at once
    fitted = fit_temperature_of_classes(logits, truth, was=[Calibration()] * 4)
    assert {one.intercept for one in fitted} == {0}
    assert [one.slope for one in fitted] == pytest.approx([0.4] * 4, rel=0.05)
    assert [one.events for one in fitted] == (truth[600:] == 1).sum(axis=0).tolist()
    # One that leans is warmed whole.
    was = [Calibration(slope=2.0, intercept=i - 1.5) for i in range(4)]
    warmed = fit_temperature_of_classes((logits - [one.intercept for one in was]) / 2, truth, was=was)
    assert [one.slope for one in warmed] == pytest.approx([0.8] * 4, rel=0.05)
    assert [one.intercept for one in warmed] == pytest.approx([0.4 * (i - 1.5) for i in range(4)], rel=0.05)
    assert fit_temperature_of_classes(logits[:9], truth[:9], was=was) == tuple(was)


def test_classes_get_back_how_rare_they_are() -> None:
    """A network taught with rare classes counting more gives probabilities that hold all the same."""
    rng = np.random.default_rng(0)
    told = rng.normal(0, 2, (6000, 3)) + np.log([0.9, 0.08, 0.02])
    chances = np.exp(told) / np.exp(told).sum(axis=1, keepdims=True)
    truth = np.eye(3)[[rng.choice(3, p=row) for row in chances]]
    truth[:500] = np.nan  # unknown
    truth[500:600] = 1  # all at once
    logits = (told - np.log([0.9, 0.08, 0.02])) / 0.5
    fitted = fit_classes(logits, truth)
    assert sum(one.intercept for one in fitted) == pytest.approx(0, abs=1e-9)
    assert [one.events for one in fitted] == (truth[600:] == 1).sum(axis=0).tolist()
    said = probabilities(
        logits,
        card(
            labels=("A", "B", "C"),
            activation="softmax",
            calibration=dict(zip("ABC", fitted, strict=True)),
        ),
    )
    np.testing.assert_allclose(said, chances, atol=0.05)
    assert said[600:].mean(axis=0) == pytest.approx(truth[600:].mean(axis=0), abs=0.002)


def test_classes_that_the_logits_part_cleanly_or_that_never_occur_have_finite_numbers() -> None:
    truth = np.eye(3)[np.arange(90) % 2]  # the third class never
    clean = fit_classes(10 * truth, truth)
    assert all(0 < one.slope < 20 and abs(one.intercept) < 10 for one in clean)
    assert [one.events for one in clean] == [45, 45, 0]
    wrong = fit_classes(-truth, truth)  # what it says is the other way round
    said = np.exp(lines(wrong, -truth))
    said /= said.sum(axis=1, keepdims=True)
    assert said.mean(axis=0) == pytest.approx([0.49, 0.49, 0.02], abs=0.01)
    assert fit_classes(truth, np.full((90, 3), np.nan)) == (Calibration(),) * 3


@pytest.mark.parametrize("logits", [np.zeros((2, 5)), np.zeros(6)])
def test_logits_must_fit_the_card(logits: np.ndarray) -> None:
    with pytest.raises(CheckpointError, match="the card that was written with this model"):
        probabilities(logits, card())


def test_films_of_few_patients_fit_no_slope() -> None:
    """Forty films of one ill patient say how he looks, not how the ill do."""
    logits, truth = simulate(9, 400, 1.0, -3.0)
    ill = np.flatnonzero(truth)[: FEWEST - 1]
    again = np.concatenate([np.flatnonzero(truth == 0), np.repeat(ill, 30)])
    few = fit_platt(logits[again], truth[again], again)
    assert few.slope == 1 and few.events == 30 * len(ill)
    assert fit_platt(logits[again], truth[again]).slope != 1
