"""Films decoded once: a memory-mapped array at training size, rebuilt when anything it came from changes.

A cache is a folder named after the hash of its inputs. It is built under a temporary name and renamed
when whole, so a killed build leaves nothing that could be taken for a cache, and two processes that build
the same one do double work, never damage.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from hilum.data.masks import read_mask
from hilum.errors import DataError, HilumError
from hilum.prepare import fit, fit_mask
from hilum.read import read
from hilum.types import Array, Pixels, Sample

_FORMAT = 3  # raise when the way films are decoded or stored changes

_CORRUPT = 0.05  # the share of unreadable films above which a data set is not to be trusted

Tick = Callable[[int, int, str], None]
"""Progress: steps done, steps in all, what is going on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """Decoded films, in the order of `samples`."""

    samples: tuple[Sample, ...]  # those that could be read
    films: Array  # (N, S, S) uint8, memory-mapped, air dark
    masks: Array | None  # (N, S, S) uint8 label maps, memory-mapped
    failures: dict[str, str]  # sample id -> why it could not be read

    def truth(self, labels: Sequence[str]) -> Array:
        """What the films carry of these labels, (N, C) float64: 0, 1, or NaN where unknown."""
        return truth_of(self.samples, labels)


def truth_of(samples: Sequence[Sample], labels: Sequence[str]) -> Array:
    """What films carry of these labels, (N, C) float64: 0, 1, or NaN where unknown."""
    return np.array([[sample.labels.get(name, np.nan) for name in labels] for sample in samples])


def cached(samples: Sequence[Sample], size: int, folder: Path, *, tick: Tick | None = None) -> Cache:
    """The samples' films at `size`, from the cache under `folder` if it is there, decoded into it if not.

    Films that cannot be read are left out and listed; raises DataError when they are more than 5 %.
    """
    place = folder / _key(samples, size)
    if not (place / "index.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        draft = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=folder))
        try:
            _build(samples, size, draft, tick)
            _publish(draft, place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    index = json.loads((place / "index.json").read_text(encoding="utf-8"))
    by_id = {sample.id: sample for sample in samples}
    masks, count = place / "masks.npy", len(index["films"])
    # The arrays have a row for every sample; the last ones are blank where films could not be read.
    return Cache(
        samples=tuple(by_id[name] for name in index["films"]),
        films=np.load(place / "films.npy", mmap_mode="r", allow_pickle=False)[:count],
        masks=np.load(masks, mmap_mode="r", allow_pickle=False)[:count] if masks.is_file() else None,
        failures=index["failures"],
    )


def decode(sample: Sample, size: int) -> tuple[Array, Array | None]:
    """One sample's film (size, size) uint8 and its label map, or None where it has none."""
    film = np.rint(fit(pixels_of(sample.image), size) * 255).astype(np.uint8)
    if sample.masks is None:
        return film, None
    mask = sample.masks() if callable(sample.masks) else read_mask(sample.masks)
    return film, fit_mask(mask, size)


def pixels_of(image: Pixels) -> Array:
    """A film (H, W) float32 in [0, 1], read or generated."""
    pixels = image() if callable(image) else read(image).pixels
    return pixels.astype(np.float32) / 255 if pixels.dtype == np.uint8 else pixels


def _build(samples: Sequence[Sample], size: int, draft: Path, tick: Tick | None) -> None:
    shape = (len(samples), size, size)
    films = np.lib.format.open_memmap(draft / "films.npy", "w+", np.uint8, shape)
    masks = None
    if any(sample.masks is not None for sample in samples):
        masks = np.lib.format.open_memmap(draft / "masks.npy", "w+", np.uint8, shape)
    good: list[str] = []
    failures: dict[str, str] = {}

    def attempt(sample: Sample) -> tuple[Array, Array | None] | HilumError:
        try:
            return decode(sample, size)
        except HilumError as error:
            return error
        except (OSError, ValueError, MemoryError, cv2.error) as error:
            return DataError(f"{sample.id}: its mask or film cannot be used ({type(error).__name__})")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (sample, result) in enumerate(zip(samples, pool.map(attempt, samples), strict=True), 1):
            if isinstance(result, HilumError):
                failures[sample.id] = str(result)
            else:
                films[len(good)] = result[0]
                if masks is not None and result[1] is not None:
                    masks[len(good)] = result[1]
                good.append(sample.id)
            if tick:
                tick(done, len(samples), "decoding films")
    refuse(failures, len(samples))
    films.flush()
    if masks is not None:
        masks.flush()
    # Written last: a folder with an index is a whole cache.
    (draft / "index.json").write_text(json.dumps({"films": good, "failures": failures}), encoding="utf-8")


def refuse(failures: dict[str, str], total: int) -> None:
    """Raise DataError where more than 5 % of the films are unreadable: a wrong path, or a missing decoder."""
    if len(failures) > _CORRUPT * total:
        few = "; ".join(list(failures.values())[:3])
        raise DataError(
            f"{len(failures)} of {total} films cannot be read, over {_CORRUPT:.0%}. The first: {few}"
        )


def _publish(draft: Path, place: Path) -> None:
    for path in draft.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    try:
        draft.rename(place)
    except OSError:
        # Another process was first; its cache holds the same films.
        if not (place / "index.json").is_file():
            raise


def _sweep(folder: Path) -> None:
    """Remove what killed builds left behind, once it is a day old."""
    for draft in folder.glob(".*-*"):
        with suppress(FileNotFoundError):  # another process has just published or removed it
            if time.time() - draft.stat().st_mtime > 86_400:
                shutil.rmtree(draft, ignore_errors=True)


def _key(samples: Sequence[Sample], size: int) -> str:
    """Hash of all that the cached pixels depend on."""
    digest = hashlib.sha256(f"{_FORMAT} {size}".encode())
    for sample in samples:
        digest.update(f"\n{sample.id} {_stamp(sample.image)} {_stamp(sample.masks)}".encode())
    return digest.hexdigest()[:16]


def _stamp(pixels: object) -> str:
    if isinstance(pixels, Path) and pixels.is_file():
        state = pixels.stat()
        return f"{pixels.resolve()} {state.st_size} {state.st_mtime_ns}"
    if isinstance(pixels, partial):
        told = " ".join(_stamp(argument) for argument in pixels.args)
        return f"{pixels.func.__module__}.{pixels.func.__qualname__} {told} {pixels.keywords}"
    return str(pixels)
