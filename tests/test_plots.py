"""The drawings on pages say what they were given."""

from __future__ import annotations

import re

from hilum.labels import SIX
from hilum.plots import confusions


def test_a_confusion_matrix_names_every_label_in_full() -> None:
    labels = (*SIX, "Interstitial lung disease of any kind")
    drawn = confusions({"": {true: dict.fromkeys(labels, 1) for true in labels}})
    words = re.findall(r"<!-- (.*?) -->", drawn, flags=re.DOTALL)
    for label in labels:
        assert " ".join(words).replace("\n", " ").count(label) == 2, label
