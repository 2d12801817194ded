"""How far an outline can be trusted: the Dice that the network's own probabilities promise, made honest.

A network promises too much. What its promises come to was fitted on films whose outlines are known, changed
ones among them, and stands in the card. (Agreement between the outlines of mirrored, turned, brightened and
blurred copies of a film was tried as well and told no more; see docs/results/outlines.md.)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hilum.card import Reliability
from hilum.types import STRUCTURES, Array

POOR = 0.85
"""An outline with a Dice below this is poor, and should be flagged."""


def promised(plane: Array) -> float:
    """Expected Dice of ``plane > 0``, logits (S, S), were each pixel in the structure with its probability.

    0 where nothing is found: an empty outline promises nothing.
    """
    probability = (1 + np.tanh(plane.astype(np.float32) / 2)) / 2  # the sigmoid, without overflow
    part = plane > 0
    total = float(probability.sum()) + float(part.sum())
    return 2 * float(probability[part].sum()) / total if part.any() else 0.0


def judge(promises: Mapping[str, float], reliability: Mapping[str, Reliability]) -> dict[str, float]:
    """Promised Dice of each structure -> its quality 0..1, the Dice that may be expected of its outline.

    A structure whose `reliability` is not known keeps its promise.
    """
    return {
        name: float(_expected(promise, fitted)) if promise and (fitted := reliability.get(name)) else promise
        for name, promise in promises.items()
    }


def fit(promises: Array, dices: Array, *, false_flags: float) -> Reliability:
    """Promises (N,) of one structure and the Dice (N,) its outlines had -> what `judge` needs.

    The slope is not negative: a greater promise never lowers the quality. The threshold flags as many of the
    poor outlines as it can while at most a share `false_flags` of the others is flagged.
    """
    x, y = _shortfall(promises), _shortfall(dices)
    spread = float(x.var())
    slope = max(0.0, float(((x - x.mean()) * (y - y.mean())).mean()) / spread) if spread else 0.0
    fitted = Reliability(intercept=float(y.mean() - slope * x.mean()), slope=slope, threshold=0.0)
    quality = np.where(promises > 0, _expected(promises, fitted), 0.0)
    bad = dices < POOR
    # Between the highest quality of a poor outline and what the false flags allow, the lower one.
    allowed = float(np.quantile(quality[~bad], false_flags, method="lower")) if (~bad).any() else POOR
    needed = float(quality[bad].max()) + 1e-6 if bad.any() else POOR
    return fitted.model_copy(update={"threshold": min(allowed, needed, 1.0)})


def promises_of(logits: Array) -> dict[str, float]:
    """Promised Dice of each structure from logits (3, S, S) in the order of STRUCTURES."""
    return {name: promised(plane) for name, plane in zip(STRUCTURES, logits, strict=True)}


def _shortfall(dice: Array | float) -> Array:
    """Log of what is missing to a full Dice; a hundredth is added, below which nothing can be told."""
    return np.asarray(np.log(1.01 - np.asarray(dice)))


def _expected(promise: Array | float, fitted: Reliability) -> Array:
    """The way back from `_shortfall`, 0..1."""
    return np.asarray(np.clip(1.01 - np.exp(fitted.intercept + fitted.slope * _shortfall(promise)), 0, 1))
