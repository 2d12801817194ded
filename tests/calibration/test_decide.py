"""Thresholds and bands do what their rule says; calls agree with one another."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from hilum.calibration import decide
from hilum.calibration.calibrate import probabilities
from hilum.calibration.decide import (
    POINTS,
    at_operating_point,
    baseline,
    called,
    fit_threshold,
    lent,
    margins,
    predict,
    remarks,
    specialist_card,
    with_consistent_calls,
    without_sets,
)
from hilum.card import Calibration, Card, Preparation, Sets, Threshold
from hilum.errors import CheckpointError, ConfigError
from hilum.labels import SIX
from hilum.types import Prediction

NAN = float("nan")


def sigmoid(z: np.ndarray | float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(z, float)))


def simulate(seed: int, n: int, slope: float, intercept: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and truth drawn from sigmoid(slope * logit + intercept)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=n)
    return logits, (rng.random(n) < sigmoid(slope * logits + intercept)).astype(float)


def card(**changes: object) -> Card:
    fields = {"name": "toy", "version": "1", "task": "classify", "labels": SIX, "architecture": "none"}
    return Card.model_validate(fields | {"preparation": Preparation(size=64)} | changes)


@pytest.mark.parametrize("levels", [None, 9])
@pytest.mark.parametrize("seed", range(6))
def test_threshold_is_the_best_of_all_cuts(seed: int, levels: int | None) -> None:
    logits, truth = simulate(seed, 150, 0.7, -1.0)
    scores = sigmoid(logits)
    scores = np.round(scores * levels) / levels if levels else scores

    def youden(cut: float) -> float:
        called = scores >= cut
        return float(called[truth == 1].mean() - called[truth == 0].mean())

    threshold = fit_threshold(scores, truth)
    cuts = [(a + b) / 2 for a, b in itertools.pairwise(np.unique(scores))]
    assert threshold.value in cuts
    assert youden(threshold.value) == pytest.approx(max(map(youden, cuts)))


def test_threshold_by_hand() -> None:
    # Cuts at 0.15 and 0.5 both reach 1/2; the lower one finds both positives.
    threshold = fit_threshold([0.1, 0.2, 0.3, 0.7], [0, 1, 0, 1])
    assert threshold.value == pytest.approx(0.15)
    assert threshold.low == threshold.high == threshold.value
    assert threshold.rule == "Youden index; the nearest 10 % of tuning films are left open"


@pytest.mark.parametrize("abstain", [0.02, 0.1, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("intercept", [-4.0, 0.0, 2.0])
def test_the_band_holds_the_share_it_names(
    abstain: float, intercept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "_ABSTAIN", abstain)
    logits, truth = simulate(8, 1_000, 1.0, intercept)
    scores = sigmoid(logits)
    threshold = fit_threshold(scores, truth)
    assert threshold.low < threshold.value < threshold.high
    left_open = (threshold.low <= scores) & (scores < threshold.high)
    assert left_open.sum() == round(abstain * 1_000)
    assert f"nearest {100 * abstain:g} % of tuning films" in threshold.rule
    # They are the nearest: in log-odds, which is where these logits live.
    distance = np.abs(logits - np.log(threshold.value / (1 - threshold.value)))
    assert distance[left_open].max() < distance[~left_open].min()


def test_only_labelled_films_make_the_threshold() -> None:
    logits, truth = simulate(9, 400, 1.0, 0.0)
    some = truth.copy()
    some[::2] = NAN
    assert fit_threshold(sigmoid(logits), some) == fit_threshold(sigmoid(logits[1::2]), truth[1::2])


def test_tied_films_stay_together() -> None:
    threshold = fit_threshold(np.repeat([0.2, 0.7], 50), np.repeat([0, 1], 50))
    assert threshold.value == pytest.approx(0.45)
    assert threshold.low == threshold.value == threshold.high  # half of the films or none: none


def test_certain_scores_give_a_threshold_in_range() -> None:
    threshold = fit_threshold(np.repeat([0.0, 1.0], 30), np.repeat([0, 1], 30))
    assert threshold.value == 0.5


@pytest.mark.parametrize(
    ("scores", "truth", "why"),
    [
        ([0.1, 0.4, 0.6], [0, 0, 0], "both classes"),
        ([0.1, 0.4, 0.6], [1, 1, NAN], "both classes"),
        ([0.1, 0.4], [NAN, NAN], "both classes"),
        ([0.3, 0.3, 0.3], [0, 1, 0], "beats chance"),
        ([0.1, 0.4, 0.6], [1, 0, 0], "beats chance"),
    ],
)
def test_threshold_that_cannot_be_tuned_says_why(scores: list, truth: list, why: str) -> None:
    threshold = fit_threshold(scores, truth)
    assert (threshold.value, threshold.low, threshold.high) == (0.5, 0.5, 0.5)
    assert why in threshold.rule


def test_threshold_refuses_logits() -> None:
    with pytest.raises(ConfigError, match="probability lies outside"):
        fit_threshold([-1.0, 2.0], [0, 1])


def test_nothing_depends_on_the_order_of_labels() -> None:
    back = tuple(reversed(SIX))
    settings = {
        "calibration": {"Edema": Calibration(slope=0.5, intercept=-1)},
        "thresholds": {"Edema": Threshold(value=0.2, low=0.1, high=0.3, rule="set")},
    }
    row = np.linspace(-2, 2, 6)
    one, other = predict(row, card(**settings)), predict(row[::-1], card(labels=back, **settings))
    assert other.labels == back
    assert all(one[label] == other[label] for label in SIX)


@pytest.mark.parametrize("bad", [NAN, math.inf])
def test_a_failed_model_is_no_negative_film(bad: float) -> None:
    with pytest.raises(CheckpointError, match="not finite"):
        predict(np.array([0, 0, 0, 0, 0, bad]), card())


def test_predict_compares_with_the_cards_thresholds() -> None:
    thresholds = {
        "Atelectasis": Threshold(value=0.3, low=0.25, high=0.35, rule="set"),
        "Cardiomegaly": Threshold(value=0.3, low=0.1, high=0.6, rule="set"),
        "Consolidation": Threshold(value=0.7, low=0.5, high=0.8, rule="set"),
    }
    result = predict(np.zeros(6), card(thresholds=thresholds))
    assert result.probabilities == (0.5,) * 6
    assert result.thresholds == (0.3, 0.3, 0.7, 0.5, 0.5, 0.5)
    assert result.positive == (True, True, False, True, True, True)
    assert result.abstained == (False, True, True, False, False, False)
    assert result["Cardiomegaly"].abstained
    json.dumps([result.probabilities, result.positive, result.abstained])  # plain Python values


def test_softmax_without_thresholds_calls_the_most_probable_label() -> None:
    result = predict(np.array([0.1, 0.4, 0.3, 0.2, 0.0, 0.1]), card(activation="softmax"))
    assert result.positive == (False, True, False, False, False, False)
    assert not any(result.abstained)
    assert set(result.thresholds) == {max(result.probabilities)}
    with_none = predict(np.array([-1e4, 0.0, 0, 0, 0, 0]), card(activation="softmax"))
    assert with_none.probabilities[0] == 0 and not with_none.positive[0]


def test_of_classes_a_call_is_as_sure_as_the_next_likeliest_is_far() -> None:
    scores = np.array([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25], [0.05, 0.05, 0.9], [0.4, 0.4, 0.2]])
    above = margins(scores, card(labels=("A", "B", "C"), activation="softmax"))
    assert above[0, 0] == pytest.approx(math.log(0.5 / 0.5) - math.log(0.3 / 0.7))
    assert above[0, 1] == pytest.approx(math.log(0.3 / 0.7) - math.log(0.5 / 0.5))
    assert (above >= 0).tolist() == [
        [True, False, False], [True, False, False], [False, False, True], [True, True, False]
    ]  # fmt: skip
    assert np.argsort(above.max(axis=1)).tolist() == [3, 1, 0, 2]  # from the least sure on


def test_a_card_that_leans_calls_what_ranks_first_and_says_how_probable_it_is() -> None:
    leans = card(labels=("A", "B", "C"), activation="softmax", leaning={"A": -2.0, "B": 1.0, "C": 1.0})
    scores = np.array([[0.7, 0.2, 0.1], [0.98, 0.01, 0.01], [0.3, 0.3, 0.4]])
    above = margins(scores, leans)
    assert (above >= 0).tolist() == [[False, True, False], [True, False, False], [False, False, True]]
    worth = scores * np.exp([-2.0, 1.0, 1.0])
    worth /= worth.sum(axis=1, keepdims=True)
    plain = margins(worth, leans.model_copy(update={"leaning": {}}))
    np.testing.assert_allclose(above, plain)
    for row, expected in zip(np.log(scores), above, strict=True):
        result = predict(row, leans)
        assert result.positive == tuple((expected >= 0).tolist())
        assert not any(result.abstained)
        assert [p >= t for p, t in zip(result.probabilities, result.thresholds, strict=True)] == [
            *result.positive
        ]
    first = predict(np.log(scores[0]), leans)
    assert first.probabilities == pytest.approx((0.7, 0.2, 0.1))
    # What A would need: to be worth as much as B is.
    assert first.thresholds == (1.0, first.probabilities[1], pytest.approx(0.2))


def test_softmax_with_thresholds_uses_them() -> None:
    thresholds = {"Edema": Threshold(value=0.1, low=0.05, high=0.2, rule="set")}
    result = predict(np.zeros(6), card(activation="softmax", thresholds=thresholds))
    assert result["Edema"].positive
    assert result["Edema"].abstained
    assert not result["Atelectasis"].positive
    assert result["Atelectasis"].threshold == 0.5


def test_the_baseline_is_the_logit_whose_probability_is_the_threshold() -> None:
    own = Card(
        name="m",
        version="1",
        task="classify",
        labels=("Edema", "Mass"),
        architecture="mobilenetv2",
        preparation=Preparation(size=64),
        calibration={"Edema": Calibration(slope=0.6, intercept=-2.3)},
        thresholds={"Edema": Threshold(value=0.015, low=0.01, high=0.02, rule="")},
    )
    logit = baseline(own, "Edema")
    assert logit < -2
    assert probabilities(np.array([[logit, 0.0]]), own)[0, 0] == pytest.approx(0.015)
    assert baseline(own, "Mass") == 0
    # Without a threshold a label turns positive at 0.5, whatever its calibration.
    untuned = own.model_copy(update={"thresholds": {}})
    assert probabilities(np.array([[baseline(untuned, "Edema"), 0.0]]), untuned)[0, 0] == pytest.approx(0.5)
    assert baseline(own.model_copy(update={"activation": "softmax"}), "Edema") == 0


@pytest.mark.parametrize("seed", range(4))
def test_points_are_the_nearest_cuts_that_reach_what_they_ask(seed: int) -> None:
    logits, truth = simulate(seed, 300, 0.8, -1.0)
    scores = np.round(sigmoid(logits), 2)
    cuts = [0.0, *((a + b) / 2 for a, b in itertools.pairwise(np.unique(scores))), 1.0]
    sensitive = max(cut for cut in cuts if (scores >= cut)[truth == 1].mean() >= 0.95)
    specific = min(cut for cut in cuts if (scores < cut)[truth == 0].mean() >= 0.95)
    found = {point: fit_threshold(scores, truth, point=point).value for point in POINTS}
    assert found["sensitivity 0.95"] == pytest.approx(sensitive)
    assert found["specificity 0.95"] == pytest.approx(specific)
    assert found["sensitivity 0.95"] < found["Youden index"] < found["specificity 0.95"]


def test_points_that_only_the_ends_reach() -> None:
    # Nothing but calling every film finds all of the ill, nor does less than calling none spare the well.
    scores, truth = [0.2, 0.4, 0.6], [1, 1, 0]
    assert fit_threshold(scores, truth, point="sensitivity 0.95").value == pytest.approx(0.1)
    assert fit_threshold(scores, truth, point="specificity 0.95").value == pytest.approx(0.8)


def test_another_point_or_thresholds_of_ones_own_act() -> None:
    points = {
        name: {"Edema": Threshold(value=value, low=value, high=value, rule=name)}
        for name, value in (("Youden index", 0.1), ("specificity 0.95", 0.4))
    }
    own = card(thresholds=points["Youden index"], points=points)
    assert at_operating_point(own) == own
    assert at_operating_point(own, point="specificity 0.95").thresholds["Edema"].value == 0.4
    both = at_operating_point(own, point="specificity 0.95", thresholds={"Edema": 0.3, "No Finding": 0.6})
    assert {label: one.value for label, one in both.thresholds.items()} == {"Edema": 0.3, "No Finding": 0.6}
    assert predict(np.full(6, -1.0), both)["Edema"].threshold == 0.3
    with pytest.raises(ConfigError, match="no operating point 'best'; its points: Youden index, specificity"):
        at_operating_point(own, point="best")
    with pytest.raises(ConfigError, match="none; fit some with hilum calibrate"):
        at_operating_point(card(), point="Youden index")
    for wrong in ({"Oedema": 0.5}, {"Edema": 1.5}):
        with pytest.raises(ConfigError, match="give one of Atelectasis"):
            at_operating_point(own, thresholds=wrong)


def test_an_unknown_point_is_named() -> None:
    with pytest.raises(ConfigError, match="'best': no operating point; choose from Youden index"):
        fit_threshold([0.1, 0.9], [0, 1], point="best")


def test_a_model_that_calls_the_most_probable_label_has_no_thresholds_to_set() -> None:
    with pytest.raises(ConfigError, match="calls the label that ranks first"):
        at_operating_point(card(activation="softmax"), thresholds={"Edema": 0.5})


def test_a_specialist_works_at_the_same_point_and_is_not_shut_out() -> None:
    points = {"specificity 0.95": {"Edema": Threshold(value=0.4, low=0.3, high=0.5, rule="s")}}
    second = card(labels=("Edema",), points=points)
    assert specialist_card(second, point="specificity 0.95").thresholds["Edema"].value == 0.4
    assert specialist_card(second, thresholds={"Cardiomegaly": 0.2}) == second
    with pytest.raises(ConfigError, match="with your own threshold it never abstains"):
        specialist_card(second, thresholds={"Edema": 0.2})


def test_what_two_models_answer_has_no_promise() -> None:
    one = replace(film(Edema=(0.9, False), Mass=(0.1, False)), plausible=("present", "absent"))
    assert without_sets(one, {"Edema"}).plausible == ("", "absent")
    assert without_sets(film(Edema=(0.9, False)), {"Edema"}).plausible == ()


def test_neighbouring_scores_are_parted() -> None:
    low = 0.3
    high = float(np.nextafter(low, 1))
    assert low < fit_threshold([low, high], [0, 1]).value <= high


def test_no_finding_is_called_only_where_no_finding_is() -> None:
    labels = ("Edema", "No Finding", "Cardiomegaly")
    margins = np.array([[1, 1, -1], [-1, 1, -1], [-1, -1, -1], [-1, 1, 0.0]])
    assert called(margins, labels).tolist() == [
        [True, False, False],
        [False, True, False],
        [False, False, False],
        [False, False, True],
    ]
    assert called(np.array([[1.0]]), ("No Finding",)).tolist() == [[True]]
    assert called(margins[:, :1], ("Edema",)).tolist() == [[True], [False], [False], [False]]


def film(**scores: tuple[float, bool]) -> Prediction:
    """A prediction with thresholds of 0.5: probability, and whether the call was left open."""
    labels = tuple(name.replace("_", " ") for name in scores)
    said = tuple(p for p, _ in scores.values())
    return Prediction(
        labels=labels,
        probabilities=said,
        thresholds=(0.5,) * len(labels),
        positive=tuple(p >= 0.5 for p in said),
        abstained=tuple(left for _, left in scores.values()),
    )


@pytest.mark.parametrize(
    ("edema", "none", "positive", "left_open"),
    [
        ((0.9, False), (0.9, False), False, False),  # a finding that is called excludes it
        ((0.1, False), (0.9, False), True, False),
        ((0.1, False), (0.1, False), False, False),
        ((0.5, True), (0.9, False), False, True),  # one that is left open leaves it open
        ((0.4, True), (0.9, False), True, True),
        ((0.4, True), (0.1, False), False, False),  # its own score would not call it
        ((0.9, False), (0.5, True), False, False),
        ((0.1, False), (0.5, True), True, True),
    ],
)
def test_the_call_on_no_finding_agrees_with_the_others(
    edema: tuple, none: tuple, positive: bool, left_open: bool
) -> None:
    found = with_consistent_calls(film(Edema=edema, No_Finding=none))
    assert (found["No Finding"].positive, found["No Finding"].abstained) == (positive, left_open)
    assert found["Edema"] == film(Edema=edema, No_Finding=none)["Edema"]
    assert with_consistent_calls(found) == found


def test_models_without_no_finding_are_left_alone() -> None:
    one = film(Edema=(0.9, False))
    assert with_consistent_calls(one) is one
    assert remarks(film(Edema=(0.1, False))) == ()


def test_what_no_label_is_called_for_is_remarked() -> None:
    assert "something else, or unsure" in remarks(film(Edema=(0.1, False), No_Finding=(0.2, False)))[0]
    assert remarks(film(Edema=(0.6, False), No_Finding=(0.2, False))) == ()
    assert remarks(film(Edema=(0.4, True), No_Finding=(0.2, False))) == ()
    excluded = with_consistent_calls(film(Edema=(0.9, False), No_Finding=(0.9, False)))
    assert "a finding that is called excludes it" in remarks(excluded)[0]


def test_a_prediction_says_which_answers_are_left() -> None:
    sets = Sets(coverage=0.9, present=0.2, absent=0.6, patients=(30, 99), reached=((0.8, 1), (0.8, 1)))
    found = predict(np.array([-3.0, 0, 3, 0, 0, 0]), card(sets=dict.fromkeys(SIX[:3], sets)))
    assert found.plausible == ("absent", "either", "present", "", "", "")
    assert found["Cardiomegaly"].plausible == "either"
    assert replace(found, plausible=())["Cardiomegaly"].plausible == ""


def test_a_fold_is_called_by_the_thresholds_of_the_others() -> None:
    def fold(edema: float, mass: float, rule: str = "Youden index; told") -> Card:
        values = {"Edema": (edema, "Youden index; told"), "Mass": (mass, rule)}
        return card(
            labels=("Edema", "Mass"),
            thresholds={
                name: Threshold(value=value, low=value / 2, high=value, rule=how)
                for name, (value, how) in values.items()
            },
        )

    untold = "0.5: no cut on the tuning films beats chance"
    own, one, other = fold(0.9, 0.9), fold(0.1, 0.2), fold(0.4, 0.5, untold)
    found = lent(own, [one, other]).thresholds
    between = float(sigmoid((math.log(0.1 / 0.9) + math.log(0.4 / 0.6)) / 2))
    assert found["Edema"].value == pytest.approx(between) and found["Mass"].value == pytest.approx(0.2)
    assert found["Edema"].low == found["Edema"].high == found["Edema"].value
    none = lent(one, [other]).thresholds["Mass"]
    assert none.value == 0.5 and none.rule.startswith("0.5: ")
    assert lent(own, []) == own
    ranking = card(activation="softmax")
    assert lent(ranking, [ranking]) == ranking
