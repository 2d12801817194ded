"""Phantoms: synthetic frontal chest films whose lungs, heart and findings are known.

They need no download and no consent, so tests, pictures and trial runs work on any machine. Scores on
phantoms say nothing about patients.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from hilum.data import phantom_film as film
from hilum.data.phantom_body import frame, lying, outline, thorax
from hilum.data.phantom_findings import reshape, veil
from hilum.data.png import png
from hilum.errors import DataError
from hilum.labels import FINDINGS, NO_FINDING, SIX
from hilum.types import STRUCTURES, Array, Box, Boxes, Sample, Tick

VISIBLE = 8  # grey levels of 256 by which a finding must change a pixel to count as seen there
MOST = 1_000_000  # films of one data set; the next data set's seeds start there

# Each trait has its own random stream, so that a change of one leaves the others unchanged.
_WHO, _BODY, _TEXTURE, _ACQUISITION, _VIEW, _CHOICE, _FINDING = range(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """One synthetic film with all that is known about it."""

    pixels: Array  # (H, W) uint8, air dark
    mask: Array  # (H, W) uint8: 0 none, 1 right lung, 2 left lung, 3 heart
    labels: dict[str, float]  # all six, 0 or 1
    finding_mask: Array  # (H, W) bool: pixels that the findings changed by VISIBLE grey levels or more
    sex: str  # "F" or "M"
    age: float  # years
    view: str  # "PA" or "AP"


def draw(
    seed: int, *, size: int = 256, findings: Collection[str] | None = None, patient: int | None = None
) -> Phantom:
    """Draw one film; the same arguments give the same bytes.

    `findings` names some of the five (an empty list: a normal film); None draws them from the seed. `patient`
    is the seed of the person, by default the film's own: films of one patient share body, sex and age. The
    same seed with other findings keeps anatomy, texture and exposure. An unknown finding raises DataError.
    """
    who = seed if patient is None else patient
    chosen = _choose(seed) if findings is None else _known(findings)
    sex, age, view = _person(seed, who)
    body = thorax(_stream(who, _BODY), sex)
    if view == "AP":
        body = lying(body)
    acquisition = _stream(seed, _ACQUISITION)
    at = frame(acquisition, body, size)
    exposure, cover = film.settings(acquisition), film.cover(acquisition, at, view)
    scene = film.scene(_stream(seed, _TEXTURE), body, at)

    ill, clear = body, np.ones_like(at.u)
    streams = {label: _stream(seed, _FINDING + FINDINGS.index(label)) for label in chosen}
    for label, rng in streams.items():
        ill = reshape(label, rng, ill)
    for label, rng in streams.items():
        clear *= 1 - veil(label, rng, ill, at)
    mask = outline(ill, at)
    pixels = film.develop(scene, ill, at, mask, clear, exposure, cover)
    seen = np.zeros(pixels.shape, dtype=bool)
    if chosen:
        healthy = film.develop(scene, body, at, outline(body, at), np.ones_like(clear), exposure, cover)
        seen = cv2.absdiff(pixels, healthy) >= VISIBLE
    return Phantom(
        pixels=pixels, mask=mask, labels=_labels(chosen), finding_mask=seen, sex=sex, age=age, view=view
    )


def samples(spec: str) -> list[Sample]:
    """``COUNT`` or ``COUNT@SEED`` (``200@7``) -> that many films, not yet drawn; DataError if malformed."""
    return [sample for sample, _ in _plan(*count_and_seed("phantom", spec))]


def count_and_seed(kind: str, spec: str) -> tuple[int, int]:
    """``COUNT`` or ``COUNT@SEED`` -> count and seed, 0 if none is given; DataError if malformed."""
    match = re.fullmatch(r"(\d+)(?:@(\d+))?", spec.strip(), re.ASCII)
    if not match:
        raise DataError(f"{kind}:{spec}: not a number of films; write {kind}:COUNT or {kind}:COUNT@SEED")
    return int(match[1]), int(match[2] or 0)


def write(folder: Path, *, count: int, seed: int, tick: Tick | None = None) -> None:
    """Write ``images/ID.png``, ``masks/ID.png`` and ``labels.csv``, which holds all that is known.

    Masks are label maps: 0 none, 1 right lung, 2 left lung, 3 heart. Files
    of an earlier run with the same names are replaced.
    """
    films = _plan(count, seed)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "patient", "sex", "age", "view", *SIX])
        for done, (sample, make) in enumerate(films, 1):
            phantom, name = make(), f"{sample.id}.png"
            (folder / "images" / name).write_bytes(png(phantom.pixels))
            (folder / "masks" / name).write_bytes(png(phantom.mask))
            about = [f"images/{name}", sample.patient, sample.sex, f"{sample.age:g}", sample.view]
            table.writerow([*about, *(int(sample.labels[label]) for label in SIX)])
            if tick:
                tick(done, count, "drawing films")


def _plan(count: int, seed: int) -> list[tuple[Sample, Callable[[], Phantom]]]:
    """Each film's sample and the call that draws it; nothing is drawn yet."""
    if not 1 <= count <= MOST:
        raise DataError(f"phantom: {count} films; give a number from 1 to {MOST}")
    films = np.random.default_rng([seed, _WHO]).integers(1, 4, size=count)  # of each patient
    first = np.repeat(np.cumsum(films) - films, films)[:count]
    return [_film(seed, index, int(person)) for index, person in enumerate(first)]


def _film(seed: int, index: int, first: int) -> tuple[Sample, Callable[[], Phantom]]:
    """Film `index` of the data set `seed`, of the patient whose first film is `first`."""
    own, who = seed * MOST + index, seed * MOST + first
    sex, age, view = _person(own, who)
    sample = Sample(
        id=f"phantom-{seed}-{index:05d}",
        patient=f"phantom-{seed}-{first:05d}",
        image=partial(_pixels, own, who),
        labels=_labels(_choose(own)),
        masks=partial(_mask, own, who),
        structures=frozenset(STRUCTURES),
        boxes=partial(boxes, own, who),
        site="phantom",
        sex=sex,
        age=age,
        view=view,
    )
    return sample, partial(draw, own, patient=who)


def boxes(seed: int, patient: int) -> Boxes:
    """Where each finding of a film was drawn, from another drawing with only that finding.

    The box of an enlarged heart is around the whole heart, as a reader would draw it.
    """
    alone = {label: draw(seed, findings=[label], patient=patient) for label in _choose(seed)}
    return {
        label: _around(one.mask == 3 if label == "Cardiomegaly" else one.finding_mask)
        for label, one in alone.items()
    }


def _around(mask: Array) -> tuple[Box, ...]:
    """A box around each part of a mask (H, W) with at least a tenth of the largest part's area."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    parts = stats[1:]
    height, width = mask.shape
    return tuple(
        (x / width, y / height, w / width, h / height)
        for x, y, w, h, area in parts.tolist()
        if area >= parts[:, cv2.CC_STAT_AREA].max() / 10
    )


def _pixels(seed: int, patient: int) -> Array:
    return draw(seed, patient=patient).pixels


def _mask(seed: int, patient: int) -> Array:
    return draw(seed, patient=patient).mask


def _stream(seed: int, trait: int) -> np.random.Generator:
    return np.random.default_rng([seed, trait])


def _person(seed: int, patient: int) -> tuple[str, float, str]:
    """Sex and age of the patient, view of the film."""
    rng = _stream(patient, _WHO)
    view = "AP" if _stream(seed, _VIEW).random() < 0.35 else "PA"
    return "FM"[int(rng.integers(2))], float(rng.integers(18, 91)), view


def _choose(seed: int) -> list[str]:
    """The findings of a film: two fifths have none, the others one or two."""
    rng = _stream(seed, _CHOICE)
    number = int(rng.choice(3, p=(0.4, 0.4, 0.2)))
    return _known(rng.choice(FINDINGS, number, replace=False).tolist())


def _known(findings: Collection[str]) -> list[str]:
    """The findings in the labels' order, each once."""
    unknown = sorted(set(findings) - set(FINDINGS))
    if unknown:
        raise DataError(f"phantom: no finding {unknown[0]!r}; name some of {', '.join(FINDINGS)}, or none")
    return [label for label in FINDINGS if label in findings]


def _labels(findings: Collection[str]) -> dict[str, float]:
    present = set(findings) or {NO_FINDING}
    return {label: float(label in present) for label in SIX}
