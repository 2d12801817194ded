"""A segmenter's masks against reference masks, on films as they are and on corrupted ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any
from zlib import crc32

import numpy as np

from hilum.data.cache import Cache
from hilum.data.masks import shown
from hilum.errors import ConfigError
from hilum.evaluation.figures import Bench, Evaluation, Figure
from hilum.evaluation.stress import STRESSES
from hilum.measure import is_mirrored, measure
from hilum.quality import POOR
from hilum.runtime import Runtime
from hilum.segment import anatomy, outputs
from hilum.statistics.intervals import Interval, exact
from hilum.statistics.metrics import auroc, components, dice, iou, mean, spearman, surface_distances
from hilum.types import (
    LUNG_OF_UNKNOWN_SIDE,
    STRUCTURES,
    Anatomy,
    Array,
    Sample,
    Tick,
)

SIZE = 256
"""Side of the films on which masks are compared; distances are in these pixels."""

CLEAN = "clean"

_SUBJECTS = (*STRUCTURES, "lungs")
_OVERLAP = ("Dice", "IoU", "pixel accuracy", "HD95, pixels", "surface distance, pixels", "stray parts")
_SHARES = (0.90, POOR)  # Dice limits; the share of structures below each is a figure


@dataclass(slots=True)
class _Tables:
    """Results film by film, as rows."""

    outlines: list[dict[str, Any]] = field(default_factory=list)
    ratios: list[dict[str, Any]] = field(default_factory=list)


def evaluate_outlines(
    runtime: Runtime, cache: Cache, bench: Bench, *, stress: bool, tick: Tick | None = None
) -> Evaluation:
    """Overlap and distances of each structure, error of the cardiothoracic ratio, and quality against Dice.

    If the films have the label Cardiomegaly, also how well the ratio alone predicts it; this needs no masks.
    """
    labelled = any("Cardiomegaly" in sample.labels for sample in cache.samples)
    if cache.masks is None and not labelled:
        raise ConfigError("the films have no masks to compare outlines with; give masks:PATH")
    if missing := set(STRUCTURES) - set(runtime.card.labels):
        raise ConfigError(f"{runtime.card.name}: does not outline {min(missing)}; train it on all")
    tables = _Tables()
    conditions = [CLEAN, *(STRESSES if stress and cache.masks is not None else ())]
    for done, (i, condition) in enumerate(product(range(len(cache.samples)), conditions), 1):
        _film(runtime, cache, i, condition, bench.seed, tables)
        if tick:
            tick(done, len(cache.samples) * len(conditions), "outlining")
    figures = [*_overlaps(tables.outlines, conditions, bench), *_qualities(tables.outlines, bench)]
    figures += [*_ratios(tables.ratios, conditions, bench), *_cardiomegaly(tables.ratios, bench)]
    return Evaluation(figures=tuple(figures), tables={"outlines": tables.outlines, "ratios": tables.ratios})


def _film(runtime: Runtime, cache: Cache, i: int, condition: str, seed: int, tables: _Tables) -> None:
    """Segment one film under one condition and add its rows."""
    sample = cache.samples[i]
    structures = frozenset() if cache.masks is None else shown(sample.structures, cache.masks[i])
    film, mask = changed(cache, i, condition, seed)
    height, width = film.shape
    logits = outputs(runtime, film)
    found = anatomy(logits, runtime.card.reliability, (height, width))
    about = {"index": i, "film": sample.id, "site": sample.site, "condition": condition}
    if mask is not None:
        tables.outlines += [about | row for row in _compared(mask, structures, found, logits)]
    tables.ratios.append(about | _measured(mask, structures, found, sample))


def changed(cache: Cache, i: int, condition: str, seed: int) -> tuple[Array, Array | None]:
    """A film, (S, S) float32, and its mask under a condition: `CLEAN` or the name of a stress."""
    film = cache.pixels(i)
    mask = None if cache.masks is None else np.array(cache.masks[i])
    if condition == CLEAN or mask is None:
        return film, mask
    # By the film's name: a film is corrupted in the same way whatever the other films are.
    film_, stress = crc32(cache.samples[i].id.encode()), list(STRESSES).index(condition)
    return STRESSES[condition](film, mask, np.random.default_rng([seed, film_, stress]))


def _compared(
    mask: Array, structures: frozenset[str], found: Anatomy, logits: Array
) -> Iterator[dict[str, Any]]:
    """One row for each structure in the film's mask, and for both lungs together."""
    pairs = {
        name: (mask == value, found.mask == value, logits[value - 1 : value] > 0)
        for value, name in enumerate(STRUCTURES, 1)
        if name in structures
    }
    if "lungs" in structures or {"right_lung", "left_lung"} <= structures:
        truth = np.isin(mask, (1, 2, LUNG_OF_UNKNOWN_SIDE))
        pairs["lungs"] = (truth, np.isin(found.mask, (1, 2)), logits[:2] > 0)
    for name, (truth, outline, raw) in pairs.items():
        sides = STRUCTURES[:2] if name == "lungs" else (name,)
        yield {
            "structure": name,
            "Dice": dice(truth, outline),
            "IoU": iou(truth, outline),
            "pixel accuracy": float((truth == outline).mean()),
            **dict(zip(_OVERLAP[3:5], surface_distances(truth, outline), strict=True)),
            "stray parts": sum(max(0, components(plane) - 1) for plane in raw),
            "not found": int(truth.any() and not outline.any()),
            "quality": min(found.quality[side] for side in sides),
            "flagged": int(not found.unreliable.isdisjoint(sides)),
        }


def _measured(
    mask: Array | None, structures: frozenset[str], found: Anatomy, sample: Sample
) -> dict[str, Any]:
    """The cardiothoracic ratio, measured and true, and whether the film was called mirrored."""
    measured = measure(found, None)
    true = None
    if mask is not None and set(STRUCTURES) <= structures:
        true = measure(Anatomy(mask=mask, quality={}), None).cardiothoracic_ratio
    return {
        "true ratio": true,
        # Also for unreliable outlines, so that the error of withheld ratios is known.
        "ratio": measure(replace(found, unreliable=frozenset()), None).cardiothoracic_ratio,
        "withheld": int(measured.cardiothoracic_ratio is None),
        "called mirrored": int(is_mirrored(measured)),
        "Cardiomegaly": sample.labels.get("Cardiomegaly"),
        "view": sample.view,
    }


def _overlaps(rows: list[dict[str, Any]], conditions: list[str], bench: Bench) -> Iterator[Figure]:
    stressed = [condition for condition in conditions if condition != CLEAN]
    for subject in _SUBJECTS:
        own = [row for row in rows if row["structure"] == subject]
        for condition in conditions:
            part = [row for row in own if row["condition"] == condition]
            yield from _means(subject, condition, part, bench)
        if own and stressed:
            clean = {row["index"]: row["Dice"] for row in own if row["condition"] == CLEAN}
            part = [row for row in own if row["condition"] != CLEAN]
            yield from _means(subject, "all stresses", part, bench)
            loss = np.array([clean[row["index"]] - row["Dice"] for row in part])
            yield _mean_of(subject, "Dice lost to stress", "all stresses", part, loss, bench)


def _means(subject: str, condition: str, rows: list[dict[str, Any]], bench: Bench) -> Iterator[Figure]:
    if not rows:
        return
    said = "" if condition == CLEAN else condition
    for measure_ in _OVERLAP:
        yield _mean_of(subject, measure_, said, rows, _column(rows, measure_), bench)
    for limit in _SHARES:
        below = np.asarray(_column(rows, "Dice") < limit, float)
        yield _share_of(subject, f"share below Dice {limit:.2f}", said, rows, below, bench)
    # The distances leave these out: they need both outlines.
    yield _share_of(subject, "share not found", said, rows, _column(rows, "not found"), bench)


def _qualities(rows: list[dict[str, Any]], bench: Bench) -> Iterator[Figure]:
    """Over all conditions: how well quality ranks the outlines, and whether the flag finds the poor ones."""
    for subject in _SUBJECTS:
        part = [row for row in rows if row["structure"] == subject]
        if not part:
            continue
        scores, quality = _column(part, "Dice"), _column(part, "quality")
        films = np.array([row["index"] for row in part])
        yield bench.drawn(
            subject, "Spearman of quality and Dice", "all", spearman, quality, scores, films=films
        )
        flagged, poor = _column(part, "flagged"), scores < POOR
        for name, chosen in ((f"flagged of Dice below {POOR:.2f}", poor), ("flagged of the others", ~poor)):
            if chosen.any():
                some = [row for row, yes in zip(part, chosen, strict=True) if yes]
                yield _share_of(subject, name, "all", some, flagged[chosen], bench)


def _ratios(rows: list[dict[str, Any]], conditions: list[str], bench: Bench) -> Iterator[Figure]:
    subject = "cardiothoracic ratio"
    for condition in conditions:
        part = [row for row in rows if row["condition"] == condition]
        said = "" if condition == CLEAN else condition
        known = [row for row in part if row["true ratio"] is not None and row["ratio"] is not None]
        if known:
            error = _column(known, "ratio") - _column(known, "true ratio")
            yield _mean_of(subject, "mean absolute error", said, known, np.abs(error), bench)
            yield _mean_of(subject, "mean error", said, known, error, bench)
            films = np.array([row["index"] for row in known])
            yield bench.drawn(
                subject, "standard deviation of the error", said, _deviation, error, films=films
            )
        yield _share_of(subject, "withheld", said, part, _column(part, "withheld"), bench)
        called = _column(part, "called mirrored")
        yield _share_of("film", "called mirrored", said, part, called, bench)


def _cardiomegaly(rows: list[dict[str, Any]], bench: Bench) -> Iterator[Figure]:
    """How well the ratio alone predicts the label, on all films and by view."""
    known = [
        row
        for row in rows
        if row["condition"] == CLEAN and row["Cardiomegaly"] in (0, 1) and row["ratio"] is not None
    ]
    for view in ("", "PA", "AP"):
        part = [row for row in known if view in ("", row["view"])]
        truth = _column(part, "Cardiomegaly")
        if 0 < truth.sum() < len(truth):
            films = np.array([row["index"] for row in part])
            said = f"{view} films" if view else ""
            name, count = "AUROC of the ratio alone", int(truth.sum())
            yield bench.drawn(
                "Cardiomegaly", name, said, auroc, truth, _column(part, "ratio"), films=films, positives=count
            )


def _column(rows: list[dict[str, Any]], name: str) -> Array:
    return np.array([row[name] for row in rows], np.float64)


def _mean_of(
    subject: str, measure_: str, condition: str, rows: list[dict[str, Any]], values: Array, bench: Bench
) -> Figure:
    films = np.array([row["index"] for row in rows])
    told = ~np.isnan(values)
    return bench.drawn(subject, measure_, condition, mean, values[told], films=films[told])


def _share_of(
    subject: str, measure_: str, condition: str, rows: list[dict[str, Any]], values: Array, bench: Bench
) -> Figure:
    """The mean of zeros and ones, with the interval of a share."""
    figure = _mean_of(subject, measure_, condition, rows, values, bench)
    patients = len({bench.patients[row["index"]] for row in rows})
    interval = exact(Interval(value=figure.value, low=figure.low, high=figure.high), patients)
    return replace(figure, low=interval.low, high=interval.high)


def _deviation(values: Array) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
