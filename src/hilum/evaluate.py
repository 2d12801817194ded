"""A checkpoint on labelled or outlined films -> figures with intervals. Needs no torch."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from hilum.calibrate import probabilities
from hilum.data.cache import Cache, Tick
from hilum.errors import ConfigError
from hilum.labels import SIX
from hilum.metrics import (
    accuracy,
    auroc,
    average_precision,
    bootstrap,
    brier,
    calibration_error,
    confusion,
    dice,
    iou,
    macro_f1,
    surface_distances,
)
from hilum.outline import in_order, outline
from hilum.prepare import levels
from hilum.runtime import Runtime
from hilum.types import LUNG_OF_UNKNOWN_SIDE, STRUCTURES, Array

_BATCH = 16
_FAILURE = 0.90  # a Dice below this counts as a failed outline


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One published number with its 95 % interval over patients."""

    subject: str  # a label or a structure
    measure: str
    films: int
    positives: int | None  # films that carry the label
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All figures of one checkpoint on one set of films."""

    figures: tuple[Figure, ...]
    confusion: dict[str, dict[str, int]]  # true label -> called label -> films; empty for outlines


def evaluate(
    runtime: Runtime, cache: Cache, *, seed: int = 0, repeats: int = 1000, tick: Tick | None = None
) -> Evaluation:
    """Figures of a checkpoint on cached films of its own size; raises ConfigError where there are none."""
    if not cache.samples:
        raise ConfigError("no films to evaluate on; check the data set and the part")
    bench = _Bench(np.array([sample.patient for sample in cache.samples]), seed, repeats)
    outputs = _logits(runtime, cache, tick)
    if runtime.card.task == "segment":
        planes = (in_order(logits, runtime.card.labels) for logits in outputs)
        return Evaluation(figures=tuple(_outlines(planes, cache, bench)), confusion={})
    truth = cache.truth(runtime.card.labels)
    if np.isnan(truth).all():
        raise ConfigError(f"the films carry none of {', '.join(runtime.card.labels)}; give other data")
    scores = probabilities(np.stack(list(outputs)), runtime.card)
    figures = list(_by_label(truth, scores, runtime.card.labels, bench))
    six, table = _six_way(truth, scores, runtime.card.labels, bench)
    return Evaluation(figures=(*figures, *six), confusion=table)


def write(evaluation: Evaluation, about: dict[str, object], out: Path) -> None:
    """``evaluation.json`` with what was measured (`about`) and all figures, and ``figures.csv``."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [{k: None if v != v else v for k, v in asdict(figure).items()} for figure in evaluation.figures]
    document = {**about, "figures": rows, "confusion": evaluation.confusion}
    (out / "evaluation.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    with (out / "figures.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Figure)])
        writer.writeheader()
        writer.writerows(rows)


@dataclass(frozen=True, slots=True)
class _Bench:
    """What every figure is measured with: the films' patients, the seed and the number of resamples."""

    patients: Array  # (N,) names
    seed: int
    repeats: int

    def figure(
        self,
        subject: str,
        measure: str,
        statistic: Callable[..., float],
        *columns: Array,
        films: Array,
        positives: int | None = None,
    ) -> Figure:
        """The statistic over the chosen films (N,) bool of each column (N,)."""
        interval = bootstrap(
            statistic,
            *(column[films] for column in columns),
            groups=self.patients[films],
            rng=np.random.default_rng(self.seed),
            repeats=self.repeats,
        )
        return Figure(
            subject=subject,
            measure=measure,
            films=int(films.sum()),
            positives=positives,
            value=interval.value,
            low=interval.low,
            high=interval.high,
        )


def _by_label(truth: Array, scores: Array, labels: Sequence[str], bench: _Bench) -> Iterator[Figure]:
    measures = {
        "AUROC": auroc,
        "average precision": average_precision,
        "Brier score": brier,
        "calibration error": calibration_error,
    }
    for i, label in enumerate(labels):
        known = ~np.isnan(truth[:, i])
        positives = int((truth[:, i] == 1).sum())
        for name, measure in measures.items():
            yield bench.figure(
                label, name, measure, truth[:, i], scores[:, i], films=known, positives=positives
            )
    findings = [i for i, label in enumerate(labels) if label != "No Finding"]
    if not findings:
        return

    def mean_auroc(*columns: Array) -> float:
        pairs = zip(columns[: len(findings)], columns[len(findings) :], strict=True)
        return float(np.mean([auroc(t, p) for t, p in pairs]))

    known = np.asarray(~np.isnan(truth[:, findings]).any(axis=1))
    columns = (*truth[:, findings].T, *scores[:, findings].T)
    yield bench.figure(f"mean of {len(findings)} findings", "AUROC", mean_auroc, *columns, films=known)


def _six_way(
    truth: Array, scores: Array, labels: Sequence[str], bench: _Bench
) -> tuple[list[Figure], dict[str, dict[str, int]]]:
    """On films that carry exactly one of the six: is the label of greatest probability the one?"""
    places = [labels.index(name) for name in SIX if name in labels]
    names = np.array([labels[i] for i in places])
    single = (truth[:, places] == 1).sum(axis=1) == 1
    if len(places) < 2 or not single.any():
        return [], {}
    actual = names[np.argmax(truth[:, places] == 1, axis=1)]
    called = names[np.argmax(scores[:, places], axis=1)]

    def f1(true: Array, predicted: Array) -> float:
        return macro_f1(true, predicted, list(names))

    subject = f"films with exactly one of the {len(places)}"
    figures = [
        bench.figure(subject, "accuracy", accuracy, actual, called, films=single),
        bench.figure(subject, "macro F1", f1, actual, called, films=single),
    ]
    counts = confusion(actual[single], called[single], list(names))
    table = {
        str(true): {str(name): int(count) for name, count in zip(names, row, strict=True)}
        for true, row in zip(names, counts, strict=True)
    }
    return figures, table


def _outlines(logits: Iterable[Array], cache: Cache, bench: _Bench) -> Iterator[Figure]:
    """Scores of each structure and of both lungs together, on the outlines as users get them."""
    if cache.masks is None:
        raise ConfigError("the films have no masks to compare outlines with; give masks:PATH")
    table = {name: np.full((len(cache.samples), 5), np.nan) for name in (*STRUCTURES, "lungs")}
    for i, (sample, planes) in enumerate(zip(cache.samples, logits, strict=True)):
        mask, found = cache.masks[i], outline(planes, cache.masks[i].shape).mask
        for value, name in enumerate(STRUCTURES, 1):
            if name in sample.structures:
                table[name][i] = _compare(mask == value, found == value)
        if "lungs" in sample.structures or {"right_lung", "left_lung"} <= sample.structures:
            lungs = np.isin(mask, (1, 2, LUNG_OF_UNKNOWN_SIDE))
            table["lungs"][i] = _compare(lungs, np.isin(found, (1, 2)))
    measures = ("Dice", "IoU", "pixel accuracy", "HD95, pixels", "surface distance, pixels")
    for name, values in table.items():
        known = ~np.isnan(values[:, 0])
        if not known.any():
            continue
        for measure, column in zip(measures, values.T, strict=True):
            yield bench.figure(name, measure, _mean, column, films=known & ~np.isnan(column))
        failed = np.asarray(values[:, 0] < _FAILURE, float)
        yield bench.figure(name, f"share below Dice {_FAILURE:.2f}", _mean, failed, films=known)


def _compare(truth: Array, found: Array) -> tuple[float, float, float, float, float]:
    return (
        dice(truth, found),
        iou(truth, found),
        float((truth == found).mean()),
        *surface_distances(truth, found),
    )


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _logits(runtime: Runtime, cache: Cache, tick: Tick | None) -> Iterator[Array]:
    """The logits of one film after another; those of a segmenter are too large to hold for all films."""
    for start in range(0, len(cache.samples), _BATCH):
        films = cache.films[start : start + _BATCH].astype(np.float32) / 255
        prepared = np.stack([levels(film, runtime.card.preparation)[None] for film in films])
        yield from runtime(prepared)["logits"]
        if tick:
            tick(min(start + _BATCH, len(cache.samples)), len(cache.samples), "running the model")
