"""Pseudo-labels: what no reader has outlined, outlined by a model, kept where it can be trusted."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from hilum.data.cache import Tick
from hilum.data.masks import read_mask, shown
from hilum.errors import ConfigError, HilumError
from hilum.gate import admit, implausible
from hilum.metrics import dice
from hilum.reader import read
from hilum.runtime import Runtime
from hilum.segment import segment
from hilum.types import LUNG_OF_UNKNOWN_SIDE, STRUCTURES, Anatomy, Array, Sample

_COLUMNS = ("path", "id", "patient", "site", "view", "mask", "structures", "quality")


def outline_films(
    runtime: Runtime, samples: Sequence[Sample], out: Path, *, least: float, tick: Tick | None = None
) -> dict[str, int]:
    """Write ``out/outlined.csv``, a data set for ``csv:``, and the masks of the films that are kept.

    Kept are films on which every structure the model knows has at least the quality `least` and both lungs
    are plausible. What a film's own mask shows stays as it is there: instead of the quality, the Dice between
    it and the model's outline must be at least `least`, and it may cut no more than that off the others.
    Films whose own masks show all that the model knows are not outlined anew.

    Returns how many were kept, unsure, complete and unreadable. Raises ConfigError where the model's card
    does not tell how far its outlines can be trusted.
    """
    known = [name for name in STRUCTURES if name in runtime.card.reliability]
    if not known:
        raise ConfigError(f"{runtime.card.name}: its card has no reliability; train it with this version")
    _spare(samples, out)
    # Under other names until all is done: a table that stands is a whole one, and its masks are its own.
    masks, table = out / "masks.part", out / "outlined.csv.part"
    shutil.rmtree(masks, ignore_errors=True)
    masks.mkdir(parents=True)
    counts = {"kept": 0, "unsure": 0, "complete": 0, "unreadable": 0}
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for done, sample in enumerate(samples, 1):
            # Numbered: two films' names may differ only in what no file name can hold.
            result = _outlined(runtime, sample, known, least, masks / f"{done:06d}.png")
            if isinstance(result, str):
                counts[result] += 1
            else:
                counts["kept"] += 1
                writer.writerow(result)
            if tick:
                tick(done, len(samples), f"{counts['kept']} kept")
    (out / "outlined.csv").unlink(missing_ok=True)
    shutil.rmtree(out / "masks", ignore_errors=True)
    masks.rename(out / "masks")
    table.replace(out / "outlined.csv")
    return counts


def _spare(samples: Sequence[Sample], out: Path) -> None:
    """Refuse to write over masks that are read here, or that nothing says were written by an earlier run."""
    masks = (out / "masks").resolve()
    within = any(isinstance(s.masks, Path) and s.masks.resolve().is_relative_to(masks) for s in samples)
    if within or (masks.exists() and not (out / "outlined.csv").is_file()):
        raise ConfigError(f"{out / 'masks'}: holds masks that would be lost; choose another --out")


def _outlined(
    runtime: Runtime, sample: Sample, known: list[str], least: float, place: Path
) -> dict[str, object] | str:
    """The film's row, its mask being written to `place`; or why it is not kept."""
    if callable(sample.image) or callable(sample.masks):
        raise ConfigError(f"{sample.id}: a generated film has its own mask; give films from files")
    try:
        own = read_mask(sample.masks) if sample.masks else None
        told = frozenset[str]() if own is None else shown(sample.structures, own)
        if told.issuperset(known):
            return "complete"
        film = read(sample.image)
    except HilumError:
        return "unreadable"
    if admit(film):
        return "unsure"
    anatomy = segment(runtime, film.pixels)
    mask = anatomy.mask if own is None else _completed(own, anatomy.mask, told)
    quality = min(_trust(name, anatomy, own, mask, told) for name in known)
    if quality < least or not anatomy.unreliable.isdisjoint(_added(known, told)) or implausible(anatomy):
        return "unsure"
    if not cv2.imwrite(str(place), mask):
        raise ConfigError(f"{place}: cannot be written; choose another folder or free some space")
    return {
        "path": sample.image.resolve(),
        "id": sample.id.removeprefix(f"{sample.site}:"),
        "patient": sample.patient.removeprefix(f"{sample.site}:"),
        "site": sample.site,
        "view": sample.view or "",
        "mask": f"masks/{place.name}",
        "structures": "|".join(name for name in STRUCTURES if name in told or name in known),
        "quality": f"{quality:.4f}",
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
