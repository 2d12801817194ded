"""The sentences on top of an evaluation's page say what its figures bear out, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from hilum.evaluation.figures import Figure
from hilum.evaluation.summary import summary

NAN = float("nan")
ABOUT: dict[str, Any] = {"model": {"name": "mine"}, "data": ["nih:films", "csv:ours.csv"], "groups": []}
FEW = "not assessable: 7 films, fewer than 100"


def figure(subject: str, measure: str, value: float, low: float, high: float, **more: Any) -> Figure:
    about: dict[str, Any] = {"films": 300, "positives": None} | more
    return Figure(subject=subject, measure=measure, value=value, low=low, high=high, **about)


def said(*figures: Figure, groups: tuple[str, ...] = ()) -> list[str]:
    """All but the first sentence."""
    return summary(figures, {**ABOUT, "groups": groups}, 300, 200)[1:]


def calibration(
    label: str, held: tuple[float, float], slope: tuple[float, float], **more: Any
) -> list[Figure]:
    """Of intervals, what was observed over what was expected, and the slope."""
    return [
        figure(label, measure, sum(ends) / 2, *ends, **more)
        for measure, ends in (("observed over expected", held), ("calibration slope", slope))
    ]


def test_it_says_what_was_judged_on_what() -> None:
    assert summary([], ABOUT, 300, 200) == [
        "mine was evaluated on 300 films of 200 patients from nih:films and csv:ours.csv."
    ]


def test_what_groups_are_told_apart_by_is_no_merit() -> None:
    whole = figure("mean of 5 findings", "AUROC", 0.83, 0.81, 0.85)
    within = figure("mean of 5 findings", "AUROC", 0.79, 0.77, 0.81, condition="pairs of one data set")
    view = figure("mean of 5 findings", "AUROC", 0.8, 0.78, 0.82, condition="pairs of one view")
    unknown = figure("mean of 5 findings", "AUROC", NAN, NAN, NAN, condition="pairs of one sex")
    label = figure("Edema", "AUROC", 0.8, 0.7, 0.9, condition="pairs of one data set")
    assert said(whole, within, view, unknown, label)[1] == (
        "If films are compared only with films of the same group: data set 0.790 (0.770 to 0.810), view "
        "0.800 (0.780 to 0.820)."
    )
    assert len(said(whole, unknown, label)) == len(said(whole))


@pytest.mark.parametrize(
    ("value", "low", "high", "told"),
    [
        (
            0.852,
            0.831,
            0.87,
            "0.852 (0.831 to 0.870); of a film with a finding and one without it, the first ",
        ),
        (
            0.55,
            0.44,
            0.66,
            "0.550 (0.440 to 0.660), which chance alone can explain; of a film with a finding ",
        ),
    ],
)
def test_the_mean_auroc_is_put_in_words(value: float, low: float, high: float, told: str) -> None:
    (sentence,) = said(figure("mean of 5 findings", "AUROC", value, low, high))
    assert sentence.startswith(f"AUROC, mean of 5 findings: {told}")
    assert sentence.endswith(f"has the higher probability {100 * value:.0f} % of the time.")


def test_a_mean_that_cannot_be_told_is_not_told() -> None:
    (sentence,) = said(figure("mean of 5 findings", "AUROC", NAN, NAN, NAN))
    assert sentence.startswith("The AUROC as a mean of 5 findings cannot be computed: a finding lacks films")


def test_probabilities_are_off_only_where_an_interval_leaves_1_out() -> None:
    held = calibration("Edema", (0.8, 1.2), (0.9, 1.1))
    assert said(*held) == ["Probabilities are calibrated for Edema."]
    high = calibration("Mass", (0.5, 0.9), (0.6, 0.8))
    few = calibration("Nodule", (2.0, 3.0), (0.1, 0.2), remark=FEW)
    (sentence,) = said(*held, *high, *few)
    off, unjudged = sentence.split("; ")
    assert off == "Probabilities are off for Mass (too high and too extreme), and calibrated for the others"
    assert unjudged == "not judged, too few patients: Nodule."
    assert said(*calibration("Mass", (1.1, 1.9), (1.2, 1.8))) == [
        "Probabilities are off for Mass (too low and too moderate)."
    ]
    assert said(*few) == ["The calibration cannot be judged: each label has too few patients of one class."]


def test_the_worst_group_is_that_of_the_widest_gap() -> None:
    groups = [
        figure("Edema", "AUROC", value, value - 0.05, value + 0.05, condition=condition)
        for condition, value in (("sex F", 0.9), ("sex M", 0.85), ("view AP", 0.8), ("view PA", 0.92))
    ]
    gaps = [
        figure("Edema", "AUROC", 0.05, NAN, NAN, condition="sex F more than M"),
        figure("Edema", "AUROC", 0.12, NAN, NAN, condition="view PA more than AP"),
    ]
    (sentence,) = said(*groups, *gaps, groups=("sex", "view"))
    worst, best = sentence.split(", compared with ")
    assert worst == "Worst group: Edema with view AP, AUROC 0.800 (0.750 to 0.850)"
    assert best == "0.920 (0.870 to 0.970) with view PA."
    assert said(groups=("sex",)) == []
    assert said(*groups[:1], groups=("sex",)) == ["No groups are large enough to compare."]
