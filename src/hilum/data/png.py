"""Write a film as a PNG that `read` returns with the same grey levels."""

from __future__ import annotations

import zlib

import cv2
import numpy as np

from hilum.reading.image import WHOLE
from hilum.types import Array

_HEAD = 33  # bytes of a PNG's signature and first chunk, IHDR


def png(grey: Array) -> bytes:
    """An image (H, W) uint8 or uint16 as PNG; one of 16 bits says that `read` must not stretch its levels."""
    coded = cv2.imencode(".png", grey)[1].tobytes()
    if grey.dtype == np.uint8:
        return coded
    chunk = b"tEXt" + "\0".join(WHOLE).encode("latin-1")
    size, check = (len(chunk) - 4).to_bytes(4, "big"), zlib.crc32(chunk).to_bytes(4, "big")
    return coded[:_HEAD] + size + chunk + check + coded[_HEAD:]


def sized(pixels: Array, longest: int) -> Array:
    """A film whose longest side has at most `longest` pixels; 0: unchanged."""
    scale = longest / max(pixels.shape) if longest else 1.0
    if scale >= 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape)
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))
