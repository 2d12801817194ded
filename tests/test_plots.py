"""The drawings on pages say what they were given."""

from __future__ import annotations

import re

from hilum.labels import SIX
from hilum.plots import confusions, curves


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
