"""Pseudo-labels: what no reader has outlined, outlined by a model, kept where it can be trusted."""

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
"""What came of a film: "what", one of WHATS; of a kept one "quality" and "structures", else perhaps "why"."""

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

    Kept are films on which every structure the model knows has at least the quality `least` and both lungs
    are plausible. What a film's own mask shows stays as it is there: instead of the quality, the Dice between
    it and the model's outline must be at least `least`, and it may cut no more than that off the others.
    Films whose own masks show all that the model knows are not outlined anew. As many films are outlined side
    by side as there are `threads`, by default a core each. A run that was killed goes on where it stood.

    Returns how many were kept, unsure, complete and unreadable, and why the last are. Raises ConfigError
    where the model's card does not tell how far its outlines can be trusted, and for films that are no files.
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
    """The work of `outline_films`, in a folder that is this process's alone."""
    _spare(samples, out)
    # By what it shows: no mask is written over another, and a table that stands keeps its own.
    places = [out / "masks" / f"{_key(runtime.card, sample)}.png" for sample in samples]
    head = {"model": identity(runtime.card), "least": least}
    begun, entries = entries_of(out / _JOURNAL)
    entries = entries if begun == head else []  # of other settings nothing counts
    done: dict[str, Result] = dict(entries)
    counts, rows, failures = dict.fromkeys(WHATS, 0), [], []
    pool = ThreadPoolExecutor(threads or cores())
    # The journal first: it says whose masks those are.
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
    """A name for a film's mask that says what it is made of."""
    own = f"{stamp(sample.image)} {stamp(sample.masks)} {sorted(sample.structures)}"
    told = f"{identity(card)} {sample.id} {own}"
    return hashlib.sha256(told.encode()).hexdigest()[:20]


def _stands(done: dict[str, Result], place: Path) -> bool:
    """Whether a film needs no second look; one that could not be read may be readable now."""
    what = done.get(place.name, {}).get("what", "unreadable")
    return what != "unreadable" and (what != "kept" or place.is_file())


def _publish(out: Path, rows: Sequence[dict[str, str]]) -> None:
    """Put the table there in one step; then the masks that it does not name go, and the journal."""
    write_whole(out / "outlined.csv", as_csv(_COLUMNS, rows))
    named = {row["mask"] for row in rows}
    for mask in (out / "masks").iterdir():
        if f"masks/{mask.name}" not in named:
            mask.unlink()
    (out / _JOURNAL).unlink(missing_ok=True)


def _spare(samples: Sequence[Sample], out: Path) -> None:
    """Refuse to write over masks that are read here, or that nothing says were written by an earlier run."""
    masks = (out / "masks").resolve()
    within = any(isinstance(s.masks, Path) and s.masks.resolve().is_relative_to(masks) for s in samples)
    ours = (out / "outlined.csv").is_file() or (out / _JOURNAL).is_file()
    if within or (masks.exists() and not ours):
        raise ConfigError(f"{out / 'masks'}: holds masks that would be lost; choose another --out")


def _outlined(runtime: Runtime, sample: Sample, known: list[str], least: float, place: Path) -> Result:
    """What comes of a film, its mask being written to `place` if it is kept."""
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
            f"{place}: {error.strerror or error}; make room, or mend the folder, and run it again"
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
    """A structure's quality; where the film has a mask of its own, no more than the Dice of outline and mask.

    `mask` is the film's own, completed: a heart that its own lungs cut into has lost its shape.
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
    """Those of the structures that a film's own mask does not tell, be it without their sides."""
    told = told | {"right_lung", "left_lung"} if "lungs" in told else told
    return [name for name in names if name not in told]


def _completed(own: Array, outlined: Array, told: frozenset[str]) -> Array:
    """The film's own label map and, outside of it, what it does not show; none of its pixels is given up."""
    found = _sized(outlined, own)
    new = [STRUCTURES.index(name) + 1 for name in _added(STRUCTURES, told)]
    mask = np.where((own == 0) & np.isin(found, new), found, own)
    # Lungs that nobody has told apart: each pixel belongs to the model's lung that it is nearer to.
    far = [cv2.distanceTransform((found != side).astype(np.uint8), cv2.DIST_L2, 5) for side in (1, 2)]
    side = np.where(far[0] <= far[1], 1, 2)
    return np.where(mask == LUNG_OF_UNKNOWN_SIDE, side, mask).astype(np.uint8)


def _sized(mask: Array, own: Array) -> Array:
    """The model's label map on the pixels of the film's own, which may have been made on a smaller copy."""
    height, width = own.shape
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))
