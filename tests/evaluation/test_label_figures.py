"""Every figure of a classifier's verdicts, where it can be worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hilum.card import Card, Preparation, Threshold
from hilum.errors import ConfigError
from hilum.evaluation.evaluate import groups_of
from hilum.evaluation.figures import Figure
from hilum.evaluation.grids import grids
from hilum.evaluation.label_figures import ASSESSABLE, figures_of
from hilum.evaluation.verdicts import Verdicts
from hilum.statistics.metrics import auroc
from hilum.types import Array, Sample

CALLED = "at the threshold"


def verdicts(
    truth: Array, said: Array, labels: tuple[str, ...] = ("Edema",), threshold: float = 0.5, **groups: Array
) -> Verdicts:
    return Verdicts(
        films=tuple(f"f{i}" for i in range(len(truth))),
        patients=np.array([f"p{i}" for i in range(len(truth))]),
        labels=labels,
        truth=truth,
        probabilities=said,
        margins=said - threshold,
        groups=groups,
    )


def drawn(seed: int, n: int = 400) -> tuple[Array, Array]:
    """Truth and well-calibrated probabilities of n films, one label."""
    rng = np.random.default_rng(seed)
    said = rng.uniform(0.02, 0.98, n)
    return (rng.random(n) < said).astype(float)[:, None], said[:, None]


def by_name(figures: tuple[Figure, ...]) -> dict[tuple[str, str, str], Figure]:
    found = {(one.subject, one.measure, one.condition): one for one in figures}
    assert len(found) == len(figures)
    return found


def test_calls_at_the_threshold_by_hand() -> None:
    # Of four ill films three are called, of six well ones two.
    truth = np.repeat([1.0, 0.0], [4, 6])[:, None]
    said = np.array([0.9, 0.8, 0.7, 0.1, 0.9, 0.6, 0.2, 0.2, 0.1, 0.1])[:, None]
    found = by_name(figures_of(verdicts(truth, said), prevalences={"Edema": 0.1}, repeats=20).figures)

    def value(measure: str, condition: str = CALLED) -> float:
        return found["Edema", measure, condition].value

    assert value("sensitivity") == pytest.approx(3 / 4)
    assert value("specificity") == pytest.approx(4 / 6)
    assert value("positive predictive value") == pytest.approx(3 / 5)
    assert value("negative predictive value") == pytest.approx(4 / 5)
    assert value("positive likelihood ratio") == pytest.approx((3 / 4) / (2 / 6))
    assert value("negative likelihood ratio") == pytest.approx((1 / 4) / (4 / 6))
    elsewhere = f"{CALLED}, prevalence 10.00%"
    assert value("positive predictive value", elsewhere) == pytest.approx(0.075 / (0.075 + 0.3))
    assert value("negative predictive value", elsewhere) == pytest.approx(0.6 / (0.6 + 0.025))


def test_calls_that_are_all_right_are_not_sure_to_be_right_for_other_patients() -> None:
    # 20 ill and 40 well films, two of each patient.
    truth = np.repeat([1.0, 0.0], [20, 40])[:, None]
    all_right = replace(
        verdicts(truth, 0.1 + 0.8 * truth), patients=np.array([f"p{i // 2}" for i in range(60)])
    )
    found = by_name(figures_of(all_right, prevalences={"Edema": 0.1}, repeats=20).figures)
    for measure, patients in (
        ("sensitivity", 10),
        ("specificity", 20),
        ("positive predictive value", 10),
        ("negative predictive value", 20),
    ):
        figure = found["Edema", measure, CALLED]
        # Clopper and Pearson's lower bound: all of so many are right with a chance of 2.5 %.
        assert (figure.value, figure.low**patients, figure.high) == pytest.approx((1, 0.025, 1))
    for measure, condition, value in (
        ("positive predictive value", f"{CALLED}, prevalence 10.00%", 1),
        ("positive likelihood ratio", CALLED, math.inf),
        ("negative likelihood ratio", CALLED, 0),
        ("balanced error", "coverage 90%", 0),
    ):
        figure = found["Edema", measure, condition]
        assert figure.value == value
        assert np.isnan([figure.low, figure.high]).all()


def test_of_too_few_films_of_a_class_there_is_no_interval_and_the_page_says_so() -> None:
    truth = np.repeat([1.0, 0.0], [3, 57])[:, None]
    found = figures_of(verdicts(truth, 0.1 + 0.8 * truth + np.linspace(0, 0.05, 60)[:, None]), repeats=20)
    few = [one for one in found.figures if one.positives == 3 and one.value == one.value]
    assert {"AUROC", "AUROC after DeLong", "sensitivity", "Brier score"} <= {one.measure for one in few}
    assert np.isnan([(one.low, one.high) for one in few]).all()
    assert by_name(found.figures)["Edema", "AUROC", ""].remark == "too few: 3 positive, fewer than 10"
    row = next(rows for title, _, _, rows in grids(found, ()) if title.startswith("Discrimination"))[0]
    assert row == ["Edema", "60", "3 (5.0%)", *["1.000 (too few films)"] * 4]


def test_who_says_what_is_true_is_calibrated_and_told_whether_that_can_be_judged() -> None:
    found = by_name(figures_of(verdicts(*drawn(0, 4000)), repeats=100).figures)
    for measure, right in (("slope", 1), ("intercept", 0)):
        figure = found["Edema", f"calibration {measure}", ""]
        assert figure.low < right < figure.high
        assert figure.remark == ""
    assert found["Edema", "observed over expected", ""].value == pytest.approx(1, abs=0.05)
    assert found["Edema", "Brier skill score", ""].low > 0.2
    few = by_name(figures_of(verdicts(*drawn(0, 60)), repeats=20).figures)["Edema", "calibration slope", ""]
    rarer = min(few.positives or 0, 60 - (few.positives or 0))
    assert few.remark == f"not assessable: {rarer} patients, fewer than {ASSESSABLE}"


def test_both_intervals_of_the_auroc_agree_where_films_are_patients() -> None:
    truth, said = drawn(1)
    found = by_name(figures_of(verdicts(truth, said), repeats=1000).figures)
    one, other = found["Edema", "AUROC", ""], found["Edema", "AUROC after DeLong", ""]
    assert one.value == other.value == auroc(truth[:, 0], said[:, 0])
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.005)


def test_groups_have_figures_of_their_own_and_a_gap() -> None:
    truth, said = drawn(2)
    of = np.repeat(["F", "M", "X", ""], [200, 150, 20, 30])
    said[200:350] = np.random.default_rng(3).random((150, 1))  # guessed, for the men
    found = by_name(figures_of(verdicts(truth, said, sex=of), repeats=200).figures)
    women, men = (found["Edema", "AUROC", f"sex {group}"] for group in "FM")
    assert women.value == auroc(truth[of == "F", 0], said[of == "F", 0])
    assert (women.films, men.films) == (200, 150)
    assert men.high < women.low
    gap = found["Edema", "AUROC", "sex F more than M"]
    assert gap.value == pytest.approx(women.value - men.value)
    assert np.isnan([gap.low, gap.high]).all()
    assert gap.remark == "the widest of 2 groups"
    few = found["Edema", "AUROC", "sex X"]
    assert (few.films, few.remark) == (20, "too few: 20 films, fewer than 30")
    assert np.isnan(few.value)
    assert found["Edema", "observed over expected", "sex F"].value == pytest.approx(1, abs=0.2)
    assert not any(condition.endswith("sex ") for _, _, condition in found)


def test_what_tells_groups_apart_does_not_count_within_them() -> None:
    """A score that only knows which of two hospitals is iller is no better than chance in either."""
    rng = np.random.default_rng(0)
    of = np.repeat(["a", "b", ""], [300, 300, 100])
    truth = (rng.random((700, 1)) < np.where(of == "a", 0.5, 0.1)[:, None]).astype(float)
    truth[:10] = np.nan
    said = np.where(of == "a", 0.5, 0.1)[:, None] + 0.01 * rng.random((700, 1))
    found = by_name(figures_of(verdicts(truth, said, site=of), repeats=100).figures)
    within = found["Edema", "AUROC", "pairs of one site"]
    assert found["Edema", "AUROC", ""].value > 0.7
    assert within.low < 0.5 < within.high
    assert (within.films, within.positives) == (590, int((truth[10:600] == 1).sum()))
    mean = found["mean of 1 findings", "AUROC", "pairs of one site"]
    assert (mean.value, mean.low) == (within.value, within.low)
    lone = by_name(figures_of(verdicts(truth, said, site=np.full(700, "a")), repeats=100).figures)
    assert not any(condition.startswith("pairs") for _, _, condition in lone)
    # Positive films that no negative one of their group stands beside do not make up the number.
    alone = np.where(of[10:600] == "a", 1.0, 0.0)[:, None]
    alone[-1] = 1.0
    one = by_name(figures_of(verdicts(alone, said[10:600], site=of[10:600]), repeats=100).figures)
    assert one["Edema", "AUROC", "pairs of one site"].remark == "too few: 1 positive, fewer than 10"
    # A finding that no film of a known group tells of, beside one that they do.
    two = np.concatenate([truth, np.where(of[:, None] == "", (said > 0.105), np.nan)], axis=1)
    both = by_name(
        figures_of(
            verdicts(two, np.concatenate([said, said], axis=1), ("Edema", "Mass"), site=of), repeats=100
        ).figures
    )
    assert both["Mass", "AUROC", "pairs of one site"].remark.startswith("too few: 0 films")
    assert both["mean of 1 findings", "AUROC", "pairs of one site"].value == pytest.approx(within.value)
    few = by_name(figures_of(verdicts(truth[290:320], said[290:320], site=of[290:320])).figures)
    assert few["Edema", "AUROC", "pairs of one site"].remark.startswith("too few")


def test_contradictions_are_counted() -> None:
    labels = ("Edema", "No Finding")
    said = np.array([[0.9, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.1], [0.2, 0.1]])
    truth = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 0]], float)
    found = by_name(figures_of(verdicts(truth, said, labels), repeats=20).figures)
    both = "No Finding and a finding both reach their thresholds"
    assert found["films", both, ""].value == pytest.approx(1 / 5)
    assert found["films", "called neither No Finding nor a finding", ""].value == pytest.approx(2 / 5)


def test_films_are_grouped_by_what_the_data_tell() -> None:
    unknown = [("F", math.nan, None), ("F", -1, None)]  # no ages
    films = [
        Sample(
            id=str(i), patient=str(i), image=lambda: np.zeros((1, 1)), sex=sex, age=age, view=view, site="a"
        )
        for i, (sex, age, view) in enumerate(
            [("F", 17.9, "PA"), ("M", 18, "AP"), (None, None, None), ("F", 95, None), *unknown]
        )
    ]
    groups = groups_of(films, ["sex", "age", "view", "site"])
    assert groups["sex"].tolist() == ["F", "M", "", "F", "F", "F"]
    assert groups["age"].tolist() == ["0 to 17", "18 to 39", "", "80 and above", "", ""]
    assert groups["view"].tolist() == ["PA", "AP", "", "", "", ""]
    assert groups["site"].tolist() == ["a"] * 6
    with pytest.raises(ConfigError, match="by 'weight': films are grouped by sex, age, view, site"):
        groups_of(films, ["weight"])


def test_every_patient_counts_once_however_many_films_are_labelled() -> None:
    # The first patient has four films, of which one is labelled.
    truth = np.array([1, np.nan, np.nan, np.nan, 1, 0, 0])[:, None]
    said = np.array([0.2, 0.9, 0.9, 0.9, 0.8, 0.5, 0.5])[:, None]
    whole = verdicts(truth, said)
    patients = np.array(["a", "a", "a", "a", "b", "c", "d"])
    found = by_name(figures_of(replace(whole, patients=patients), repeats=20).figures)
    assert found["Edema", "AUROC by patient", ""].value == pytest.approx(0.5)


def test_a_patient_filmed_again_and_again_changes_no_figure_of_probabilities() -> None:
    truth, said = drawn(3)
    once = verdicts(truth, said, threshold=0.3)
    again = np.repeat(np.arange(len(truth)), np.where(np.arange(len(truth)) % 7, 1, 30))
    often = replace(
        once,
        films=tuple(map(str, range(len(again)))),
        patients=once.patients[again],
        truth=truth[again],
        probabilities=said[again],
        margins=once.margins[again],
    )
    few, many = (by_name(figures_of(one, repeats=20).figures) for one in (once, often))
    judged = (
        "calibration error",
        "Brier score",
        "Brier skill score",
        "observed over expected",
        "AUROC by patient",
    )
    for measure in (*judged, "calibration slope", "calibration intercept"):
        key = ("Edema", measure, "")
        assert many[key].value == pytest.approx(few[key].value, rel=1e-6), measure
        assert many[key].low == pytest.approx(few[key].low, rel=1e-6), measure
    curves = [figures_of(one, repeats=20).tables["decision"] for one in (once, often)]
    for few_, many_ in zip(*curves, strict=True):
        for column in ("net benefit", "low", "acting on all"):
            assert many_[column] == pytest.approx(few_[column], abs=1e-9)
    bins = [figures_of(one, repeats=20).tables["bins"] for one in (once, often)]
    assert [row["share positive"] for row in bins[1]] == pytest.approx(
        [row["share positive"] for row in bins[0]]
    )
    assert many["Edema", "AUROC", ""].value != pytest.approx(few["Edema", "AUROC", ""].value, rel=1e-4)


def test_films_whose_findings_are_unknown_are_not_of_another_finding() -> None:
    labels = ("Edema", "No Finding")
    rng = np.random.default_rng(0)
    truth = np.stack([np.full(60, np.nan), rng.integers(0, 2, 60)], axis=1).astype(float)
    truth[:8] = [0, 0]  # another finding alone
    truth[8:14] = [1, 0]
    found = by_name(figures_of(verdicts(truth, rng.random((60, 2)), labels), repeats=20).figures)
    assert found["No Finding", "share called", "of films with another finding alone"].films == 8
    assert found["No Finding", "share called", "of films with one of the findings"].films == 6


def test_calls_at_the_cards_points_follow_the_same_rule() -> None:
    labels = ("Edema", "No Finding")
    truth = np.array([[1, 0], [0, 1], [0, 1], [0, 0]], float)
    said = np.array([[0.9, 0.8], [0.3, 0.9], [0.1, 0.9], [0.1, 0.2]])
    low, high = (Threshold(value=value, low=value, high=value, rule="") for value in (0.2, 0.5))
    card = Card(
        name="toy",
        version="1",
        task="classify",
        labels=labels,
        architecture="none",
        preparation=Preparation(size=64),
        thresholds={"Edema": high, "No Finding": high},
        points={"Youden index": {"Edema": high, "No Finding": high}, "sensitivity 0.95": {"Edema": low}},
    )
    found = by_name(figures_of(verdicts(truth, said, labels), card=card, repeats=20).figures)
    at = "at the point of sensitivity 0.95"
    assert found["Edema", "specificity", CALLED].value == 1
    assert found["Edema", "specificity", at].value == pytest.approx(2 / 3)
    # The second film is now called Edema, and so no longer No Finding.
    assert found["No Finding", "sensitivity", CALLED].value == 1
    assert found["No Finding", "sensitivity", at].value == pytest.approx(1 / 2)
    assert not any(condition == "at the point of Youden index" for _, _, condition in found)  # it acts


def test_abstaining_leaves_the_nearest_films_open() -> None:
    truth = np.array([1, 1, 0, 0, 1, 0, 1, 0, 1, 0], float)[:, None]
    said = np.array([0.9, 0.8, 0.1, 0.2, 0.45, 0.55, 0.7, 0.3, 0.95, 0.05])[:, None]
    found = by_name(figures_of(verdicts(truth, said), repeats=20).figures)
    assert found["Edema", "balanced error", "coverage 100%"].value == pytest.approx(1 / 5)
    assert found["Edema", "balanced error", "coverage 80%"].value == 0


def test_the_decision_curve_by_hand() -> None:
    truth = np.array([1, 1, 0, 0], float)[:, None]
    rows = figures_of(verdicts(truth, np.array([0.9, 0.04, 0.3, 0.01])[:, None]), repeats=20).tables[
        "decision"
    ]
    at = {row["probability"]: row for row in rows}
    assert at[0.2]["net benefit"] == pytest.approx(1 / 4 - 1 / 4 * 0.25)
    assert at[0.2]["acting on all"] == pytest.approx(2 / 4 - 2 / 4 * 0.25)
    assert at[0.5]["net benefit"] == pytest.approx(1 / 4)


def test_an_interval_that_cannot_be_told_is_not_told() -> None:
    one = verdicts(np.array([[1.0], [0.0], [1.0]]), np.array([[0.9], [0.2], [0.6]]))
    alone = replace(one, patients=np.array(["p", "p", "p"]))
    error = next(f for f in figures_of(alone, repeats=100).figures if f.measure == "calibration error")
    assert error.value > 0 and np.isnan(error.low) and np.isnan(error.high)


def test_groups_that_are_told_equally_well_are_still_two() -> None:
    rng = np.random.default_rng(0)
    truth = np.tile([[1.0], [0.0]], (60, 1))
    sexes = np.repeat(["F", "M"], 60)
    one = verdicts(truth, truth * 0.8 + 0.1 * rng.random(truth.shape), sex=sexes)
    gap = next(f for f in figures_of(one, repeats=100).figures if "more than" in f.condition)
    assert gap.value == 0 and gap.films == 120


def test_bins_hold_every_known_film_once() -> None:
    rng = np.random.default_rng(0)
    said = rng.random((50, 1))
    truth = (rng.random((50, 1)) < said).astype(float)
    truth[:5] = np.nan
    one = Verdicts(
        films=tuple(map(str, range(50))),
        patients=np.arange(50).astype(str),
        labels=("Edema",),
        truth=truth,
        probabilities=said,
        margins=said - 0.5,
    )
    bins = figures_of(one, repeats=100).tables["bins"]
    films = [row["patients"] for row in bins]
    assert len(bins) == 10 and sum(films) == 45 and max(films) - min(films) <= 1
    for name, values in (("mean probability", said), ("share positive", truth)):
        assert np.average([row[name] for row in bins], weights=films) == pytest.approx(values[5:].mean())
    assert [row["mean probability"] for row in bins] == sorted(row["mean probability"] for row in bins)


def test_patients_of_a_class_decide_whether_a_calibration_can_be_judged() -> None:
    truth, said = drawn(5, 900)
    ill = np.flatnonzero(truth[:, 0])
    one = verdicts(truth, said)
    told = by_name(figures_of(one, repeats=20).figures)["Edema", "calibration slope", ""]
    assert told.remark == "" and len(ill) > ASSESSABLE
    names = one.patients.copy()
    names[ill] = np.array([f"ill{i % 3}" for i in range(len(ill))])  # three patients on intensive care
    few = by_name(figures_of(replace(one, patients=names), repeats=20).figures)[
        "Edema", "calibration slope", ""
    ]
    assert few.remark == f"not assessable: 3 patients, fewer than {ASSESSABLE}"


@pytest.mark.parametrize("patients", [20, 100, 1000])
def test_bins_hold_like_numbers_of_patients(patients: int) -> None:
    said = np.random.default_rng(0).random((patients, 1))
    bins = figures_of(verdicts((said > 0.5).astype(float), said), repeats=20).tables["bins"]
    assert [row["patients"] for row in bins] == [patients / 10] * 10
