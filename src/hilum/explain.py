"""Evidence maps: where on the film the parts of a label's logit lie."""

from __future__ import annotations

import math

import cv2
import numpy as np

from hilum.types import Anatomy, Array, Heatmap

_FINE = 12  # cells across, from which on a map is made by dilated layers
_BINOMIAL = np.array([0.25, 0.5, 0.25], np.float32)


def heatmap(
    evidence: Array,
    *,
    label: str,
    anatomy: Anatomy,
    baseline: float = 0.0,
    part: tuple[slice, slice] | None = None,
) -> Heatmap:
    """Lay the network's evidence for one label over the film's own pixels.

    `evidence` is (h, w) float32 and its mean is the logit; it spans the whole film, or the `part` of its rows
    and columns that the network saw. The mean of the result is the same logit. What lies above `baseline`,
    the logit at which the label turns positive, speaks for the label: a rare disease turns positive far
    below a logit of 0.
    """
    logit = evidence.mean(dtype=np.float64)
    seen = anatomy.mask if part is None else anatomy.mask[part]
    height, width = seen.shape
    if min(evidence.shape) >= _FINE:
        # Dilated layers answer on alternating cells; this takes off just that, and the mean comes back below.
        evidence = cv2.sepFilter2D(evidence.astype(np.float32), -1, _BINOMIAL, _BINOMIAL)
    # Linear: a cubic spline would overshoot, showing evidence that the network never had.
    values = cv2.resize(evidence.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    # Clamped borders weigh the grid's cells unequally; the shift gives the logit back.
    values += np.float32(logit - cv2.mean(values)[0])
    if part is not None:
        # What the network did not see speaks neither for the label nor against it.
        whole = np.full(anatomy.mask.shape, baseline, np.float32)
        whole[part] += (values - np.float32(baseline)) * np.float32(whole.size / values.size)
        values = whole
    return Heatmap(
        values=values,
        label=label,
        method="evidence",
        baseline=baseline,
        in_lungs=_share(values - np.float32(baseline), anatomy.mask),
    )


def _share(values: Array, mask: Array) -> float:
    """Share of the positive values that lies where `mask` is not 0; NaN if none is positive."""
    positive = np.maximum(values, 0)
    total = cv2.mean(positive)[0] * positive.size
    inside = cv2.mean(positive, mask=mask)[0] * cv2.countNonZero(mask)
    return min(1.0, float(inside / total)) if total else math.nan
