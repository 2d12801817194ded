"""How far an outline can be trusted: the Dice predicted by the network's own probabilities, corrected.

A network is overconfident. The correction was fitted on films with known outlines, corrupted ones among them,
and is stored in the card. (Agreement between the outlines of mirrored, rotated, brightened and blurred copies
of a film was tried as well and added nothing; see docs/results/outlines.md.)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hilum.card import Reliability
from hilum.types import STRUCTURES, Array

POOR = 0.85
"""An outline with a Dice below this is poor, and should be flagged."""


def promised(plane: Array) -> float:
    """Expected Dice of ``plane > 0``, logits (S, S), if each pixel is in the structure with its probability.

    0 if nothing is found.
    """
    probability = (1 + np.tanh(plane.astype(np.float32) / 2)) / 2  # the sigmoid, without overflow
    part = plane > 0
    total = float(probability.sum()) + float(part.sum())
    return 2 * float(probability[part].sum()) / total if part.any() else 0.0


def judge(promises: Mapping[str, float], reliability: Mapping[str, Reliability]) -> dict[str, float]:
    """Predicted Dice of each structure -> its quality 0..1, the Dice to expect of its outline.

    Without a `reliability` for a structure, its predicted Dice is returned unchanged.
    """
    return {
        name: float(_expected(promise, fitted)) if promise and (fitted := reliability.get(name)) else promise
        for name, promise in promises.items()
    }


def fit(promises: Array, dices: Array, *, false_flags: float) -> Reliability:
    """Fit what `judge` needs to predicted Dice (N,) of one structure and the true Dice (N,) of its outlines.

    The slope is not negative: a higher prediction never lowers the quality. The threshold flags as many poor
    outlines as possible while it flags at most a share `false_flags` of the others.
    """
    x, y = _shortfall(promises), _shortfall(dices)
    spread = float(x.var())
    slope = max(0.0, float(((x - x.mean()) * (y - y.mean())).mean()) / spread) if spread else 0.0
    fitted = Reliability(intercept=float(y.mean() - slope * x.mean()), slope=slope, threshold=0.0)
    quality = np.where(promises > 0, _expected(promises, fitted), 0.0)
    bad = dices < POOR
    # The lower of: the highest quality of a poor outline, and what `false_flags` allows.
    allowed = float(np.quantile(quality[~bad], false_flags, method="lower")) if (~bad).any() else POOR
    needed = float(quality[bad].max()) + 1e-6 if bad.any() else POOR
    return fitted.model_copy(update={"threshold": min(allowed, needed, 1.0)})


def promises_of(logits: Array) -> dict[str, float]:
    """Predicted Dice of each structure from logits (3, S, S) in the order of STRUCTURES."""
    return {name: promised(plane) for name, plane in zip(STRUCTURES, logits, strict=True)}


def _shortfall(dice: Array | float) -> Array:
    """Log of 1 - Dice, plus 0.01: differences below that mean nothing."""
    return np.asarray(np.log(1.01 - np.asarray(dice)))


def _expected(promise: Array | float, fitted: Reliability) -> Array:
    """The inverse of `_shortfall`, 0..1."""
    return np.asarray(np.clip(1.01 - np.exp(fitted.intercept + fitted.slope * _shortfall(promise)), 0, 1))
