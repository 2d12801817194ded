"""The drawings on pages say what they were given."""

from __future__ import annotations

import re

import pytest

from hilum.evaluation.plots import Point, confusions, curves, pareto
from hilum.labels import SIX


def test_a_confusion_matrix_names_every_label_in_full() -> None:
    labels = (*SIX, "Interstitial lung disease of any kind")
    drawn = confusions({"": {true: dict.fromkeys(labels, 1) for true in labels}})
    words = re.findall(r"<!-- (.*?) -->", drawn, flags=re.DOTALL)
    for label in labels:
        assert " ".join(words).replace("\n", " ").count(label) == 2, label


def test_a_run_whose_tuning_part_has_no_score_is_drawn_by_its_losses() -> None:
    epochs = [
        {"epoch": str(i), "loss": "0.5", "tune_loss": "0.6", "score": score}
        for i, score in enumerate(("nan", "0.7"))
    ]
    for history in (epochs, epochs[:1]):
        assert "<svg" in curves({"one": history, "other": history})


def test_names_of_points_that_lie_together_stand_apart_and_a_drawing_is_repeated_exactly() -> None:
    told = [
        Point(name=name, cost=1.0, value=0.8 - i / 1000, low=0.7, high=0.9) for i, name in enumerate("abc")
    ]
    drawn = pareto([*told, Point(name="far", cost=9.0, value=0.8, low=0.7, high=0.9)], "AUROC")
    places = {
        name: float(y)
        for name, y in re.findall(r"<!-- (\w+) -->\s*<g transform=\"translate\(\S+ ([\d.]+)\)", drawn)
    }
    assert places["b"] - places["a"] >= 8 and places["c"] - places["b"] >= 8
    assert places["far"] == pytest.approx(places["a"], abs=0.1)
    assert pareto([*told, Point(name="far", cost=9.0, value=0.8, low=0.7, high=0.9)], "AUROC") == drawn
