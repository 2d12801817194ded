"""Stored pixel values -> grey levels in [0, 1]; shared by all readers.

A film has at most 65,536 different values, so each step is computed once per value and looked up per pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum.errors import ReadError
from hilum.types import Array

SMALLEST_SIDE = 16  # pixels; anything smaller cannot be segmented

LUMA = (0.299, 0.587, 0.114)  # red, green, blue: ITU-R BT.601, as in JPEG and in DICOM's YBR
_PERCENTILES = (0.1, 99.9)


class Refused(Exception):  # noqa: N818 - never leaves Hilum: `read` turns it into a ReadError that names the source
    """Why a source is not read as one film, what to do about it, and the class of the error to raise."""

    def __init__(self, reason: str, remedy: str, kind: type[ReadError] = ReadError) -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy
        self.kind = kind


AGAIN = "export the film again from its source"
"""The remedy for a film with damaged or contradictory content."""

LARGE = "if this really is one film, export it smaller, or use hilum.read with a larger pixel_budget"

PIXEL_BUDGET = 100_000_000
"""The most pixels that a film may have by default."""


def check_size(rows: int, columns: int, frames: int, pixel_budget: int) -> None:
    """Refuse several frames, and too few or too many pixels, before memory is allocated for them.

    Readers accept at most four samples of two bytes, so a film within the budget decodes to 8 bytes a pixel.
    """
    if rows * columns * max(frames, 1) > pixel_budget:
        size = f"{frames} x {rows} x {columns}" if frames > 1 else f"{rows} x {columns}"
        raise Refused(
            f"{size} pixels are more than the pixel budget of {pixel_budget}",
            LARGE,
        )
    if frames > 1:
        raise Refused(f"{frames} frames, expected 1", "export a single frame")
    if min(rows, columns) < SMALLEST_SIDE:
        raise Refused(
            f"{rows} x {columns} pixels are too few", f"give {SMALLEST_SIDE} or more on either side"
        )


def values_of(dtype: np.dtype[Any]) -> Array:
    """Every value that fits this integer type, in the order of its bits read as an unsigned number."""
    size = 2 ** (8 * dtype.itemsize)
    return np.arange(size, dtype=np.uint32).astype(f"u{dtype.itemsize}").view(dtype).astype(np.float64)


def count(grey: Array) -> Array:
    """How often each of `values_of` occurs in an integer array."""
    flat = np.ascontiguousarray(grey).view(f"u{grey.itemsize}").ravel()
    total = np.zeros(2 ** (8 * grey.itemsize), np.int64)
    for block in np.array_split(flat, flat.size // 2**20 + 1):  # bincount widens its input to 8 bytes
        total += np.bincount(block, minlength=total.size)
    return total


def look_up(grey: Array, levels: Array) -> Array:
    """(H, W) float32: each pixel's entry in `levels`, which runs in the order of `values_of`."""
    table = levels.astype(np.float32)
    index = np.ascontiguousarray(grey).view(f"u{grey.itemsize}")
    pixels = np.empty(grey.shape, np.float32)
    for row, out in zip(index, pixels, strict=True):  # take widens its index to 8 bytes
        np.take(table, row, out=out, mode="clip")
    return pixels


def stretch(values: Array, counts: Array, notes: list[str]) -> Array:
    """Map `values`, each seen `counts` times, so that their 0.1 to 99.9 percentile range becomes [0, 1]."""
    order = np.argsort(values, kind="stable")
    ordered, seen = values[order], np.cumsum(counts[order])
    if seen[-1] == 0:
        raise Refused("every pixel is padding", "export the film again")

    def percentile(q: float) -> float:  # linear between neighbours, as numpy.percentile
        place = q / 100 * (seen[-1] - 1)
        left, right = ordered[np.searchsorted(seen, [np.floor(place), np.ceil(place)], side="right")]
        return float(left + (right - left) * (place % 1))

    low, high = (percentile(q) for q in _PERCENTILES)
    note = "grey levels: 0.1 to 99.9 percentile range"
    if low == high:
        low, high = percentile(0), percentile(100)
        note = "grey levels: minimum to maximum; the 0.1 to 99.9 percentile range is empty"
    if low == high:
        raise constant()
    notes.append(note)
    return np.clip((values - low) / (high - low), 0, 1)


def luminance(rgb: Array, notes: list[str]) -> Array:
    """(H, W, 3) -> (H, W) of the same type; integers are rounded."""
    notes.append("colour turned to grey")
    kind = rgb.dtype
    grey = sum(rgb[..., i] * np.float32(weight) for i, weight in enumerate(LUMA))
    return np.rint(grey).astype(kind) if kind.kind in "iu" else np.asarray(grey, kind)


def graded(grey: Array, notes: list[str]) -> Array:
    """Integers without a window -> [0, 1]: uint8 divided by 255, other types scaled by their percentiles."""
    if grey.dtype == np.uint8:
        notes.append("grey levels: 8 bits divided by 255")
        return np.divide(grey, np.float32(255), dtype=np.float32)
    return look_up(grey, stretch(values_of(grey.dtype), count(grey), notes))


def finished(pixels: Array) -> Array:
    """Check the pixels, and return them as Radiograph promises: contiguous float32, finite, not constant."""
    low, high = pixels.min(), pixels.max()
    if not (np.isfinite(low) and np.isfinite(high)):  # both are NaN where one pixel is
        raise Refused(
            "grey levels that are not finite numbers", "correct the rescale slope, window or lookup table"
        )
    if low == high:
        raise constant()
    return np.ascontiguousarray(pixels, np.float32)


def constant() -> Refused:
    """The refusal of an image that shows nothing."""
    return Refused("constant image: all pixels are equal", "give a film that shows something")
