"""How faithful maps are: the effect of hiding the places they highlight, and whether they point at findings.

Deletion and insertion after Petsiuk et al., BMVC 2018.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import cv2
import numpy as np

from hilum.calibration.calibrate import logit, probabilities
from hilum.calibration.decide import baseline
from hilum.card import Card, Metric, copied, read_card
from hilum.data.opened import pixels_of, tried
from hilum.errors import ConfigError, HilumError
from hilum.evaluation.figures import Bench, Evaluation, Figure
from hilum.evaluation.pointing import fixed_place, pointing
from hilum.explain import CELLS, FAITHFUL, Network, gradcam, heatmap, hiding, occlusion
from hilum.gate import implausible
from hilum.labels import NO_FINDING
from hilum.pipeline import SEGMENTER
from hilum.prepare import chest, prepare
from hilum.runtime import Runtime, find
from hilum.segment import segment
from hilum.statistics.scores import average
from hilum.types import Anatomy, Array, Boxes, Explain, Heatmap, Sample, Tick

TABLE = "maps"
BY_METHOD = "maps by "
EVERY = "all labels"
MEASURES = (
    FAITHFUL,
    "deletion over random",
    "insertion over random",
    "lift",
    "in lungs",
    "points at it",
    "fixed place points at it",
    "milliseconds",
)

_STEPS = 8  # from nothing hidden to all
_PAIRS = 3  # random maps of each film, each paired with its reverse to reduce the variance
_SMOOTH = 2.0  # blur that turns noise into a random map, in cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One film as input of a network, with its anatomy and its findings' boxes."""

    sample: Sample
    anatomy: Anatomy
    inputs: Array  # (channels, S, S) float32, prepared
    part: tuple[slice, slice] | None  # rows and columns that the network sees; None: all
    boxes: Boxes


def judge_maps(
    runtime: Runtime,
    samples: Sequence[Sample],
    *,
    films: int,
    bias: Array | None = None,
    seed: int = 0,
    repeats: int = 1000,
    tick: Tick | None = None,
) -> Evaluation:
    """Figures of a classifier's maps on `films` films with each label, drawn by seed, and the table "maps".

    The maps are those of `hilum predict`: on the film's pixels, for films with plausible outlines. With the
    `bias` (C,) of a pooled linear head, Grad-CAM is judged as well. No Finding has no maps. Raises
    ConfigError for another model than a classifier.
    """
    if runtime.card.task != "classify":
        raise ConfigError(f"{runtime.card.name}: made to {runtime.card.task}; maps are a classifier's")
    chosen = _chosen(runtime.card, samples, films, seed)
    rows: list[dict[str, Any]] = []
    for i, (film, labels) in enumerate(chosen):
        others = [one.boxes for one, _ in chosen if one.sample.patient != film.sample.patient]
        usual = {label: fixed_place([boxes[label] for boxes in others if label in boxes]) for label in labels}
        for row, shown in _rows(runtime, film, labels, bias, np.random.default_rng([seed, i])):
            row |= pointing(shown, film.boxes, usual[shown.label])
            rows.append({"film": film.sample.id, "patient": film.sample.patient, **row})
        if tick:
            tick(i + 1, len(chosen), "judging maps")
    return Evaluation(figures=tuple(_figures(rows, seed, repeats)), tables={TABLE: rows})


def _chosen(card: Card, samples: Sequence[Sample], films: int, seed: int) -> list[tuple[Prepared, list[str]]]:
    """Films to judge maps on, each with its labels to judge."""
    segmenter = Runtime(find(SEGMENTER))
    looked: dict[str, Prepared | None] = {}
    found: dict[str, list[str]] = {}
    for i, label in enumerate(card.labels):
        if label == NO_FINDING:
            continue
        positive = [sample for sample in samples if sample.labels.get(label) == 1]
        taken = 0
        for place in np.random.default_rng([seed, i]).permutation(len(positive)):
            if taken == films:
                break
            sample = positive[place]
            if sample.id not in looked:
                film = tried(sample, partial(_prepared, segmenter, card, sample))
                if isinstance(film, HilumError):
                    raise film
                looked[sample.id] = film
            if looked[sample.id] is not None:
                found.setdefault(sample.id, []).append(label)
                taken += 1
    return [(film, found[name]) for name, film in looked.items() if film is not None]


def _prepared(segmenter: Runtime, card: Card, sample: Sample) -> Prepared | None:
    """A film prepared as for `hilum predict`; None if that would reject it."""
    pixels = pixels_of(sample.image)
    anatomy = segment(segmenter, pixels)
    if implausible(anatomy):
        return None
    boxes = sample.boxes() if callable(sample.boxes) else sample.boxes
    return Prepared(
        sample=sample,
        anatomy=anatomy,
        inputs=prepare(pixels, card.preparation, anatomy.mask),
        part=chest(anatomy.mask) if card.preparation.cut else None,
        boxes=boxes or {},
    )


def _rows(
    runtime: Runtime, film: Prepared, labels: Sequence[str], bias: Array | None, rng: np.random.Generator
) -> Iterator[tuple[dict[str, Any], Heatmap]]:
    """A row of measures and the map, for each label and method."""
    card = runtime.card
    made = _maps(runtime, film, labels, bias)
    orders = [order for _ in range(_PAIRS) for order in by_chance(rng)]
    for shown, _ in made:
        first = order(shown.values if film.part is None else shown.values[film.part], rng)
        orders += [first, first[::-1]]
    found = areas(runtime, card, film.inputs, orders)
    chance = found[: 2 * _PAIRS].mean(axis=0)
    for i, (shown, seconds) in enumerate(made):
        place = card.labels.index(shown.label)
        best_first, worst_first = found[2 * (_PAIRS + i) : 2 * (_PAIRS + i) + 2, place]
        row = {
            "label": shown.label,
            "method": shown.method,
            FAITHFUL: float(worst_first - best_first),
            "deletion over random": float(chance[place] - best_first),
            "insertion over random": float(worst_first - chance[place]),
            "lift": shown.lift,
            "in lungs": shown.in_lungs,
            "milliseconds": 1000 * seconds,
        }
        yield row, shown


def _maps(
    runtime: Runtime, film: Prepared, labels: Sequence[str], bias: Array | None
) -> list[tuple[Heatmap, float]]:
    """A film's maps by every method that the model allows, with the seconds each takes beyond the scores."""
    card = runtime.card
    evidence = runtime(film.inputs[None]).get("evidence")
    start = perf_counter()
    worth = occlusion(runtime, film.inputs, softmax=card.activation == "softmax")
    hidden = perf_counter() - start
    found = []
    for label in labels:
        place, start_at = card.labels.index(label), baseline(card, label)
        planes = {"occlusion": (worth[place] + np.float32(start_at), start_at)}
        if evidence is not None:
            planes["evidence"] = (evidence[0, place], start_at)
            if bias is not None:
                planes["Grad-CAM"] = (gradcam(evidence[0, place], float(bias[place])), 0.0)
        for method, (plane, level) in planes.items():
            start = perf_counter()
            shown = heatmap(
                plane, label=label, anatomy=film.anatomy, baseline=level, part=film.part, method=method
            )
            found.append((shown, perf_counter() - start + hidden * (method == "occlusion")))
    return found


def order(values: Array, rng: np.random.Generator) -> Array:
    """The cells of a map (H, W), CELLS across, from the highest to the lowest, equal ones at random."""
    cells = cv2.resize(values, (CELLS, CELLS), interpolation=cv2.INTER_AREA).ravel()
    mixed = rng.permutation(cells.size)
    return np.asarray(mixed[np.argsort(-cells[mixed], kind="stable")])


def by_chance(rng: np.random.Generator) -> tuple[Array, Array]:
    """The cells in the order of a random map, and in the reverse order.

    The map is as smooth as real ones. Single random cells would cover the film with holes, which disturbs a
    network more than losing any region: then no map's deletion would beat chance, and every insertion would.
    """
    noise = cv2.GaussianBlur(rng.normal(size=(CELLS, CELLS)), (0, 0), _SMOOTH)
    best = np.argsort(-noise, axis=None)
    return best, best[::-1]


def areas(network: Network, card: Card, film: Array, orders: Sequence[Array]) -> Array:
    """Mean calibrated logit of each label while a prepared film is hidden cell by cell: (orders, labels).

    Hiding the best cells first is deletion: lower is better. Hiding them last is insertion in reverse: higher
    is better. A random order is the baseline of both.
    """
    covers = np.zeros((len(orders), _STEPS + 1, CELLS**2), bool)
    for cover, cells in zip(covers, orders, strict=True):
        for step in range(1, _STEPS + 1):
            cover[step, cells[: step * CELLS**2 // _STEPS]] = True
    logits = np.concatenate(list(hiding(network, film, covers.reshape(-1, CELLS, CELLS))))
    curves = logit(probabilities(logits, card)).reshape(len(orders), _STEPS + 1, -1)
    return np.asarray(np.trapezoid(curves, dx=1 / _STEPS, axis=1))


def carry(folder: Path, evaluation: Evaluation, out: Path, *, part: str) -> Path:
    """Write the checkpoint of `folder` to `out`, with the faithfulness of its maps in its card, for reports.

    `part` is the films' part of the split. Grad-CAM is left out, because no report shows it. Returns `out`.
    """
    card = read_card(folder)
    told = [
        Metric(
            name=f"{one.measure}, {one.condition}",
            value=round(one.value, 4),
            low=None if math.isnan(one.low) else round(one.low, 4),
            high=None if math.isnan(one.high) else round(one.high, 4),
            n=one.films,
            part={"tune": "tuning"}.get(part, part),
        )
        for one in evaluation.figures
        if (one.subject, one.measure) == (EVERY, FAITHFUL)
        and one.condition.removeprefix(BY_METHOD) in get_args(Explain)
    ]
    names = {metric.name for metric in told}
    kept = [metric for metric in card.metrics if metric.name not in names]
    copied(folder, out, card.model_copy(update={"metrics": (*kept, *told)}))
    return out


def _figures(rows: Sequence[dict[str, Any]], seed: int, repeats: int) -> Iterator[Figure]:
    """Means over films, of each method for each label and for all."""
    if not rows:
        return
    column = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    bench = Bench(column["patient"], seed, repeats)
    for method in dict.fromkeys(column["method"].tolist()):
        for label in (*dict.fromkeys(column["label"].tolist()), EVERY):
            own = (column["method"] == method) & ((column["label"] == label) | (label == EVERY))
            for measure in MEASURES:
                known = own & ~np.isnan(column[measure])
                if known.any():
                    yield bench.figure(
                        label,
                        measure,
                        average,
                        column[measure],
                        films=known,
                        condition=f"{BY_METHOD}{method}",
                    )
