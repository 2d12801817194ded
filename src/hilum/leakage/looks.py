"""Films in the form in which they are compared: small, without borders, with hashes of their content."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from hilum.data.opened import pixels_of, tried
from hilum.engines import cores
from hilum.errors import HilumError
from hilum.leakage.search import SIDE
from hilum.prepare import fit
from hilum.reading.reader import read
from hilum.types import Array, Sample, Tick

_TRIMMED_AT = 256  # pixels at which borders are searched
_BLACK = 0.016  # of the film's range: outer lines up to so much above the darkest are border


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """Films read once, in the order of the samples; the look of an unreadable film is blank."""

    looks: Array  # (N, SIDE, SIDE) uint8, air dark, on disk
    files: tuple[str, ...]  # SHA-256 of the file's bytes; "" of a generated film
    pixels: tuple[str, ...]  # SHA-256 of size and grey levels; "" of a film that cannot be read
    failures: dict[int, str]  # place -> why


def gather(samples: Sequence[Sample], *, tick: Tick | None = None) -> Looks:
    """Read every film once; the looks lie in a temporary file that is deleted with them."""
    shape = (max(len(samples), 1), SIDE, SIDE)
    with tempfile.TemporaryFile() as file:  # without a name, so it cannot be left behind
        # A full disk raises an error now; a write through memory would end the process later.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, math.prod(shape))
        looks = np.memmap(file, np.uint8, "w+", shape=shape)[: len(samples)]
    files, pixels = [""] * len(samples), [""] * len(samples)
    failures = {}
    with ThreadPoolExecutor(cores()) as pool:
        for place, found in enumerate(pool.map(lambda one: tried(one, partial(_look, one)), samples)):
            if isinstance(found, HilumError):
                failures[place] = str(found)
            else:
                looks[place], files[place], pixels[place] = found
            if tick:
                tick(place + 1, len(samples), "reading films")
    return Looks(looks=looks, files=tuple(files), pixels=tuple(pixels), failures=failures)


def look_of(pixels: Array) -> Array:
    """A film (H, W) float32 in [0, 1] without black borders, stretched to (SIDE, SIDE) uint8."""
    if min(pixels.shape) > _TRIMMED_AT:
        pixels = fit(pixels, _TRIMMED_AT)
    dark = pixels.min() + _BLACK * np.ptp(pixels)
    shown = [np.flatnonzero(pixels.max(axis=axis) > dark) for axis in (1, 0)]
    if all(len(lines) > side // 4 for lines, side in zip(shown, pixels.shape, strict=True)):
        (top, bottom), (left, right) = ((lines[0], lines[-1] + 1) for lines in shown)
        pixels = pixels[top:bottom, left:right]
    return np.asarray(np.rint(fit(pixels, SIDE) * 255), np.uint8)


def _look(sample: Sample) -> tuple[Array, str, str]:
    if callable(sample.image):
        file, pixels = "", pixels_of(sample.image)
    else:
        film = read(sample.image)
        file, pixels = film.origin.sha256, film.pixels
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return look_of(pixels), file, digest.hexdigest()
