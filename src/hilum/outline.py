"""From the segmentation network's output to outlines on the film's own pixels."""

from __future__ import annotations

import cv2
import numpy as np

from hilum.prepare import restore
from hilum.types import STRUCTURES, Anatomy, Array


def in_order(logits: Array, labels: tuple[str, ...]) -> Array:
    """A network's planes (..., C, S, S), whose structures `labels` names, in the order of STRUCTURES."""
    return logits[..., [labels.index(name) for name in STRUCTURES], :, :]


def outline(logits: Array, shape: tuple[int, int]) -> Anatomy:
    """Logits (3, S, S) in the order of STRUCTURES -> Anatomy on (H, W) pixels.

    Of each structure the largest part is kept and its holes are filled; where two claim a pixel, the surer
    one has it. The quality of a structure is the Dice that its own probabilities promise of its outline.
    """
    probabilities = (1 + np.tanh(logits.astype(np.float32) / 2)) / 2  # the sigmoid, without overflow
    kept = np.stack([_largest(plane) for plane in probabilities])
    quality = {
        name: _promised_dice(*planes) for name, *planes in zip(STRUCTURES, probabilities, kept, strict=True)
    }
    # Cleaned at the network's size, where it is cheap; up-sampling probabilities keeps the edges smooth.
    mask = np.zeros(shape, np.uint8)
    surest = np.full(shape, 0.5, np.float32)
    for value, (plane, part) in enumerate(zip(probabilities, kept, strict=True), 1):
        whole = restore(np.where(part, np.maximum(plane, 0.5 + 1e-3), np.minimum(plane, 0.5 - 1e-3)), shape)
        claimed = whole > surest
        mask[claimed] = value
        np.maximum(surest, whole, out=surest)
    return Anatomy(mask=mask, quality=quality)


def _largest(plane: Array) -> Array:
    """The largest part of ``plane > 0.5`` (S, S) without holes, as booleans."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats((plane > 0.5).astype(np.uint8), connectivity=4)
    if count == 1:
        return np.zeros(plane.shape, bool)
    part = parts == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    # A hole is background that does not reach the border.
    outside = cv2.connectedComponents(
        np.pad(~part, 1, constant_values=True).astype(np.uint8), connectivity=4
    )[1]
    return np.asarray(outside[1:-1, 1:-1] != outside[0, 0])


def _promised_dice(plane: Array, part: Array) -> float:
    """Expected 2 |A and B| / (|A| + |B|) when each pixel is in the structure with its own probability."""
    total = float(plane.sum()) + float(part.sum())
    return 2 * float(plane[part].sum()) / total if part.any() else 0.0
