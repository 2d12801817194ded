"""Pseudo-labels: masks by a model for structures without a reader's mask, kept if reliable."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from hilum.card import Card
from hilum.data.journal import appending, entries_of
from hilum.data.masks import shown
from hilum.data.opened import masks_of, patiently, stamp
from hilum.data.png import png
from hilum.engines import cores
from hilum.errors import ConfigError, HilumError
from hilum.gate import admit, implausible
from hilum.reading.reader import read
from hilum.reporting.report import identity
from hilum.runtime import Runtime
from hilum.segment import segment
from hilum.statistics.metrics import dice
from hilum.store import alone, as_csv, write_whole
from hilum.types import LUNG_OF_UNKNOWN_SIDE, STRUCTURES, Anatomy, Array, Sample, Tick

_COLUMNS = ("path", "id", "patient", "site", "view", "mask", "structures", "quality")
_JOURNAL = ".outlined.jsonl"

Result = dict[str, Any]
"""Result of a film: "what", one of WHATS; for a kept film "quality" and "structures"; "why" if unreadable."""

WHATS = ("kept", "unsure", "complete", "unreadable")


def outline_films(
    runtime: Runtime,
    samples: Sequence[Sample],
    out: Path,
    *,
    least: float,
    threads: int | None = None,
    tick: Tick | None = None,
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Write ``out/outlined.csv``, a data set for ``csv:``, and the masks of the films that are kept.

    A film is kept if every structure that the model knows has at least the quality `least`, and both lungs
    are plausible. Structures in a film's own mask stay as they are there; instead of their quality, their
    Dice with the model's mask must be at least `least`. The own mask may cut into the other structures: their
    Dice before and after that must be at least `least` too. Films whose own masks show all structures of the
    model are not segmented. `threads` films are segmented in parallel, by default one per core. A killed run
    resumes.

    Returns how many were kept, unsure, complete and unreadable, and why films were unreadable. Raises
    ConfigError if the model's card has no reliability, and for films that are no files.
    """
    known = [name for name in STRUCTURES if name in runtime.card.reliability]
    if not known:
        raise ConfigError(f"{runtime.card.name}: its card has no reliability; train it with this version")
    if made := next((sample for sample in samples if callable(sample.image)), None):
        raise ConfigError(f"{made.id}: no file of its own that a csv could name; give films from files")
    out.mkdir(parents=True, exist_ok=True)
    with alone(out, "outlines films"):
        return _all(runtime, samples, out, known, least, threads, tick)


def _all(
    runtime: Runtime,
    samples: Sequence[Sample],
    out: Path,
    known: list[str],
    least: float,
    threads: int | None,
    tick: Tick | None,
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The work of `outline_films`, in a folder that no other process uses."""
    _spare(samples, out)
    # Named by content: no mask overwrites another, and an existing table keeps its masks.
    places = [out / "masks" / f"{_key(runtime.card, sample)}.png" for sample in samples]
    head = {"model": identity(runtime.card), "least": least}
    begun, entries = entries_of(out / _JOURNAL)
    entries = entries if begun == head else []  # entries of other settings do not count
    done: dict[str, Result] = dict(entries)
    counts, rows, failures = dict.fromkeys(WHATS, 0), [], []
    pool = ThreadPoolExecutor(threads or cores())
    # The journal first: it says whose masks these are.
    with appending(out / _JOURNAL, head, entries) as add:
        (out / "masks").mkdir(exist_ok=True)
        try:
            todo = {
                place.name: pool.submit(_outlined, runtime, sample, known, least, place)
                for place, sample in zip(places, samples, strict=True)
                if not _stands(done, place)
            }
            for number, (place, sample) in enumerate(zip(places, samples, strict=True), 1):
                if place.name in todo:
                    done[place.name] = todo.pop(place.name).result()
                    add([place.name, done[place.name]])
                result = done[place.name]
                counts[result["what"]] += 1
                rows += [_row(sample, place, result)] if result["what"] == "kept" else []
                failures += [result["why"]] if "why" in result else []
                if tick:
                    tick(number, len(samples), f"{counts['kept']} kept")
        finally:
            pool.shutdown(cancel_futures=True)
    _publish(out, rows)
    return counts, tuple(failures)


def _key(card: Card, sample: Sample) -> str:
    """A name for a film's mask, made of everything that it depends on."""
    own = f"{stamp(sample.image)} {stamp(sample.masks)} {sorted(sample.structures)}"
    told = f"{identity(card)} {sample.id} {own}"
    return hashlib.sha256(told.encode()).hexdigest()[:20]


def _stands(done: dict[str, Result], place: Path) -> bool:
    """Whether a film is done; one that could not be read may be readable now."""
    what = done.get(place.name, {}).get("what", "unreadable")
    return what != "unreadable" and (what != "kept" or place.is_file())


def _publish(out: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write the table atomically; then remove the masks that it does not name, and the journal."""
    write_whole(out / "outlined.csv", as_csv(_COLUMNS, rows))
    named = {row["mask"] for row in rows}
    for mask in (out / "masks").iterdir():
        if f"masks/{mask.name}" not in named:
            mask.unlink()
    (out / _JOURNAL).unlink(missing_ok=True)


def _spare(samples: Sequence[Sample], out: Path) -> None:
    """Refuse to overwrite masks that are read here, or that are not known to be of an earlier run."""
    masks = (out / "masks").resolve()
    within = any(isinstance(s.masks, Path) and s.masks.resolve().is_relative_to(masks) for s in samples)
    ours = (out / "outlined.csv").is_file() or (out / _JOURNAL).is_file()
    if within or (masks.exists() and not ours):
        raise ConfigError(f"{out / 'masks'}: holds masks that would be lost; choose another --out")


def _outlined(runtime: Runtime, sample: Sample, known: list[str], least: float, place: Path) -> Result:
    """The result of a film; its mask is written to `place` if it is kept."""
    try:
        own = None if sample.masks is None else masks_of(sample.masks)
        told = frozenset[str]() if own is None else shown(sample.structures, own)
        if told.issuperset(known):
            return {"what": "complete"}
        film = patiently(partial(read, cast("Path", sample.image)))
    except HilumError as error:
        return {"what": "unreadable", "why": str(error)}
    if admit(film):
        return {"what": "unsure"}
    anatomy = segment(runtime, film.pixels)
    mask = anatomy.mask if own is None else _completed(own, anatomy.mask, told)
    quality = min(_trust(name, anatomy, own, mask, told) for name in known)
    if quality < least or not anatomy.unreliable.isdisjoint(_added(known, told)) or implausible(anatomy):
        return {"what": "unsure"}
    try:
        write_whole(place, png(mask))
    except OSError as error:
        raise ConfigError(
            f"{place}: {error.strerror or error}; make room, or check the folder, and run it again"
        ) from None
    shows = "|".join(name for name in STRUCTURES if name in told or name in known)
    return {"what": "kept", "quality": f"{quality:.4f}", "structures": shows}


def _row(sample: Sample, place: Path, result: Result) -> dict[str, str]:
    """A kept film's row of the table."""
    return {
        "path": str(Path(cast("Path", sample.image)).resolve()),
        "id": sample.id.removeprefix(f"{sample.site}:"),
        "patient": sample.patient.removeprefix(f"{sample.site}:"),
        "site": sample.site,
        "view": sample.view or "",
        "mask": f"masks/{place.name}",
        "structures": result["structures"],
        "quality": result["quality"],
    }


def _trust(name: str, anatomy: Anatomy, own: Array | None, mask: Array, told: frozenset[str]) -> float:
    """A structure's quality; if the film has its own mask, at most the Dice of the two masks.

    `mask` is the film's own, completed: its lungs may cut into the model's heart.
    """
    value = STRUCTURES.index(name) + 1
    if own is None:
        return anatomy.quality[name]
    found = _sized(anatomy.mask, own)
    if "lungs" in told and name != "heart":
        return dice(np.isin(own, (1, 2, LUNG_OF_UNKNOWN_SIDE)), np.isin(found, (1, 2)))
    agreement = dice(mask == value, found == value)
    return agreement if name in told else min(agreement, anatomy.quality[name])


def _added(names: Sequence[str], told: frozenset[str]) -> list[str]:
    """The structures that a film's own mask does not show; lungs without sides count as shown."""
    told = told | {"right_lung", "left_lung"} if "lungs" in told else told
    return [name for name in names if name not in told]


def _completed(own: Array, outlined: Array, told: frozenset[str]) -> Array:
    """The film's own label map, unchanged, and outside of it the structures that it does not show."""
    found = _sized(outlined, own)
    new = [STRUCTURES.index(name) + 1 for name in _added(STRUCTURES, told)]
    mask = np.where((own == 0) & np.isin(found, new), found, own)
    # Lungs without sides: each pixel belongs to the nearer lung of the model.
    far = [cv2.distanceTransform((found != side).astype(np.uint8), cv2.DIST_L2, 5) for side in (1, 2)]
    side = np.where(far[0] <= far[1], 1, 2)
    return np.where(mask == LUNG_OF_UNKNOWN_SIDE, side, mask).astype(np.uint8)


def _sized(mask: Array, own: Array) -> Array:
    """The model's label map at the size of the film's own, which may be of a smaller copy."""
    height, width = own.shape
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))
