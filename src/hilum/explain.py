"""Maps of where on the film a label's logit comes from: exact evidence, or what hiding a place costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from hilum.types import Anatomy, Array, Heatmap

if TYPE_CHECKING:
    from hilum.card import Card

Network = Callable[[Array], Mapping[str, Array]]
"""Prepared films (N, channels, S, S) float32 -> outputs by name, each with N rows; a Runtime is one."""

FAITHFUL = "insertion over deletion"
"""Name of the figure that says whether a map marks what a score rests on; in a card, with the method."""

CELLS = 16  # across the network's input, when parts of it are hidden; a patch is two cells wide
BATCH = 16  # films with hidden parts that are run together
_REACH = 0.05  # of the film's width: how far around lungs and heart the chest reaches

_ENOUGH = 512  # pixels of a film's longest side to tell shares on
_FINE = 12  # cells across, from which on a map is made by dilated layers
_BINOMIAL = np.array([0.25, 0.5, 0.25], np.float32)


def heatmap(
    evidence: Array,
    *,
    label: str,
    anatomy: Anatomy,
    baseline: float = 0.0,
    part: tuple[slice, slice] | None = None,
    method: str = "evidence",
) -> Heatmap:
    """Lay a map of one label over the film's own pixels.

    `evidence` is (h, w) float32; it spans the whole film, or the `part` of its rows and columns that the
    network saw. Where it is the network's own evidence its mean is the logit, and so is that of the result.
    What lies above `baseline`, the logit at which the label turns positive, speaks for the label: a rare
    disease turns positive far below a logit of 0.
    """
    cells = evidence.astype(np.float32)
    if method == "evidence" and min(cells.shape) >= _FINE:
        # Dilated layers answer on alternating cells; this takes off just that, and the mean stays.
        smooth = cv2.sepFilter2D(cells, -1, _BINOMIAL, _BINOMIAL)
        cells = smooth + np.float32(cells.mean(dtype=np.float64) - smooth.mean(dtype=np.float64))
    height, width = anatomy.mask.shape
    # Shares of so coarse a map need no more pixels than these.
    mask, scale = anatomy.mask, min(1.0, _ENOUGH / max(height, width))
    if scale < 1:
        mask = cv2.resize(
            mask, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_NEAREST_EXACT
        )
    seen = (slice(None), slice(None)) if part is None else _scaled(part, (scale, scale), mask.shape)
    inside, around = (np.ascontiguousarray(one[seen]) for one in (mask, chest_outline(mask)))
    above = _stretched(cells, inside.shape, exact=method == "evidence") - np.float32(baseline)
    room = float(np.count_nonzero(around)) / around.size
    return Heatmap(
        cells=cells,
        shape=(height, width),
        part=part,
        label=label,
        method=method,
        baseline=baseline,
        in_lungs=_share(above, inside),
        lift=_share(above, around) / room if room else math.nan,
    )


def laid(found: Heatmap, shape: tuple[int, int]) -> Array:
    """A map over so many rows and columns of its film, (h, w) float32 in logit units."""
    if found.part is None:
        return _stretched(found.cells, shape, exact=found.method == "evidence")
    part = _scaled(found.part, (shape[0] / found.shape[0], shape[1] / found.shape[1]), shape)
    height, width = (one.stop - one.start for one in part)
    values = _stretched(found.cells, (height, width), exact=found.method == "evidence")
    # What the network did not see speaks neither for the label nor against it.
    whole = np.full(shape, found.baseline, np.float32)
    whole[part] += (values - np.float32(found.baseline)) * np.float32(whole.size / values.size)
    return whole


def _scaled(
    part: tuple[slice, slice], by: tuple[float, float], shape: tuple[int, ...]
) -> tuple[slice, slice]:
    """The same rows and columns of a film that is drawn on so many of them; at least one of each."""
    found = []
    for one, scale, size in zip(part, by, shape, strict=True):
        start = min(round(one.start * scale), size - 1)
        found.append(slice(start, max(start + 1, round(one.stop * scale))))
    return found[0], found[1]


def _stretched(cells: Array, shape: tuple[int, ...], *, exact: bool) -> Array:
    """A map over so many rows and columns; where it is `exact`, its mean stays."""
    if cells.shape == shape:
        return cells
    # Linear: a cubic spline would overshoot, showing evidence that the network never had.
    values = np.asarray(cv2.resize(cells, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR))
    if exact:
        # Clamped borders weigh the grid's cells unequally; the shift gives the logit back.
        values += np.float32(cells.mean(dtype=np.float64) - cv2.mean(values)[0])
    return values


def chest_outline(mask: Array) -> Array:
    """The convex hull of lungs and heart (H, W), 5 % of the width wider on all sides: (H, W) uint8, 0 or 1.

    Outlines leave out what is opaque, such as a base full of fluid; what lies between and just around them
    is chest all the same. All 0 where nothing is outlined.
    """
    around = np.zeros(mask.shape, np.uint8)
    found, _ = cv2.findContours((mask > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if found:
        hull = cv2.convexHull(np.concatenate(found))
        cv2.fillConvexPoly(around, hull, 1)
        # A line as thick as twice the reach widens the hull as a dilation would, in no time.
        cv2.polylines(around, [hull], True, 1, max(1, round(2 * _REACH * mask.shape[1])))
    return around


def occlusion(network: Network, film: Array, *, softmax: bool = False, batch: int = BATCH) -> Array:
    """How much each place of a prepared film (channels, S, S) adds to every label's logit: (labels, n, n).

    A patch, an eighth of the side wide, hides what is there, at each place of two tilings, the second half a
    patch off the first. The logit that this costs, over the patch's share of the film, is in the unit of
    evidence; a cell has the mean of its two patches. So the mean of the map of a network that is linear in
    the film is what hiding all of it costs. Of `softmax`, where a logit alone says nothing, log-odds are
    taken. Takes any model, in 145 runs for all labels. Source: Zeiler and Fergus, ECCV 2014; they hide with
    grey, and at every place.
    """
    patches = _tilings()
    said = np.concatenate(
        [network(film[None])["logits"], *hiding(network, film, patches, batch=batch)]
    ).astype(np.float64)
    if softmax:
        others = np.where(np.eye(said.shape[1], dtype=bool), -np.inf, said[:, None])
        said -= np.logaddexp.reduce(others, axis=2)
    sides = np.bincount(places(film.shape[-1], CELLS), minlength=CELLS) / film.shape[-1]
    worth = (said[0] - said[1:]) / (patches * np.outer(sides, sides)).sum(axis=(1, 2))[:, None]
    return np.asarray(np.einsum("pc,pij->cij", worth, patches) / 2, np.float32)


def _tilings() -> Array:
    """Patches of 2 x 2 cells, (P, n, n) bool; those of the second tiling end where the film does."""
    patches = []
    for offset in (0, 1):
        tile = (np.arange(CELLS) + offset) // 2
        for row in np.unique(tile):
            patches += [np.outer(tile == row, tile == column) for column in np.unique(tile)]
    return np.array(patches)


def hiding(network: Network, film: Array, covers: Array, *, batch: int = BATCH) -> Iterator[Array]:
    """The logits of a prepared film with some of its cells hidden, in batches of (up to `batch`, labels).

    `covers` is (N, n, n) bool. A hidden cell shows a blur of the film itself, as wide as a patch: grey or
    black would be a thing that no film has, and the network would answer to its edges. Outlines that a
    network is told beside the film stay.
    """
    index = places(film.shape[-1], covers.shape[-1])
    blurred = cv2.GaussianBlur(film[0], (0, 0), 2 * film.shape[-1] / CELLS)
    for start in range(0, len(covers), batch):
        some = covers[start : start + batch][:, index][:, :, index]
        films = np.repeat(film[None], len(some), axis=0)
        films[:, 0] = np.where(some, blurred, film[0])
        yield np.asarray(network(films)["logits"])


def places(side: int, cells: int) -> Array:
    """Which of so many cells each of a side's pixels lies in, (side,) int."""
    return np.arange(side) * cells // side


def gradcam(evidence: Array, bias: float) -> Array:
    """Grad-CAM of a pooled linear head at its last layer, from its evidence (h, w): (h, w), not negative.

    There the gradient of a logit by a cell of a feature map is the head's weight over the number of cells, so
    Grad-CAM (Selvaraju et al., ICCV 2017), times that number, is the evidence without the bias, its negative
    parts cut off.
    """
    return np.asarray(np.maximum(evidence - np.float32(bias), 0))


def trust(methods: Collection[str], card: Card | None) -> str:
    """How far a model's maps can be trusted, in words, by what its card says was measured."""
    measured = {metric.name: metric for metric in card.metrics} if card else {}
    told = []
    for method in sorted(methods):
        found = measured.get(f"{FAITHFUL}, maps by {method}")
        if found is None or found.low is None or found.high is None:
            told.append(f"How faithful this model's maps by {method} are was not measured.")
            continue
        how = (
            f"On {found.n} {found.part} maps, blurring a film's strongest places first lowered the score by "
            f"{found.value:.2f} logits ({found.low:.2f} to {found.high:.2f}) more than blurring them last"
        )
        # Above chance over many films is no promise for the one at hand.
        good = "on the whole they mark what the score rests on, on a single film they may not"
        told.append(f"{how}: {good if found.low > 0 else 'no surer than chance, do not rely on them'}.")
    other = measured.get(f"{FAITHFUL}, maps by occlusion")
    if "occlusion" not in methods and other is not None and (other.low or 0) > 0:
        told.append("Its maps by occlusion are surer; make them with: hilum predict --explain occlusion")
    return " ".join(told)


def _share(values: Array, mask: Array) -> float:
    """Share of the positive values that lies where `mask` is not 0; NaN if none is positive."""
    positive = np.maximum(values, 0)
    total = cv2.mean(positive)[0] * positive.size
    inside = cv2.mean(positive, mask=mask)[0] * cv2.countNonZero(mask)
    return min(1.0, float(inside / total)) if total else math.nan
