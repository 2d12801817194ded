"""A classifier on films with parts blanked. Needs no torch.

Films are read, segmented and prepared as in `hilum.pipeline`. The blanked part, the crop and the outlines
that some models take all come from the unchanged film: only pixels change.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from hilum.card import Preparation
from hilum.data.opened import pixels_of, refuse, tried
from hilum.engines import cores
from hilum.errors import HilumError
from hilum.evaluation.blank import BLANKS
from hilum.gate import implausible
from hilum.pipeline import SEGMENTER, Pipeline
from hilum.prepare import chest, prepare
from hilum.runtime import Runtime, find
from hilum.segment import segment
from hilum.types import Array, Sample, Tick

_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A classifier's outputs on films under every condition, and the films that were left out."""

    samples: tuple[Sample, ...]
    logits: dict[str, Array]  # condition -> (N, C); "": unchanged
    features: Array | None  # (N, D) of the unchanged films; None if the model gives none
    without_chest: tuple[str, ...]  # ids of films in which nothing can be blanked
    failures: dict[str, str]  # sample id -> why it could not be read


def see(runtime: Runtime, samples: Sequence[Sample], *, tick: Tick | None = None) -> Seen:
    """Run a classifier on every film, unchanged and with parts blanked.

    Raises CheckpointError for another model than a classifier, or one trained with outlines of another
    segmenter than hilum-lungs, and DataError if more than 5 % of the films cannot be read.
    """
    look = partial(_look, Pipeline(_segmenter(), runtime).segmenter, runtime.card.preparation)
    conditions = ("", *BLANKS)
    said: list[Array] = []  # of a few films each: (conditions, films, C)
    features: list[Array] = []
    good: list[Sample] = []
    without: list[str] = []
    failures: dict[str, str] = {}
    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(samples), _BATCH):
            films = []
            some = samples[start : start + _BATCH]
            found = pool.map(lambda sample: tried(sample, partial(look, sample)), some)
            for sample, inputs in zip(some, found, strict=True):
                if isinstance(inputs, HilumError):
                    failures[sample.id] = str(inputs)
                elif inputs is None:
                    without.append(sample.id)
                else:
                    good.append(sample)
                    films.append(inputs)
            if films:
                outputs = [runtime(inputs) for inputs in np.stack(films, axis=1)]
                said.append(np.stack([one["logits"] for one in outputs]))
                features += [outputs[0]["features"]] if "features" in outputs[0] else []
            if tick:
                tick(min(start + _BATCH, len(samples)), len(samples), "showing films with parts blanked")
    refuse(failures, len(samples))
    logits = np.concatenate(said, axis=1) if said else np.empty((len(conditions), 0, 0))
    return Seen(
        samples=tuple(good),
        logits=dict(zip(conditions, logits, strict=True)),
        features=np.concatenate(features) if features else None,
        without_chest=tuple(without),
        failures=failures,
    )


def pictures(sample: Sample, preparation: Preparation) -> dict[str, Array]:
    """The part of a film that the model sees, under each condition: (h, w) float32 in 0..1; "": unchanged."""
    opened = tried(sample, partial(_opened, _segmenter(), sample))
    if isinstance(opened, HilumError):
        return {}
    film, mask = opened
    if mask is None:
        return {}
    rows, columns = chest(mask) if preparation.cut else (slice(None), slice(None))
    return {condition: shown[rows, columns] for condition, shown in _conditions(film, mask).items()}


def _look(segmenter: Runtime, preparation: Preparation, sample: Sample) -> Array | None:
    """A film as inputs of the network, (conditions, C, S, S); None if no chest is found."""
    film, mask = _opened(segmenter, sample)
    if mask is None:
        return None
    return np.stack([prepare(shown, preparation, mask) for shown in _conditions(film, mask).values()])


def _opened(segmenter: Runtime, sample: Sample) -> tuple[Array, Array | None]:
    """A film and its label map; the latter is None if it does not look like a chest."""
    film = pixels_of(sample.image)
    anatomy = segment(segmenter, film)
    return film, None if implausible(anatomy) else anatomy.mask


def _conditions(film: Array, mask: Array) -> dict[str, Array]:
    return {"": film} | {condition: blank(film, mask) for condition, blank in BLANKS.items()}


def _segmenter() -> Runtime:
    return Runtime(find(SEGMENTER), threads=1)
