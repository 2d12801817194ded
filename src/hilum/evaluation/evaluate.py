"""A checkpoint on labelled or outlined films -> figures with intervals. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from hilum.calibration.calibrate import probabilities
from hilum.calibration.decide import margins, predict
from hilum.card import Card
from hilum.classify import hesitates
from hilum.data.cache import Cache, cached, truth_of
from hilum.data.regions import regional, segmenter_of
from hilum.errors import ConfigError
from hilum.evaluation.compare import gains
from hilum.evaluation.figures import Bench, Evaluation
from hilum.evaluation.label_figures import figures_of
from hilum.evaluation.outlines import SIZE, evaluate_outlines
from hilum.evaluation.verdicts import Verdicts
from hilum.prepare import compose
from hilum.runtime import Runtime
from hilum.types import Array, Sample, Tick

_BATCH = 16


def evaluate(
    runtime: Runtime,
    cache: Cache,
    *,
    specialist: Runtime | None = None,
    against: Verdicts | None = None,
    groups: Mapping[str, Array] | None = None,
    prevalences: Mapping[str, float] | None = None,
    stress: bool = False,
    seed: int = 0,
    repeats: int = 1000,
    tick: Tick | None = None,
) -> Evaluation:
    """Figures of a checkpoint on cached films; raises ConfigError if there are no films.

    A classifier needs films of its own size, a segmenter takes any size. A `specialist` of the classifier's
    size is asked as in `hilum.classify`. With another classifier's verdicts, `against`, there is also the
    table "differences". `groups` are as in `verdicts`, `prevalences` as in `label_figures`. Segmentation
    masks are compared at the films' size, with `stress` also on films corrupted in every way of that module.
    """
    if not cache.samples:
        raise ConfigError("no films to evaluate on; check the data set and the part")
    if runtime.card.task == "classify" or against is not None:
        ours = replace(judge(runtime, cache, specialist=specialist, tick=tick), groups=groups or {})
        evaluation = figures_of(ours, card=runtime.card, prevalences=prevalences, seed=seed, repeats=repeats)
        if against is None:
            return evaluation
        rows = [asdict(one) for one in gains(ours, against, seed=seed, repeats=repeats)]
        return replace(evaluation, tables={**evaluation.tables, "differences": rows})
    if runtime.card.task == "pretrain":
        raise ConfigError(f"{runtime.card.name}: was only pre-trained; train it on labels first")
    patients = np.array([sample.patient for sample in cache.samples])
    return evaluate_outlines(runtime, cache, Bench(patients, seed, repeats), stress=stress, tick=tick)


def judge(
    runtime: Runtime, cache: Cache, *, specialist: Runtime | None = None, tick: Tick | None = None
) -> Verdicts:
    """A classifier's verdicts on cached films; a `specialist` is asked where the classifier hesitates.

    Raises ConfigError if the films have none of its labels, or for another model than a classifier.
    """
    truth = known_truth(runtime.card, cache.samples)
    logits = logits_of(runtime, cache, tick)
    found = verdicts_of(runtime.card, cache.samples, truth, logits)
    if specialist is None:
        return found
    # The specialist overwrites its part of probabilities and margins.
    asked = _consult(runtime, specialist, logits, found.probabilities, found.margins, cache)
    return replace(found, asked=asked)


def known_truth(card: Card, samples: Sequence[Sample]) -> Array:
    """The films' truth, (N, C) as in `truth_of`, for a classifier's labels.

    Raises ConfigError if the films have none of its labels, or for another model than a classifier.
    """
    if card.task != "classify":
        raise ConfigError(f"{card.name}: made to {card.task}; give a classifier")
    truth = truth_of(samples, card.labels)
    if np.isnan(truth).all():
        raise ConfigError(f"the films have none of {', '.join(card.labels)}; give other data")
    return truth


def verdicts_of(card: Card, samples: Sequence[Sample], truth: Array, logits: Array) -> Verdicts:
    """A classifier's verdicts from its logits (N, C) and the truth (N, C)."""
    said = probabilities(logits, card)
    return Verdicts(
        films=tuple(sample.id for sample in samples),
        patients=np.array([sample.patient for sample in samples]),
        labels=card.labels,
        truth=truth,
        probabilities=said,
        margins=margins(said, card),
    )


def groups_of(
    samples: Sequence[Sample], by: Sequence[str], sources: Mapping[str, str] | None = None
) -> dict[str, Array]:
    """Each film's group by sex, age, view, site or data set: columns (N,) of names, "" for unknown.

    `sources` maps a sample's id to its data set. Raises ConfigError for any other grouping.
    """
    of: dict[str, Callable[[Sample], str]] = {
        "sex": lambda sample: sample.sex or "",
        "age": lambda sample: _age_band(sample.age),
        "view": lambda sample: sample.view or "",
        "site": lambda sample: sample.site,
        "data set": lambda sample: (sources or {}).get(sample.id, ""),
    }
    if unknown := [name for name in by if name not in of]:
        raise ConfigError(f"by {unknown[0]!r}: films are grouped by {', '.join(of)}")
    return {name: np.array([of[name](sample) for sample in samples]) for name in by}


def _age_band(age: float | None) -> str:
    """A range of years, both ends included; "" where the age is unknown, or no age."""
    if age is None or not age >= 0:
        return ""
    i = int(np.searchsorted((18, 40, 60, 80), age, side="right"))
    return ("0 to 17", "18 to 39", "40 to 59", "60 to 79", "80 and above")[i]


def _consult(
    runtime: Runtime, specialist: Runtime, logits: Array, scores: Array, raised: Array, cache: Cache
) -> Array:
    """Overwrite the classifier's scores and margins, (N, C), with the specialist's where it hesitates.

    Returns the films on which it hesitates, (N,) bool.
    """
    card, own = runtime.card, specialist.card
    if film_size(own) != film_size(card) or not set(own.labels) <= set(card.labels):
        raise ConfigError(
            f"{own.name}: its labels must be {card.name}'s, or some of them, and its size the same"
        )
    asked = np.array([hesitates(predict(row, card), own.labels) for row in logits])
    if asked.any():
        said = probabilities(logits_of(specialist, cache)[asked], own)
        above = margins(said, own)
        for i, name in enumerate(own.labels):
            place = card.labels.index(name)
            scores[asked, place], raised[asked, place] = said[:, i], above[:, i]
    return asked


def film_size(card: Card) -> int:
    """Side of the films a checkpoint is evaluated on; all segmenters are compared at the same size."""
    return SIZE if card.task == "segment" else card.preparation.size


def films_for(
    cards: Sequence[Card], samples: Sequence[Sample], folder: Path, *, tick: Tick | None = None
) -> Cache:
    """The samples' films, read from the cache or written to it, in a form that all the cards' models take.

    The size is that of the first card. Raises ConfigError if the models cannot share films.
    """
    first = cards[0]
    for card in cards:
        if card.outlines_sha256 not in ("", segmenter_of(card.preparation)):
            raise ConfigError(f"{card.name}: learned from the outlines of another segmenter; train it again")
    if first.task == "classify":
        samples = regional(samples, [card.preparation for card in cards])
    return cached(samples, film_size(first), folder, deep=True, tick=tick)


def logits_of(runtime: Runtime, cache: Cache, tick: Tick | None = None) -> Array:
    """A checkpoint's logits of cached films of its own size: (N, C) float32."""
    return np.stack(list(_logits(runtime, cache, tick)))


def _logits(runtime: Runtime, cache: Cache, tick: Tick | None) -> Iterator[Array]:
    """The logits of one film after another."""
    for start in range(0, len(cache.samples), _BATCH):
        yield from runtime(inputs_of(cache, runtime.card, slice(start, start + _BATCH)))["logits"]
        if tick:
            tick(min(start + _BATCH, len(cache.samples)), len(cache.samples), "running the model")


def inputs_of(cache: Cache, card: Card, which: slice = slice(None)) -> Array:
    """Cached films as a classifier takes them: (n, C, S, S) float32."""
    films = cache.pixels(which)
    masks = [None] * len(films) if cache.masks is None else cache.masks[which]
    return np.stack([compose(*pair, card.preparation) for pair in zip(films, masks, strict=True)])
