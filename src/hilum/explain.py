"""Maps of where on the film a label's logit comes from.

Evidence maps are class activation maps of a linear head on pooled features (CAM, Zhou et al. 2016); their
mean over cells is the uncalibrated logit exactly. Occlusion maps show what hiding a place costs.
"""

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
"""Name of the figure that measures the faithfulness of maps; a card has it with the method."""

CELLS = 16  # across the network's input, when parts of it are hidden; a patch is two cells wide
_BATCH = 16  # films with hidden parts that are run together
_REACH = 0.05  # of the film's width: how far around lungs and heart the chest reaches

_ENOUGH = 512  # pixels of a film's longest side; enough to compute shares
_FINE = 12  # cells across; maps of that size and more come from dilated layers
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
    network saw. The mean of a network's own evidence is the logit, and so is the mean of the result. Values
    above `baseline`, the logit at which the label turns positive, are evidence for the label: a rare disease
    turns positive far below a logit of 0.
    """
    cells = evidence.astype(np.float32)
    if method == "evidence" and min(cells.shape) >= _FINE:
        # Dilated layers alternate from cell to cell; this removes just that, and the mean stays.
        smooth = cv2.sepFilter2D(cells, -1, _BINOMIAL, _BINOMIAL)
        cells = smooth + np.float32(cells.mean(dtype=np.float64) - smooth.mean(dtype=np.float64))
    height, width = anatomy.mask.shape
    # Shares of such a coarse map need no more pixels.
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
    """A map over its film, drawn at `shape` rows and columns: (h, w) float32 in logit units."""
    if found.part is None:
        return _stretched(found.cells, shape, exact=found.method == "evidence")
    part = _scaled(found.part, (shape[0] / found.shape[0], shape[1] / found.shape[1]), shape)
    height, width = (one.stop - one.start for one in part)
    values = _stretched(found.cells, (height, width), exact=found.method == "evidence")
    # What the network did not see is evidence neither for the label nor against it.
    whole = np.full(shape, found.baseline, np.float32)
    whole[part] += (values - np.float32(found.baseline)) * np.float32(whole.size / values.size)
    return whole


def _scaled(
    part: tuple[slice, slice], by: tuple[float, float], shape: tuple[int, ...]
) -> tuple[slice, slice]:
    """The same rows and columns on a film scaled to `shape`; at least one of each."""
    found = []
    for one, scale, size in zip(part, by, shape, strict=True):
        start = min(round(one.start * scale), size - 1)
        found.append(slice(start, max(start + 1, round(one.stop * scale))))
    return found[0], found[1]


def _stretched(cells: Array, shape: tuple[int, ...], *, exact: bool) -> Array:
    """A map resized to `shape`; if it is `exact`, its mean stays."""
    if cells.shape == shape:
        return cells
    # Linear: a cubic spline would overshoot, showing evidence that the network never had.
    values = np.asarray(cv2.resize(cells, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR))
    if exact:
        # Clamped borders weight the cells unequally; the shift restores the logit.
        values += np.float32(cells.mean(dtype=np.float64) - cv2.mean(values)[0])
    return values


def chest_outline(mask: Array) -> Array:
    """The convex hull of lungs and heart (H, W), 5 % of the width wider on all sides: (H, W) uint8, 0 or 1.

    Outlines leave out opaque parts, such as a base full of fluid; what lies between and just around them is
    still chest. All 0 if nothing is outlined.
    """
    around = np.zeros(mask.shape, np.uint8)
    found, _ = cv2.findContours((mask > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if found:
        hull = cv2.convexHull(np.concatenate(found))
        cv2.fillConvexPoly(around, hull, 1)
        # A line twice as thick as the reach widens the hull as a dilation would, but faster.
        cv2.polylines(around, [hull], True, 1, max(1, round(2 * _REACH * mask.shape[1])))
    return around


def occlusion(network: Network, film: Array, *, softmax: bool = False) -> Array:
    """How much each place of a prepared film (channels, S, S) adds to every label's logit: (labels, n, n).

    A patch, an eighth of the side wide, hides each place of two tilings; the second is shifted by half a
    patch. The drop of the logit over the patch's share of the film is in the unit of evidence; a cell has the
    mean of its two patches. For a network that is linear in the film, the mean of the map is therefore what
    hiding the whole film costs. With `softmax`, where a single logit means nothing, log-odds are used. Works
    with any model, in 145 runs for all labels. Source: Zeiler and Fergus, ECCV 2014; they hide with grey, and
    at every place.
    """
    patches = _tilings()
    said = np.concatenate([network(film[None])["logits"], *hiding(network, film, patches)]).astype(np.float64)
    if softmax:
        others = np.where(np.eye(said.shape[1], dtype=bool), -np.inf, said[:, None])
        said -= np.logaddexp.reduce(others, axis=2)
    sides = np.bincount(places(film.shape[-1], CELLS), minlength=CELLS) / film.shape[-1]
    worth = (said[0] - said[1:]) / (patches * np.outer(sides, sides)).sum(axis=(1, 2))[:, None]
    return np.asarray(np.einsum("pc,pij->cij", worth, patches) / 2, np.float32)


def _tilings() -> Array:
    """Patches of 2 x 2 cells, (P, n, n) bool; those of the second tiling are cut at the film's borders."""
    patches = []
    for offset in (0, 1):
        tile = (np.arange(CELLS) + offset) // 2
        for row in np.unique(tile):
            patches += [np.outer(tile == row, tile == column) for column in np.unique(tile)]
    return np.array(patches)


def hiding(network: Network, film: Array, covers: Array) -> Iterator[Array]:
    """The logits of a prepared film with some of its cells hidden, in batches of (up to 16, labels).

    `covers` is (N, n, n) bool. A hidden cell shows the film itself, blurred as wide as a patch: no film has
    grey or black patches, and the network would respond to their edges. Outlines in other channels stay.
    """
    index = places(film.shape[-1], covers.shape[-1])
    blurred = cv2.GaussianBlur(film[0], (0, 0), 2 * film.shape[-1] / CELLS)
    for start in range(0, len(covers), _BATCH):
        some = covers[start : start + _BATCH][:, index][:, :, index]
        films = np.repeat(film[None], len(some), axis=0)
        films[:, 0] = np.where(some, blurred, film[0])
        yield np.asarray(network(films)["logits"])


def places(side: int, cells: int) -> Array:
    """The cell, of `cells` along a side, that each pixel of the side lies in: (side,) int."""
    return np.arange(side) * cells // side


def gradcam(evidence: Array, bias: float) -> Array:
    """Grad-CAM at the last layer before a pooled linear head, from its evidence (h, w): (h, w), not negative.

    There the gradient of a logit with respect to a cell of a feature map is the head's weight divided by the
    number of cells. So Grad-CAM (Selvaraju et al., ICCV 2017), times that number, is the evidence without the
    bias, with negative values set to 0.
    """
    return np.asarray(np.maximum(evidence - np.float32(bias), 0))


def trust(methods: Collection[str], card: Card | None) -> str:
    """How far a model's maps can be trusted, in words, by the measurements in its card."""
    better = False
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
        # Better than chance over many films promises nothing for a single one.
        good = "on average the maps show what the score depends on; on a single film they may not"
        told.append(f"{how}: {good if found.low > 0 else 'no better than chance, do not rely on them'}.")
        occluded = measured.get(f"{FAITHFUL}, maps by occlusion")
        better |= occluded is not None and occluded.low is not None and occluded.low > found.high
    if better and "occlusion" not in methods:
        told.append(
            "Its maps by occlusion are more faithful; make them with: hilum predict --explain occlusion"
        )
    return " ".join(told)


def _share(values: Array, mask: Array) -> float:
    """Share of the positive values where `mask` is not 0; NaN if no value is positive."""
    positive = np.maximum(values, 0)
    total = cv2.mean(positive)[0] * positive.size
    inside = cv2.mean(positive, mask=mask)[0] * cv2.countNonZero(mask)
    return min(1.0, float(inside / total)) if total else math.nan
