"""Pseudo-labels: films without masks, outlined by a model, kept where the outlines can be trusted."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2

from hilum.data.cache import Tick
from hilum.errors import ConfigError, HilumError
from hilum.gate import admit, implausible
from hilum.read import read
from hilum.runtime import Runtime
from hilum.segment import segment
from hilum.types import STRUCTURES, Sample

_COLUMNS = ("path", "id", "patient", "site", "view", "mask", "structures", "quality")


def outline_films(
    runtime: Runtime, samples: Sequence[Sample], out: Path, *, least: float, tick: Tick | None = None
) -> dict[str, int]:
    """Write ``out/outlined.csv``, a data set for ``csv:``, and the masks of the films that are kept.

    Kept are films on which every structure the model knows has at least the quality `least` and both lungs
    are plausible. Returns how many were kept, unsure and unreadable. Raises ConfigError where the model's
    card does not tell how far its outlines can be trusted.
    """
    known = [name for name in STRUCTURES if name in runtime.card.reliability]
    if not known:
        raise ConfigError(f"{runtime.card.name}: its card has no reliability; train it with this version")
    (out / "masks").mkdir(parents=True, exist_ok=True)
    counts = {"kept": 0, "unsure": 0, "unreadable": 0}
    draft = out / "outlined.csv.part"
    with draft.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        table.writeheader()
        for done, sample in enumerate(samples, 1):
            # Numbered: two films' names may differ only in what no file name can hold.
            result = _outlined(runtime, sample, known, least, out, Path("masks") / f"{done:06d}.png")
            if isinstance(result, str):
                counts[result] += 1
            else:
                counts["kept"] += 1
                table.writerow(result)
            if tick:
                tick(done, len(samples), f"{counts['kept']} kept")
    draft.replace(out / "outlined.csv")  # a table that stands is a whole one
    return counts


def _outlined(
    runtime: Runtime, sample: Sample, known: list[str], least: float, out: Path, place: Path
) -> dict[str, object] | str:
    """The film's row, its mask being written; or why it is not kept."""
    if not isinstance(sample.image, Path):
        raise ConfigError(f"{sample.id}: a generated film has its own mask; give films from files")
    try:
        film = read(sample.image)
    except HilumError:
        return "unreadable"
    if admit(film):
        return "unsure"
    anatomy = segment(runtime, film.pixels)
    quality = min(anatomy.quality[name] for name in known)
    if quality < least or not anatomy.unreliable.isdisjoint(known) or implausible(anatomy):
        return "unsure"
    if not cv2.imwrite(str(out / place), anatomy.mask):
        raise ConfigError(f"{out / place}: cannot be written; choose another folder or free some space")
    return {
        "path": sample.image.resolve(),
        "id": sample.id.removeprefix(f"{sample.site}:"),
        "patient": sample.patient.removeprefix(f"{sample.site}:"),
        "site": sample.site,
        "view": sample.view or "",
        "mask": place.as_posix(),
        "structures": "|".join(known),
        "quality": f"{quality:.4f}",
    }
