"""Figures in plain words: nothing is said that an interval does not bear out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from hilum.evaluation.blank import INSIDE, OUTSIDE, UNFRAMED
from hilum.evaluation.conclusions import ALONE, AUROC, CHANGE, PROBE, conclusions
from hilum.evaluation.figures import Figure


def figure(
    subject: str, measure: str, value: float, low: float, high: float, condition: str = "", remark: str = ""
) -> Figure:
    return Figure(
        subject=subject,
        measure=measure,
        condition=condition,
        films=300,
        positives=40,
        value=value,
        low=low,
        high=high,
        remark=remark,
    )


@pytest.mark.parametrize("condition", [INSIDE, UNFRAMED])
def test_a_fall_is_named_with_its_size_and_what_may_be_behind_it(condition: str) -> None:
    (line,) = conclusions(
        [
            figure("Edema", AUROC, 0.7, 0.6, 0.8, condition),
            figure("Edema", CHANGE, -0.2, -0.3, -0.1, condition),
        ]
    )
    assert f"{condition[1:]}: the AUROC falls for Edema by 0.200 (0.100 to 0.300) to 0.700." in line
    assert "or fails on a kind of film that it never saw" in line


def test_a_rise_is_no_fall() -> None:
    (line,) = conclusions(
        [
            figure("Edema", AUROC, 0.9, 0.8, 1.0, UNFRAMED),
            figure("Edema", CHANGE, 0.1, 0.05, 0.2, UNFRAMED),
        ]
    )
    assert line == "Frame blanked: the AUROC rises for Edema by 0.100 (0.050 to 0.200) to 0.900."


def test_an_interval_with_no_effect_in_it_shows_nothing() -> None:
    lines = conclusions(
        [
            figure("Edema", AUROC, 0.6, 0.5, 0.7, UNFRAMED),
            figure("Edema", CHANGE, -0.3, -0.6, 0.0, UNFRAMED),
            figure("Edema", AUROC, 0.7, 0.5, 0.9, OUTSIDE),
            figure("view AP", PROBE, 0.7, 0.5, 0.9),
            figure("Edema", ALONE, 0.9, 0.8, 1.0, "view AP"),
        ]
    )
    assert lines == [
        "Frame blanked: no change of the AUROC detectable with 300 films for Edema (-0.600 to +0.000).",
        (
            "From the outside alone the model predicts nothing detectable with 300 films for Edema 0.700 "
            "(0.500 to 0.900)."
        ),
        "view AP: not detectable in the features with 300 films.",
    ]


def test_what_is_told_from_the_outside_and_loses_with_the_frame_shows_both_traces_of_a_shortcut() -> None:
    figures = [
        figure("Edema", AUROC, 0.5, 0.4, 0.6, UNFRAMED),
        figure("Edema", CHANGE, -0.4, -0.5, -0.3, UNFRAMED),
        figure("Edema", AUROC, 0.9, 0.8, 1.0, OUTSIDE),
        figure("Mass", AUROC, 0.7, 0.6, 0.8, OUTSIDE),
        replace(figure("mean of 2 findings", CHANGE, -0.1, -0.2, -0.05, UNFRAMED), positives=None),
        replace(figure("mean of 2 findings", AUROC, 0.6, 0.55, 0.7, UNFRAMED), positives=None),
        replace(figure("mean of 2 findings", AUROC, 0.8, 0.7, 0.9, OUTSIDE), positives=None),
        figure("Nodule", AUROC, 0.3, 0.2, 0.4, OUTSIDE),
    ]
    lines = conclusions(figures)
    assert [line for line in lines if "shortcut" in line] == [
        "Both signs of a shortcut for Edema: predicted from the outside alone, and worse without the frame."
    ]
    outside = "Edema 0.900 (0.800 to 1.000), Mass 0.700 (0.600 to 0.800) and mean of 2 findings "
    assert any(outside in line for line in lines)
    assert any("the AUROC is below 0.5 for Nodule 0.300 (0.200 to 0.400)." in line for line in lines)


def test_groups_that_can_be_read_are_named_with_the_labels_that_they_speak_for_and_against() -> None:
    lines = conclusions(
        [
            figure("Edema", ALONE, 0.8, 0.7, 0.9, "view AP"),
            figure("Mass", ALONE, 0.52, 0.48, 0.56, "view AP"),
            figure("No Finding", ALONE, 0.4, 0.35, 0.45, "view AP"),
            figure("view AP", PROBE, 0.95, 0.93, 0.97),
        ]
    )
    assert lines == [
        "view AP: the features predict it, AUROC 0.950 (0.930 to 0.970).",
        "view AP alone predicts Edema 0.800 (0.700 to 0.900): such a score may rest on it.",
        (
            "view AP alone predicts the absence of No Finding 0.400 (0.350 to 0.450): such a score may rest "
            "on it."
        ),
    ]


def test_what_cannot_be_told_is_named() -> None:
    lines = conclusions(
        [
            figure("Edema", AUROC, math.nan, math.nan, math.nan, remark="too few: 3 positive, fewer than 10"),
            figure("Mass", AUROC, 0.9, math.nan, math.nan),
            figure("Mass", CHANGE, 0.1, math.nan, math.nan, UNFRAMED),
            figure("sex F", PROBE, math.nan, math.nan, math.nan, remark="too few patients"),
        ]
    )
    assert lines == [
        "Edema: too few: 3 positive, fewer than 10; no conclusion.",
        "Mass: too few patients for an interval; no conclusion.",
        "sex F: too few patients; no conclusion.",
    ]
