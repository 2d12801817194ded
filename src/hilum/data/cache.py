"""Films decoded once: a memory-mapped array at training size, rebuilt when its sources change.

A cache is a folder named after the hash of its inputs. It is built under another name, and renamed when
complete. A killed build therefore leaves nothing that looks like a cache, and the next build resumes it. Two
processes that build the same cache do the work twice, but damage nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hilum.data.opened import attempt, refuse, stamp
from hilum.engines import cores
from hilum.errors import DataError, HilumError
from hilum.store import write_whole
from hilum.types import Array, Sample, Tick

_FORMAT = 3  # raise when the way films are decoded or stored changes

_PROGRESS, _LOCK = "progress.json", "lock"

_AGAIN = 20  # films that failed before, tried again before a cache is used
_SAVED = 5.0  # seconds between two notes of a build's progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """Decoded films, in the order of `samples`."""

    samples: tuple[Sample, ...]  # films that could be read
    films: Array  # (N, S, S) uint8 or uint16, memory-mapped, air dark
    masks: Array | None  # (N, S, S) uint8 label maps, memory-mapped
    failures: dict[str, str]  # sample id -> why it could not be read

    def pixels(self, which: int | slice) -> Array:
        """A film (S, S), or several (n, S, S), float32 in [0, 1]."""
        films = self.films[which]
        return np.asarray(films, np.float32) / np.float32(np.iinfo(films.dtype).max)

    def truth(self, labels: Sequence[str]) -> Array:
        """The films' values of these labels, (N, C) float64: 0, 1, or NaN if unknown."""
        return truth_of(self.samples, labels)


def truth_of(samples: Sequence[Sample], labels: Sequence[str]) -> Array:
    """Films' values of these labels, (N, C) float64: 0, 1, or NaN if unknown."""
    return np.array([[sample.labels.get(name, np.nan) for name in labels] for sample in samples])


def cached(
    samples: Sequence[Sample],
    size: int,
    folder: Path,
    *,
    deep: bool = False,
    whole: int = 0,
    tick: Tick | None = None,
) -> Cache:
    """The samples' films at `size`, from the cache under `folder`, which is built if it is not there.

    Grey levels are rounded to 8 bits, enough for training, or to 16 (`deep`), for evaluating models as on the
    films themselves. Films that cannot be read are left out and listed. Raises DataError if they are more
    than 5 % of the samples, or of `whole` films if the samples are a part of those.
    """
    place = folder / _key(samples, size, deep)
    by_id = {sample.id: sample for sample in samples}
    if not _stands(place, by_id, size, deep):
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        with _draft(folder, place.name) as draft:
            _build(samples, size, deep, draft, whole or len(samples), tick)
            _publish(draft, place)
    index = json.loads((place / "index.json").read_text(encoding="utf-8"))
    masks, count = place / "masks.npy", len(index["films"])
    # The arrays have a row for every sample; the last rows are blank if films could not be read.
    return Cache(
        samples=tuple(by_id[name] for name in index["films"]),
        films=np.load(place / "films.npy", mmap_mode="r", allow_pickle=False)[:count],
        masks=np.load(masks, mmap_mode="r", allow_pickle=False)[:count] if masks.is_file() else None,
        failures=index["failures"],
    )


def _stands(place: Path, by_id: Mapping[str, Sample], size: int, deep: bool) -> bool:
    """Whether the cache is there; it is removed if a film it lacks can now be read."""
    path = place / "index.json"
    if not path.is_file():
        return False
    lost = islice(json.loads(path.read_text(encoding="utf-8"))["failures"], _AGAIN)
    if all(isinstance(attempt(by_id[name], size, deep=deep), HilumError) for name in lost):
        return True
    shutil.rmtree(place, ignore_errors=True)
    return False


@contextmanager
def _draft(folder: Path, name: str) -> Iterator[Path]:
    """A folder to build in: that of a killed build, or a new one if another process uses that.

    A build that is interrupted, or meets a full disk, leaves it behind. Raises DataError for the latter.
    """
    with ExitStack() as held:
        draft = _locked(folder / f".{name}-draft", held)
        draft = draft or Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
        try:
            yield draft
        except OSError as error:
            why = f"{folder}: {error.strerror or error}; make room"
            raise DataError(f"{why}, and run it again: it resumes") from None
        except Exception:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        shutil.rmtree(draft, ignore_errors=True)


def _locked(draft: Path, held: ExitStack) -> Path | None:
    """The folder, locked for this process until `held` ends; None if another process has it."""
    if sys.platform == "win32":
        return None  # every build has its own folder, and none is resumed
    import fcntl

    draft.mkdir(exist_ok=True)
    lock = held.enter_context((draft / _LOCK).open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    return draft


@dataclass(slots=True)
class _Progress:
    """Progress of a build."""

    done: int = 0
    good: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, draft: Path) -> _Progress:
        path = draft / _PROGRESS
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else cls()

    def note(self, draft: Path) -> None:
        """Save it atomically: after a kill, this note or the one before is there."""
        told = {"done": self.done, "good": self.good, "failures": self.failures}
        write_whole(draft / _PROGRESS, json.dumps(told))


def _build(
    samples: Sequence[Sample], size: int, deep: bool, draft: Path, whole: int, tick: Tick | None
) -> None:
    so_far = _Progress.of(draft)
    shape = (len(samples), size, size)
    films = _array(draft / "films.npy", np.uint16 if deep else np.uint8, shape, so_far)
    masks = None
    if any(sample.masks is not None for sample in samples):
        masks = _array(draft / "masks.npy", np.uint8, shape, so_far)

    noted = time.monotonic()
    left = samples[so_far.done :]
    with ThreadPoolExecutor(cores()) as pool:
        for sample, result in zip(left, pool.map(partial(attempt, size=size, deep=deep), left), strict=True):
            if isinstance(result, HilumError):
                so_far.failures[sample.id] = str(result)
            else:
                films[len(so_far.good)] = result[0]
                if masks is not None:
                    masks[len(so_far.good)] = 0 if result[1] is None else result[1]
                so_far.good.append(sample.id)
            so_far.done += 1
            if time.monotonic() - noted > _SAVED:
                with suppress(OSError):  # on a full disk the note before remains
                    _flush(films, masks)
                    so_far.note(draft)
                noted = time.monotonic()
            if tick:
                tick(so_far.done, len(samples), "decoding films")
    refuse(so_far.failures, whole)
    _flush(films, masks)
    # Written last: a folder with an index is a complete cache.
    index = {"films": so_far.good, "failures": so_far.failures}
    (draft / "index.json").write_text(json.dumps(index), encoding="utf-8")


def _array(
    path: Path, kind: type[np.unsignedinteger[Any]], shape: tuple[int, int, int], so_far: _Progress
) -> np.memmap[Any, Any]:
    """The array to fill, with all of its disk space reserved; raises DataError if there is too little."""
    if so_far.done:
        return np.lib.format.open_memmap(path, "r+")
    try:
        array = np.lib.format.open_memmap(path, "w+", kind, shape)
        # Without this, writing to a hole of the file when the disk is full would end the process.
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        need = int(np.prod(shape)) * np.dtype(kind).itemsize / 1e6
        raise DataError(
            f"{path.parent.parent}: {error.strerror}; {shape[0]} films of side {shape[1]} take "
            f"{need:,.0f} MB there; make room, or name another folder"
        ) from None
    return array


def _flush(*arrays: np.memmap[Any, Any] | None) -> None:
    for array in arrays:
        if array is not None:
            array.flush()


def _publish(draft: Path, place: Path) -> None:
    for path in draft.iterdir():
        with path.open("r+b") as file:  # Windows writes back only what it may write to
            os.fsync(file.fileno())
    try:
        draft.rename(place)
    except OSError:
        # Another process was first; its cache has the same films.
        if not (place / "index.json").is_file():
            raise
        return
    # Not earlier: until then, others that open the lock must find it taken.
    for name in (_PROGRESS, _LOCK):
        (place / name).unlink(missing_ok=True)


def sweep(folder: Path, drafts: str = r"\.[0-9a-f]{16}-\w+") -> None:
    """Remove what killed builds left if it is a day old; `drafts` is the pattern of its names."""
    for draft in folder.iterdir():
        with suppress(OSError):  # another process has just published or removed it, or another user owns it
            if re.fullmatch(drafts, draft.name) and time.time() - draft.stat().st_mtime > 86_400:
                if draft.is_dir():
                    shutil.rmtree(draft, ignore_errors=True)
                else:
                    draft.unlink()


def _key(samples: Sequence[Sample], size: int, deep: bool) -> str:
    """Hash of everything that the cached pixels depend on."""
    digest = hashlib.sha256(f"{_FORMAT} {size}{' deep' * deep}".encode())
    for sample in samples:
        digest.update(f"\n{sample.id} {stamp(sample.image)} {stamp(sample.masks)}".encode())
    return digest.hexdigest()[:16]
