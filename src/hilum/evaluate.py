"""A checkpoint on labelled or outlined films -> figures with intervals. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hilum.calibrate import margins, predict, probabilities
from hilum.card import Card
from hilum.classify import hesitates
from hilum.data.cache import Cache, Tick
from hilum.errors import ConfigError
from hilum.evaluate_outlines import SIZE, evaluate_outlines
from hilum.figures import Bench, Evaluation, Figure
from hilum.labels import SIX
from hilum.metrics import (
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    brier,
    calibration_error,
    confusion,
    macro_f1,
    mean,
)
from hilum.prepare import levels
from hilum.runtime import Runtime
from hilum.types import Array

_BATCH = 16


def evaluate(
    runtime: Runtime,
    cache: Cache,
    *,
    specialist: Runtime | None = None,
    stress: bool = False,
    seed: int = 0,
    repeats: int = 1000,
    tick: Tick | None = None,
) -> Evaluation:
    """Figures of a checkpoint on cached films; raises ConfigError where there are none.

    A classifier takes films of its own size, a segmenter of any. A `specialist` of the classifier's size is
    heard as in `hilum.classify`. A segmenter's outlines are compared at the films' size, with `stress` also
    on films changed in every way of `hilum.stress`.
    """
    if not cache.samples:
        raise ConfigError("no films to evaluate on; check the data set and the part")
    bench = Bench(np.array([sample.patient for sample in cache.samples]), seed, repeats)
    if runtime.card.task == "segment":
        return evaluate_outlines(runtime, cache, bench, stress=stress, tick=tick)
    truth = cache.truth(runtime.card.labels)
    if np.isnan(truth).all():
        raise ConfigError(f"the films carry none of {', '.join(runtime.card.labels)}; give other data")
    logits = np.stack(list(_logits(runtime, cache, tick)))
    scores = probabilities(logits, runtime.card)
    raised = margins(scores, runtime.card)
    figures = []
    if specialist is not None:
        asked = _consult(runtime, specialist, logits, scores, raised, cache)
        subject, measure = "films", "share shown to the specialist"
        figures.append(bench.figure(subject, measure, mean, asked, films=np.ones(len(asked), bool)))
    figures += _by_label(truth, scores, runtime.card.labels, bench)
    six, table = _six_way(truth, scores, raised, runtime.card.labels, bench)
    return Evaluation(figures=(*figures, *six), confusion=table)


def _consult(
    runtime: Runtime, specialist: Runtime, logits: Array, scores: Array, raised: Array, cache: Cache
) -> Array:
    """Write the specialist's scores and margins, (N, C), over the classifier's where that hesitates.

    Returns on which films it did, (N,) bool.
    """
    card, own = runtime.card, specialist.card
    if film_size(own) != film_size(card) or not set(own.labels) <= set(card.labels):
        raise ConfigError(
            f"{own.name}: its labels must be {card.name}'s, or some of them, and its size the same"
        )
    asked = np.array([hesitates(predict(row, card), own.labels) for row in logits])
    if asked.any():
        said = probabilities(np.stack(list(_logits(specialist, cache, None)))[asked], own)
        above = margins(said, own)
        for i, name in enumerate(own.labels):
            place = card.labels.index(name)
            scores[asked, place], raised[asked, place] = said[:, i], above[:, i]
    return asked


def film_size(card: Card) -> int:
    """Side of the films a checkpoint is evaluated on: outlines are compared at one size, whatever theirs."""
    return SIZE if card.task == "segment" else card.preparation.size


def _by_label(truth: Array, scores: Array, labels: Sequence[str], bench: Bench) -> Iterator[Figure]:
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
    truth: Array, scores: Array, raised: Array, labels: Sequence[str], bench: Bench
) -> tuple[list[Figure], dict[str, dict[str, int]]]:
    """On films that carry exactly one of the six: is the label of greatest probability the one?

    `scores` and `raised`, how far they lie above the labels' thresholds, are (N, C).
    """
    places = [labels.index(name) for name in SIX if name in labels]
    names = np.array([labels[i] for i in places])
    single = (truth[:, places] == 1).sum(axis=1) == 1
    if len(places) < 2 or not single.any():
        return [], {}
    actual = names[np.argmax(truth[:, places] == 1, axis=1)]
    called = names[np.argmax(scores[:, places], axis=1)]
    # A rare label seldom has the greatest probability, but it may stand furthest above its threshold.
    risen = names[np.argmax(raised[:, places], axis=1)]

    def f1(true: Array, predicted: Array) -> float:
        return macro_f1(true, predicted, list(names))

    subject = f"films with exactly one of the {len(places)}"
    figures = [
        bench.figure(subject, "accuracy", accuracy, actual, called, films=single),
        bench.figure(subject, "macro F1", f1, actual, called, films=single),
        bench.figure(subject, "balanced accuracy", balanced_accuracy, actual, called, films=single),
        bench.figure(
            subject, "balanced accuracy by threshold", balanced_accuracy, actual, risen, films=single
        ),
    ]
    counts = confusion(actual[single], called[single], list(names))
    table = {
        str(true): {str(name): int(count) for name, count in zip(names, row, strict=True)}
        for true, row in zip(names, counts, strict=True)
    }
    return figures, table


def _logits(runtime: Runtime, cache: Cache, tick: Tick | None) -> Iterator[Array]:
    """The logits of one film after another."""
    for start in range(0, len(cache.samples), _BATCH):
        films = cache.films[start : start + _BATCH].astype(np.float32) / 255
        prepared = np.stack([levels(film, runtime.card.preparation)[None] for film in films])
        yield from runtime(prepared)["logits"]
        if tick:
            tick(min(start + _BATCH, len(cache.samples)), len(cache.samples), "running the model")
