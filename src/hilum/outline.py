"""From the segmentation network's output to outlines on the film's own pixels."""

from __future__ import annotations

import cv2
import numpy as np

from hilum.prepare import restore
from hilum.types import STRUCTURES, Array


def in_order(logits: Array, labels: tuple[str, ...]) -> Array:
    """The planes (..., C, S, S) of a network, whose order is that of `labels`, in the order of STRUCTURES."""
    return logits[..., [labels.index(name) for name in STRUCTURES], :, :]


def outline(logits: Array, shape: tuple[int, int]) -> Array:
    """Logits (3, S, S) in the order of STRUCTURES -> label map (H, W) uint8 as in Anatomy.

    The largest part of each structure is kept and its holes are filled. A pixel that two structures claim
    goes to the more probable one. Parts cut off by that are dropped: each structure is one part or none.
    """
    probabilities = (1 + np.tanh(logits.astype(np.float32) / 2)) / 2  # the sigmoid, without overflow
    # Cleaning is cheap at the network's size; up-sampling probabilities keeps the edges smooth.
    mask = np.zeros(shape, np.uint8)
    surest = np.full(shape, 0.5, np.float32)
    boxes: dict[int, tuple[slice, slice]] = {}
    for value, plane in enumerate(probabilities, 1):
        part = _filled(_largest(plane > 0.5))
        if not part.any():
            continue
        whole = restore(np.where(part, np.maximum(plane, 0.5 + 1e-3), np.minimum(plane, 0.5 - 1e-3)), shape)
        # A film may have a hundred million pixels: only those that the part can reach are examined.
        box = boxes[value] = _reach(part, shape)
        np.copyto(mask[box], np.uint8(value), where=whole[box] > surest[box])
        np.maximum(surest[box], whole[box], out=surest[box])
        del whole
    del surest
    for value, box in boxes.items():
        _drop_rest(mask[box], value)
    return mask


def _reach(part: Array, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of (H, W) that a mask (h, w) stretched over them can reach: a cell around it."""
    left, top, width, height = cv2.boundingRect(part.view(np.uint8))
    found = []
    for first, length, cells, pixels in zip((top, left), (height, width), part.shape, shape, strict=True):
        start, stop = (first - 1) * pixels // cells, -(-(first + length + 1) * pixels // cells)
        found.append(slice(max(0, start), min(pixels, stop)))
    return found[0], found[1]


def _drop_rest(mask: Array, value: int) -> None:
    """Clear all but the largest part of a structure, in place."""
    found = mask == value
    left, top, width, height = cv2.boundingRect(found.view(np.uint8))
    if width:
        box = (slice(top, top + height), slice(left, left + width))
        part = np.ascontiguousarray(found[box])
        mask[box][part & ~_largest(part)] = 0


def _largest(found: Array) -> Array:
    """The largest part of a boolean mask (H, W)."""
    # Sizes take six times as long to compute as parts, and most masks have one part.
    if cv2.connectedComponents(found.view(np.uint8), connectivity=4)[0] <= 2:
        return found
    _, parts, stats, _ = cv2.connectedComponentsWithStats(found.view(np.uint8), connectivity=4)
    return np.asarray(parts == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def _filled(part: Array) -> Array:
    """A boolean mask (H, W) with its holes, background that does not reach the border, filled."""
    outside = cv2.connectedComponents(
        np.pad(~part, 1, constant_values=True).astype(np.uint8), connectivity=4
    )[1]
    return np.asarray(outside[1:-1, 1:-1] != outside[0, 0])
