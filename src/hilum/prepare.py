"""Pure functions from a film to the network's input, and back from its output to the film's pixels."""

from __future__ import annotations

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
    # Averaging over areas keeps thin lines from aliasing, but only when both sides shrink.
    shrinks = height >= size and width >= size
    return np.asarray(
        cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    )


def levels(image: Array, preparation: Preparation) -> Array:
    """Grey levels made alike: the percentile range to [0, 1], clipped, then standardised; float32."""
    low, high = np.percentile(image, (preparation.low, preparation.high))
    scale = 1.0 / max(float(high - low), 1e-6)
    stretched = np.clip((image - np.float32(low)) * np.float32(scale), 0.0, 1.0)
    return np.asarray((stretched - np.float32(preparation.mean)) / np.float32(preparation.std), np.float32)


def prepare(pixels: Array, preparation: Preparation) -> Array:
    """A film -> the network's input (1, size, size) float32."""
    return levels(fit(pixels, preparation.size), preparation)[None]


def restore(plane: Array, shape: tuple[int, int]) -> Array:
    """One plane of the network's output (h, w) float32, stretched back over the film's (H, W)."""
    if plane.shape == shape:
        return plane
    return np.asarray(cv2.resize(plane, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR))
