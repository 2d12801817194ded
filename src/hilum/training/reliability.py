"""Fits a segmenter's quality: its promises on corrupted tuning films against the Dice it reaches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hilum.card import Preparation, Reliability
from hilum.data.cache import Cache
from hilum.data.masks import shown
from hilum.evaluation.stress import STRESSES
from hilum.outline import outline
from hilum.prepare import prepare
from hilum.quality import fit, promises_of
from hilum.statistics.metrics import dice
from hilum.types import STRUCTURES, Array

_FALSE_FLAGS = 0.05  # share of good outlines that may be flagged
_FEWEST = 40  # outlines of a structure below which nothing is fitted


def reliabilities(
    network: Callable[[Array], Array], preparation: Preparation, cache: Cache, *, seed: int
) -> dict[str, Reliability]:
    """For each structure in the masks, how its quality follows from its promise.

    `network` maps prepared films (N, 1, S, S) to logits (N, 3, S, S). Each film is used unchanged, with two
    single stresses and with two pairs of them, because the fit needs poor outlines too. For a structure with
    few outlines the quality is the promise, and no outline is flagged.
    """
    assert cache.masks is not None  # noqa: S101 - a segmenter is tuned on masks
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in STRUCTURES}
    for i, sample in enumerate(cache.samples):
        known = shown(sample.structures, cache.masks[i])
        rng = np.random.default_rng([seed, i])
        for count in (0, 1, 1, 2, 2):
            film, mask = cache.pixels(i), np.array(cache.masks[i])
            for name in rng.choice(list(STRESSES), count, replace=False):
                film, mask = STRESSES[str(name)](film, mask, rng)
            logits = network(prepare(film, preparation)[None])[0]
            found, promises = outline(logits, mask.shape), promises_of(logits)
            for value, name in enumerate(STRUCTURES, 1):
                if name in known:
                    rows[name].append((promises[name], dice(mask == value, found == value)))
    return {name: _fitted(np.array(pairs)) for name, pairs in rows.items() if pairs}


def _fitted(pairs: Array) -> Reliability:
    """From promises and Dice, (N, 2)."""
    if len(pairs) < _FEWEST:
        return Reliability(intercept=0.0, slope=1.0, threshold=0.0)
    return fit(pairs[:, 0], pairs[:, 1], false_flags=_FALSE_FLAGS)
