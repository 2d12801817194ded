"""Find candidate pairs of films that may show the same picture, by how each differs from the others.

All chest films look alike, so a description holds a film's differences from the mean film. The most common
differences count least (a whitened principal component analysis of the films). All films are compared with
all, a block at a time: memory grows with their number, time with its square.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import cv2
import numpy as np

from hilum.types import Array, Tick

SIDE = 128  # pixels of a look, the form in which a film is compared

TURNS: dict[str, Callable[[Array], Array]] = {
    "": lambda film: film,
    "turned 90": np.rot90,
    "turned 180": partial(np.rot90, k=2),
    "turned 270": partial(np.rot90, k=3),
    "mirrored": np.fliplr,
    "mirrored, turned 90": lambda film: np.rot90(np.fliplr(film)),
    "mirrored, turned 180": np.flipud,
    "mirrored, turned 270": lambda film: np.rot90(np.fliplr(film), 3),
}
"""What turns the first of two films into the second; rotations are counter-clockwise."""

MARGINS = (0.05, 0.1)
"""Shares of the side cut off on each edge to give the second film. Views are the turns, then these."""

_COARSE = 64  # pixels at which films are described
_BAND = (2.0, 8.0)  # sigmas, at that size, of the finest and the coarsest structure described
_CELLS = 16  # cells along each side of a description before it is shortened
_LENGTH = 128  # numbers of a short description
_FLOOR = 0.1  # of the mean variance, added to each; smaller variance is noise
_PRIOR = 256  # weight, in films, of the assumption that films have nothing in common; matters for few films
_NOISE = 4.0  # variance of grey levels below which a place counts as empty
_ALIKE = 0.65  # cosine of two descriptions from which films are candidates
_KEPT = 8  # candidates of each film, the most alike
_ROWS, _COLUMNS = 128, 8192  # films in a block


def candidates(looks: Array, chosen: Array, *, tick: Tick | None = None) -> Array:
    """Pairs worth a closer look among the chosen (K,) of films (N, SIDE, SIDE) uint8: (P, 3) int.

    A row holds one film, the other, and the view of the one (a turn or a margin) that is like the unchanged
    other. Each pair is there once; each film adds at most the eight most alike.
    """
    if len(chosen) < 2:
        return np.zeros((0, 3), int)
    whole = np.stack([described(looks[place]) for place in chosen])
    shorten = _shortening(whole)
    plain = shorten(whole)
    found = []
    for start in range(0, len(chosen), _ROWS):
        block = chosen[start : start + _ROWS]
        turned = np.stack([_turned(cells) for cells in whole[start : start + _ROWS]], axis=1)
        cut = np.stack([[described(_cropped(looks[place], share)) for place in block] for share in MARGINS])
        found.append(likest(shorten(np.concatenate([turned, cut])), plain, start))
        if tick:
            tick(start + len(block), len(chosen), "searching for films that look alike")
    pairs = _once(np.concatenate(found))
    return np.column_stack([chosen[pairs[:, :2]], pairs[:, 2]])


def _cropped(look: Array, share: float) -> Array:
    """A look (SIDE, SIDE) without a share of its side on each edge, resized to its size."""
    edge = round(share * len(look))
    return np.asarray(cv2.resize(look[edge:-edge, edge:-edge], look.shape, interpolation=cv2.INTER_LINEAR))


def banded(film: Array, fine: float, coarse: float) -> Array:
    """Structures between two sigmas, with equal contrast everywhere: float32, mean 0."""
    smooth = cv2.GaussianBlur(film.astype(np.float32), (0, 0), fine)
    band = smooth - cv2.GaussianBlur(smooth, (0, 0), coarse)
    strength = np.sqrt(cv2.GaussianBlur(band * band, (0, 0), 2 * coarse) + np.float32(_NOISE))
    return np.asarray(band / strength)


def described(look: Array) -> Array:
    """A look as (256,) float32: the means of its band in 16 x 16 cells."""
    small = cv2.resize(look, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    cells = cv2.resize(banded(small, *_BAND), (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(cells.ravel())


def _turned(cells: Array) -> Array:
    """The descriptions of the film in each turn: (turns, 256)."""
    grid = cells.reshape(_CELLS, _CELLS)
    return np.stack([turn(grid).ravel() for turn in TURNS.values()])


def _shortening(whole: Array) -> Callable[[Array], Array]:
    """The function that whitens descriptions (..., 256), fitted to these films, to (..., 128) of length 1.

    What all turned films have in common counts as common too; otherwise all would be like each turned film.
    """
    mean = whole.sum(axis=0) / np.float32(len(whole) + _PRIOR)
    moments, total = whole.T @ whole, whole.sum(axis=0)
    spread = np.zeros_like(moments)
    for cells in _turned(np.arange(whole.shape[1])).astype(int):
        shared = np.outer(total[cells], mean)
        spread += moments[np.ix_(cells, cells)] - shared - shared.T + len(whole) * np.outer(mean, mean)
    spread /= len(TURNS)
    prior = _PRIOR * np.trace(spread) / len(spread) / len(whole)
    values, vectors = np.linalg.eigh((spread + prior * np.eye(len(spread))) / (len(whole) + _PRIOR))
    scale = np.sqrt(values + _FLOOR * values.mean() + 1e-9)
    weights = (vectors / scale)[:, -_LENGTH:].astype(np.float32)

    def shorten(descriptions: Array) -> Array:
        short = (descriptions - mean) @ weights
        return np.asarray(short / np.maximum(np.linalg.norm(short, axis=-1, keepdims=True), 1e-6), np.float32)

    return shorten


def likest(views: Array, plain: Array, start: int) -> Array:
    """For a block's views (V, R, D), the most alike of all films (N, D): (P, 4) one, other, view, cosine."""
    rows = views.shape[1]
    found = []
    for first, last in _blocks(len(plain)):
        for kind, block in ((0, views[: len(TURNS)]), (len(TURNS), views[len(TURNS) :])):
            # If a turn of one film is like the other, a turn of the other is like the one: half is enough.
            begin = max(first, start) if kind == 0 else first
            if begin >= last:
                continue
            cosines = block.reshape(-1, block.shape[-1]) @ plain[begin:last].T
            place, other = np.nonzero(cosines > _ALIKE)
            one = start + place % rows
            found.append(np.column_stack([one, begin + other, kind + place // rows, cosines[place, other]]))
    pairs = np.concatenate(found)
    below = (pairs[:, 2] < len(TURNS)) & (pairs[:, 0] > pairs[:, 1])
    pairs = pairs[~below & (pairs[:, 0] != pairs[:, 1])]
    pairs = pairs[np.lexsort((-pairs[:, 3], pairs[:, 0]))]
    _, kept = np.unique(pairs[:, :2], axis=0, return_index=True)
    pairs = pairs[np.sort(kept)]
    _, head, count = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    return np.asarray(pairs[np.arange(len(pairs)) - np.repeat(head, count) < _KEPT])


def _blocks(films: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + _COLUMNS, films)) for first in range(0, films, _COLUMNS))


def _once(pairs: Array) -> Array:
    """Each pair once, in either order, in the most alike view."""
    pairs = pairs[np.argsort(-pairs[:, 3], kind="stable")]
    _, kept = np.unique(np.sort(pairs[:, :2], axis=1), axis=0, return_index=True)
    return np.asarray(pairs[kept, :3].astype(int))
