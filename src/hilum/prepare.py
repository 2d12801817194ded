"""Pure functions from a film to the network's input, and back from its output to the film's pixels."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from hilum.card import Preparation
from hilum.types import Array


def fit(pixels: Array, size: int) -> Array:
    """A film stretched to a square: (H, W) of any grey type -> (size, size) float32 of the same range.

    Stretching rather than padding is how NIH ChestX-ray14's square films were made from the originals.
    """
    height, width = pixels.shape
    image = pixels.astype(np.float32, copy=False)
    if (height, width) == (size, size):
        return image
    # Averaging over areas prevents aliasing of thin lines, but only if both sides shrink.
    shrinks = height >= size and width >= size
    return np.asarray(
        cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    )


def chest(mask: Array) -> tuple[slice, slice]:
    """Rows and columns of a label map (H, W) that hold lungs and heart, plus a tenth of their extent around.

    The whole film if the map is empty.
    """
    rows, columns = (_widened(np.flatnonzero(mask.any(axis=axis)), mask.shape[1 - axis]) for axis in (1, 0))
    return rows, columns


def _widened(where: Array, side: int) -> slice:
    if not where.size:
        return slice(0, side)
    first, last = int(where[0]), int(where[-1]) + 1
    margin = round(0.1 * (last - first))
    return slice(max(0, first - margin), min(side, last + margin))


def fit_mask(mask: Array, size: int) -> Array:
    """A label map (H, W) uint8 stretched as `fit` does its film, without blending: (size, size) uint8."""
    # Plain INTER_NEAREST takes the first pixel of each block, which shifts the mask by half a pixel.
    return np.asarray(cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT))


def levels(image: Array, preparation: Preparation) -> Array:
    """Normalise grey levels: percentile range to [0, 1], clipped, equalised and filtered, then standardised.

    (S, S) of any range -> the same shape, float32.
    """
    if 0 < preparation.detail < len(image):
        image = fit(fit(image, preparation.detail), len(image))
    low, high = np.percentile(image, (preparation.low, preparation.high))
    scale = 1.0 / max(float(high - low), 1e-6)
    grey = np.clip((image - np.float32(low)) * np.float32(scale), 0.0, 1.0).astype(np.float32, copy=False)
    if preparation.mask_diaphragm:
        grey = without_diaphragm(grey)
    grey = _FILTERS[preparation.smooth](_EQUALISERS[preparation.equalise](grey))
    return np.asarray((grey - np.float32(preparation.mean)) / np.float32(preparation.std), np.float32)


def without_diaphragm(grey: Array) -> Array:
    """A film (S, S) float32 in [0, 1] with its largest very bright part made black.

    Very bright is the top tenth of the range. Below the lungs that is mostly the diaphragm with what it
    covers, and also fluid on top of it. Source: Giełczyk et al., PLoS ONE 2022 (0265949).
    """
    bright = (grey > 0.9).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    if count < 2:
        return grey
    return np.where(parts == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), np.float32(0), grey)


def _through_bytes(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Apply a filter of 8-bit grey levels to a film in [0, 1]."""
    return lambda grey: function(np.rint(grey * 255).astype(np.uint8)).astype(np.float32) / 255


_EQUALISERS: dict[str, Callable[[Array], Array]] = {
    "none": lambda grey: grey,
    "histogram": _through_bytes(cv2.equalizeHist),
    "clahe": _through_bytes(lambda grey: cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(grey)),
}
_FILTERS: dict[str, Callable[[Array], Array]] = {
    "none": lambda grey: grey,
    "gaussian": lambda grey: cv2.GaussianBlur(grey, (5, 5), 0),
    "bilateral": lambda grey: cv2.bilateralFilter(grey, d=5, sigmaColor=0.1, sigmaSpace=2.0),
}


_NEEDED = "region {!r}: needs the film's label map"


def compose(image: Array, mask: Array | None, preparation: Preparation) -> Array:
    """The network's input (C, S, S) float32 from a film at the network's size, already cut if it is to be.

    The preparation's region decides how the label map (S, S) uint8 is used: not at all; as the part of the
    film that stays; or as channels, one each for right lung, left lung and heart, 0 or 1, and one for the
    cardiothoracic ratio, (ratio - 0.5) * 10 everywhere, and 0 if a lung or the heart is missing.
    """
    grey = levels(image, preparation)[None]
    if not preparation.outlined:
        return grey
    if mask is None:
        raise ValueError(_NEEDED.format(preparation.region))
    if preparation.region == "lungs":
        return np.where(mask > 0, grey, np.float32(-preparation.mean / preparation.std))
    planes = [(mask == value).astype(np.float32)[None] for value in (1, 2, 3)]
    ratio = 0.5
    if all(plane.any() for plane in planes):
        heart, lungs = (np.flatnonzero(part.any(axis=0)) for part in (mask == 3, (mask == 1) | (mask == 2)))
        ratio = np.clip((np.ptp(heart) + 1) / (np.ptp(lungs) + 1), 0, 1)
    return np.concatenate([grey, *planes, np.full_like(grey, 10 * (ratio - 0.5))])


def prepare(pixels: Array, preparation: Preparation, mask: Array | None = None) -> Array:
    """A film (H, W) and, if the preparation's region needs it, its label map -> the network's input.

    (C, size, size) float32.
    """
    if preparation.region == "film":
        return compose(fit(pixels, preparation.size), None, preparation)
    if mask is None:
        raise ValueError(_NEEDED.format(preparation.region))
    if preparation.cut:
        part = chest(mask)
        pixels, mask = pixels[part], mask[part]
    return compose(fit(pixels, preparation.size), fit_mask(mask, preparation.size), preparation)


def restore(plane: Array, shape: tuple[int, int]) -> Array:
    """One plane of the network's output (h, w) float32, stretched back over the film's (H, W)."""
    if plane.shape == shape:
        return plane
    return np.asarray(cv2.resize(plane, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR))
