"""Films with exactly one of the six labels, or of a model's other labels, and which label was called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from hilum.calibration.calibrate import of_one_class
from hilum.evaluation.figures import Bench, Figure
from hilum.evaluation.verdicts import Verdicts
from hilum.labels import SIX
from hilum.statistics import scores
from hilum.statistics.metrics import confusion
from hilum.statistics.scores import Statistic
from hilum.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class SixWay:
    """The K films with exactly one of the labels: their label, and the label called."""

    names: tuple[str, ...]  # of the labels
    films: Array  # (N,) bool: these films among those of the verdicts
    actual: Array  # (K,) names
    by_probability: Array  # (K,) names of the most probable labels
    by_threshold: Array  # (K,) names of the labels furthest above their thresholds

    @property
    def subject(self) -> str:
        """The name of these films in tables."""
        return f"films with exactly one of the {len(self.names)}"

    def confusion(self, called: Array) -> dict[str, dict[str, int]]:
        """True label -> called label -> films."""
        counts = confusion(self.actual, called, self.names)
        return {
            true: dict(zip(self.names, row, strict=True))
            for true, row in zip(self.names, counts.tolist(), strict=True)
        }


def six_way(verdicts: Verdicts) -> SixWay | None:
    """The choice of one label out of six; None with fewer than two labels, or without such a film.

    A model that lacks one of the six chooses among its own labels. Labels that are unknown on all films are
    left out, and so are films on which one of the other labels is unknown.
    """
    asked = SIX if set(SIX) <= set(verdicts.labels) else verdicts.labels
    places = [i for i in map(verdicts.labels.index, asked) if not np.isnan(verdicts.truth[:, i]).all()]
    carried = verdicts.truth[:, places] == 1
    films = of_one_class(verdicts.truth[:, places])
    if len(places) < 2 or not films.any():
        return None
    names = np.array([verdicts.labels[i] for i in places])
    return SixWay(
        names=tuple(names.tolist()),
        films=films,
        actual=names[np.argmax(carried[films], axis=1)],
        by_probability=names[np.argmax(verdicts.probabilities[films][:, places], axis=1)],
        by_threshold=names[np.argmax(verdicts.margins[films][:, places], axis=1)],
    )


MEASURES: dict[str, Callable[[SixWay], Statistic]] = {
    "accuracy": lambda six: scores.average(six.actual == six.by_probability),
    "macro F1": lambda six: scores.macro_f1(six.actual, six.by_probability, six.names),
    "balanced accuracy": lambda six: scores.balanced_accuracy(six.actual, six.by_probability, six.names),
    "balanced accuracy by threshold": lambda six: scores.balanced_accuracy(
        six.actual, six.by_threshold, six.names
    ),
}
"""Agreement of the true label with the most probable one or, "by threshold", the one that is called first."""


def figures_of_six(six: SixWay, bench: Bench) -> Iterator[Figure]:
    """Every measure, with its interval."""
    for name, measure in MEASURES.items():
        yield bench.figure(six.subject, name, partial(measure, six), films=six.films)
