"""The six-way task: films that carry exactly one of the six labels, and which one was called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from hilum import scores
from hilum.figures import Bench, Figure
from hilum.labels import SIX
from hilum.metrics import confusion
from hilum.scores import Statistic
from hilum.types import Array
from hilum.verdicts import Verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class SixWay:
    """The films that carry exactly one of the six labels: that label, and which one was called."""

    names: tuple[str, ...]  # those of the six that the verdicts are about
    single: Array  # (N,) bool: which films
    actual: Array  # (N,) names; of the other films any
    by_probability: Array  # (N,) names of the labels of greatest probability
    by_threshold: Array  # (N,) names of those furthest above their thresholds, which may be rare ones

    def confusion(self, called: Array) -> dict[str, dict[str, int]]:
        """True label -> called label -> films."""
        counts = confusion(self.actual[self.single], called[self.single], self.names)
        return {
            true: dict(zip(self.names, row, strict=True))
            for true, row in zip(self.names, counts.tolist(), strict=True)
        }


def six_way(verdicts: Verdicts) -> SixWay | None:
    """One of six as a task of its own; None where fewer than two labels or no film can tell."""
    places = [verdicts.labels.index(name) for name in SIX if name in verdicts.labels]
    carried = verdicts.truth[:, places] == 1
    single = carried.sum(axis=1) == 1
    if len(places) < 2 or not single.any():
        return None
    names = np.array([verdicts.labels[i] for i in places])
    return SixWay(
        names=tuple(names.tolist()),
        single=single,
        actual=names[np.argmax(carried, axis=1)],
        by_probability=names[np.argmax(verdicts.probabilities[:, places], axis=1)],
        by_threshold=names[np.argmax(verdicts.margins[:, places], axis=1)],
    )


def figures_of_six(six: SixWay, bench: Bench) -> Iterator[Figure]:
    """How often the one label is the one that was called."""

    def right(true: Array, called: Array) -> Statistic:
        return scores.average(true == called)

    measures: dict[str, tuple[Callable[..., Statistic], Array]] = {
        "accuracy": (right, six.by_probability),
        "macro F1": (partial(scores.macro_f1, classes=six.names), six.by_probability),
        "balanced accuracy": (partial(scores.balanced_accuracy, classes=six.names), six.by_probability),
        "balanced accuracy by threshold": (
            partial(scores.balanced_accuracy, classes=six.names),
            six.by_threshold,
        ),
    }
    subject = f"films with exactly one of the {len(six.names)}"
    for name, (measure, called) in measures.items():
        yield bench.figure(subject, name, measure, six.actual, called, films=six.single)
