"""Scores of classifiers, and overlap and distances of segmentation masks.

Binary truth is (N,): 0, 1 or NaN. Films of unknown label (NaN) are left out of every score; `labelled` gives
the others. A score that cannot be computed from the films is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hilum.errors import ConfigError
from hilum.statistics import scores
from hilum.types import Array


def labelled(truth: Array, score: Array) -> tuple[Array, Array]:
    """Leave out the films whose label is unknown.

    Takes truth (N,) of 0, 1 and NaN with a score (N,) for each film; returns both as float64 (n,).
    Raises ConfigError for any other truth, for unequal lengths and for a NaN score of a labelled film.
    """
    truth, score = np.asarray(truth, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != score.shape:
        raise ConfigError(f"truth {truth.shape} and score {score.shape}; give one of each for every film")
    known = ~np.isnan(truth)
    truth, score = truth[known], score[known]
    if not ((truth == 0) | (truth == 1)).all():
        raise ConfigError("truth holds values other than 0, 1 and NaN; resolve uncertain labels first")
    if np.isnan(score).any():
        raise ConfigError("a labelled film has the score NaN; leave failed films out of both arrays")
    return truth, score


def counted(truth: Array, patients: Array | None) -> Array:
    """Weight of each film of known label, (n,): 1, or given `patients` (N,), 1 over the patient's films."""
    known = ~np.isnan(np.asarray(truth, np.float64))
    if patients is None:
        return np.ones(int(known.sum()))
    return scores.patient_weights(np.asarray(patients)[known])


def tally(truth: Array, score: Array) -> tuple[Array, Array, Array]:
    """Count the films at each distinct score, ascending: values, positives and negatives, each (K,)."""
    truth, score = labelled(truth, score)
    values, place = np.unique(score, return_inverse=True)
    positives, negatives = (
        np.bincount(place, weights=of, minlength=len(values)) for of in (truth, 1 - truth)
    )
    return values, positives, negatives


def auroc(truth: Array, score: Array) -> float:
    """Chance that a positive film outscores a negative one, as `scores.auroc`; NaN without either class."""
    truth, score = labelled(truth, score)
    return float(scores.auroc(truth, score)(np.ones((1, len(truth))))[0])


def ranks(column: Array) -> Array:
    """Ranks of a column (N,), from 1; equal values share their mean rank."""
    _, place, films = np.unique(np.asarray(column), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(films) - (films - 1) / 2)[place])


def spearman(one: Array, other: Array) -> float:
    """Spearman's rank correlation of two columns (N,): -1..1; NaN if one is constant."""
    centred = []
    for column in (one, other):
        ranked = ranks(column)
        centred.append(ranked - ranked.mean() if len(ranked) else ranked)
    spread = float(np.sqrt(np.prod([column @ column for column in centred])))
    return float(centred[0] @ centred[1]) / spread if spread else float("nan")


def forecasts(truth: Array, probability: Array) -> tuple[Array, Array]:
    """Leave out the films of unknown label, as `labelled`; raises ConfigError for scores outside 0..1."""
    truth, probability = labelled(truth, probability)
    if len(truth) and not 0 <= probability.min() <= probability.max() <= 1:
        raise ConfigError("a probability lies outside 0..1; turn logits into probabilities first")
    return truth, probability


def mean(values: Array) -> float:
    """Mean of the values (N,) that are not NaN; NaN if all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def confusion(truth: Array, predicted: Array, classes: Sequence[str] | Sequence[int]) -> Array:
    """Count films by true class (row) and predicted class (column): (C, C) int64 in the order of classes.

    Truth and predicted (N,) are names or numbers. Raises ConfigError where a film's class is none of them.
    """
    places = []
    for given in (np.asarray(truth), np.asarray(predicted)):
        hits = given[:, None] == np.asarray(classes)
        if not hits.any(axis=1).all():
            raise ConfigError(f"a class is not among {', '.join(map(str, classes))}; name every class")
        places.append(hits.argmax(axis=1))
    count = len(classes)
    flat = np.bincount(places[0] * count + places[1], minlength=count * count)
    return flat.reshape(count, count)


def dice(truth: Array, predicted: Array) -> float:
    """Overlap 2 |A and B| / (|A| + |B|) of two boolean masks (H, W): 0..1, and 1 if both are empty."""
    _check_masks(truth, predicted)
    total = int(truth.sum()) + int(predicted.sum())
    return 2 * int((truth & predicted).sum()) / total if total else 1.0


def iou(truth: Array, predicted: Array) -> float:
    """Overlap |A and B| / |A or B| of two boolean masks (H, W): 0..1, and 1 if both are empty."""
    _check_masks(truth, predicted)
    union = int((truth | predicted).sum())
    return int((truth & predicted).sum()) / union if union else 1.0


def surface_distances(truth: Array, predicted: Array) -> tuple[float, float]:
    """95th-percentile Hausdorff distance and average surface distance of two boolean masks (H, W), in pixels.

    Surfaces are the masks' outermost pixels. The first distance is the larger of both directions' 95th
    percentiles, the second the mean over both directions' pixels (Maier-Hein et al. 2024, Metrics Reloaded).
    NaN if one mask is empty, 0 if both are.
    """
    _check_masks(truth, predicted)
    if not truth.any() or not predicted.any():
        nothing = float("nan") if truth.any() or predicted.any() else 0.0
        return nothing, nothing
    one, other = _outline(truth), _outline(predicted)
    there, back = _distances(one, other), _distances(other, one)
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    return float(hd95), float(np.mean(np.concatenate([there, back])))


def components(mask: Array) -> int:
    """Number of connected parts of a boolean mask (H, W); pixels that touch at a corner are connected."""
    import cv2

    _check_masks(mask, mask)
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]) - 1


def _check_masks(truth: Array, predicted: Array) -> None:
    if truth.dtype != np.bool_ or predicted.dtype != np.bool_:
        raise ConfigError("masks must be boolean; compare one structure at a time: mask == 1")
    if truth.ndim != 2 or truth.shape != predicted.shape:
        raise ConfigError(f"masks {truth.shape} and {predicted.shape}; bring both to one (H, W)")


def _outline(mask: Array) -> Array:
    """Pixels of a mask that have one of their four neighbours outside the mask, or outside the image."""
    inside = np.pad(mask, 1)
    core = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return np.asarray(mask & ~core)


def _distances(start: Array, goal: Array) -> Array:
    """Distance in pixels from each pixel of start to the nearest of goal: (K,)."""
    import cv2

    away = cv2.distanceTransform((~goal).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # OpenCV computes in single precision. Squared distances between pixels are whole numbers, so rounding
    # makes them exact in masks of up to 1024 pixels a side.
    return np.asarray(np.sqrt(np.rint(away[start].astype(np.float64) ** 2)))
