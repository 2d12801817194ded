"""How well films show their data set, and how far labels depend on the data set.

If films show their data set, and labels depend on it, a network may learn the data set instead of the
findings. All films are compared at the smallest common size, so that size carries no information.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np

from hilum.data.cache import truth_of
from hilum.evaluation.figures import Bench, Figure
from hilum.evaluation.shortcuts import groups_in, links, probes
from hilum.labels import SIX
from hilum.leakage.audit import Film
from hilum.leakage.looks import Looks
from hilum.leakage.search import described
from hilum.types import Array

PLAIN = "edges, greys and sharpness alone"
"""The condition of probes that get nothing of the chest."""

_SIDE = 64  # pixels
_RIM = 3  # pixels of the frame
_ENDS = (slice(None, 2 * _RIM), slice(-2 * _RIM, None))  # where a corner is


def told(films: Sequence[Film], looks: Looks, *, seed: int = 0, repeats: int = 1000) -> tuple[Figure, ...]:
    """Probes for each data set, from whole films and without the chest, and the labels that depend on it.

    Within each data set, the plain probes predict the labels too: if a label's films were collected elsewhere
    than the others, its files look different. The looks are those of the films, in their order.
    """
    seen = [place for place in range(len(films)) if place not in looks.failures]
    films = [films[place] for place in seen]
    bench = Bench(np.array([film.sample.patient for film in films]), seed, repeats)
    sets = np.array([film.data_set for film in films])
    groups, _ = groups_in({"data set": sets})
    if not groups:
        return ()
    plain = np.stack([plainly(looks.looks[place]) for place in seen])
    whole = np.concatenate([plain, np.stack([described(looks.looks[place]) for place in seen])], axis=1)
    names = {name for film in films for name in film.sample.labels}
    labels = [name for name in SIX if name in names] or sorted(names)
    truth = truth_of([film.sample for film in films], labels)
    return (
        *probes(whole, groups, bench),
        *_under(PLAIN, probes(plain, groups, bench)),
        *links(labels, truth, groups, bench),
        *_within(plain, sets, labels, truth, bench),
    )


def plainly(look: Array) -> Array:
    """Edges, grey levels and sharpness of a film, without its content: (S, S) uint8 -> (K,) float32."""
    small = cv2.resize(look, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    edges = [small[:_RIM], small[-_RIM:], small[:, :_RIM], small[:, -_RIM:]]
    corners = [small[rows, columns].mean() for rows in _ENDS for columns in _ENDS]
    fine = [small - cv2.GaussianBlur(small, (0, 0), sigma) for sigma in (0.6, 1.0, 2.0)]
    return np.array(
        [
            *(value for edge in edges for value in (edge.mean(), edge.std())),
            *corners,
            *np.percentile(small, (1, 5, 25, 50, 75, 95, 99)),
            (small < 8).mean(),
            (small > 247).mean(),
            *(np.log(band.std() + 0.1) for band in fine),
        ],
        np.float32,
    )


def _under(condition: str, figures: Iterator[Figure]) -> Iterator[Figure]:
    return (replace(figure, condition=condition) for figure in figures)


def _within(plain: Array, sets: Array, labels: Sequence[str], truth: Array, bench: Bench) -> Iterator[Figure]:
    """How well the plain probes predict each label within one data set."""
    for name in np.unique(sets):
        asked = {label: np.where(sets == name, truth[:, i], np.nan) for i, label in enumerate(labels)}
        yield from _under(f"within {name}", probes(plain, asked, bench))
