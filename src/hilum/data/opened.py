"""Open the film and the mask of a sample, read or generated; retry if a disk fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from hilum.data.masks import read_mask
from hilum.errors import DataError, HilumError, StorageError
from hilum.prepare import fit, fit_mask
from hilum.reading.reader import read
from hilum.types import Array, Pixels, Sample

_T = TypeVar("_T")

_PATIENCE = (0.0, 0.2, 1.0)  # seconds before each attempt to read a film

_CORRUPT = 0.05  # share of unreadable films above which a data set is refused


def decode(sample: Sample, size: int, *, deep: bool = False) -> tuple[Array, Array | None]:
    """One sample's film (size, size) uint8, or uint16 if `deep`, and its label map or None."""
    kind = np.uint16 if deep else np.uint8
    film = np.rint(fit(pixels_of(sample.image), size) * np.iinfo(kind).max).astype(kind)
    if sample.masks is None:
        return film, None
    return film, fit_mask(masks_of(sample.masks), size)


def attempt(sample: Sample, size: int, *, deep: bool = False) -> tuple[Array, Array | None] | HilumError:
    """The result of `decode`, or the error if the film cannot be read."""
    return tried(sample, partial(decode, sample, size, deep=deep))


def tried(sample: Sample, do: Callable[[], _T]) -> _T | HilumError:
    """The result of a function of a sample, by `patiently`, or the error if the film cannot be read."""
    try:
        return patiently(do)
    except HilumError as error:
        return error
    except Exception as error:  # a film's own function may raise anything
        return DataError(
            f"{sample.id}: its film or mask cannot be used ({type(error).__name__}); export it again"
        )


def patiently(do: Callable[[], _T]) -> _T:
    """The result of a function; faults of a disk or network may pass, so they are retried."""
    last: Exception = OSError()
    for wait in _PATIENCE:
        time.sleep(wait)
        try:
            return do()
        except FileNotFoundError:
            raise
        except (StorageError, OSError, MemoryError) as error:
            last = error
    raise last


def pixels_of(image: Pixels) -> Array:
    """A film (H, W) float32 in [0, 1], read or generated."""
    pixels = image() if callable(image) else read(image).pixels
    return pixels.astype(np.float32) / 255 if pixels.dtype == np.uint8 else pixels


def masks_of(masks: Pixels) -> Array:
    """A film's label map (H, W) uint8, read or generated."""
    return masks() if callable(masks) else read_mask(masks)


def refuse(failures: dict[str, str], total: int) -> None:
    """Raise DataError if over 5 % of the films are unreadable: a wrong path or a missing decoder."""
    if len(failures) > _CORRUPT * total:
        few = "; ".join(list(failures.values())[:3])
        raise DataError(
            f"{len(failures)} of {total} films cannot be read, over {_CORRUPT:.0%}. The first: {few}"
        )


def stamp(pixels: object) -> str:
    """A text that identifies a film's present content without opening it."""
    if isinstance(pixels, Path) and pixels.is_file():
        state = pixels.stat()
        return f"{pixels.resolve()} {state.st_size} {state.st_mtime_ns}"
    if isinstance(pixels, partial):
        told = " ".join(stamp(argument) for argument in pixels.args)
        return f"{pixels.func.__module__}.{pixels.func.__qualname__} {told} {pixels.keywords}"
    return str(pixels)
