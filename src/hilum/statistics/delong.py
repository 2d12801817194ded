"""AUROC and its variance in closed form, with films taken as independent; pure NumPy.

Sources: DeLong et al., Biometrics 44 (1988) 837; by mid-ranks, Sun and Xu, IEEE SPL 21 (2014) 1389.
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

import numpy as np

from hilum.statistics.intervals import LEVEL, Interval
from hilum.statistics.metrics import ranks
from hilum.types import Array


def delong(truth: Array, scores: Array) -> tuple[Array, Array]:
    """AUROCs (K,) of the rows of scores (K, N) for truth (N,) of 0 and 1, and their covariance (K, K).

    All NaN with fewer than two films of either class.
    """
    ill, well = scores[:, truth == 1], scores[:, truth == 0]
    m, n = ill.shape[1], well.shape[1]
    if min(m, n) < 2:
        return np.full(len(scores), np.nan), np.full((len(scores), len(scores)), np.nan)
    together = np.array([ranks(row) for row in np.concatenate([ill, well], axis=1)])
    own = np.array([ranks(row) for row in ill]), np.array([ranks(row) for row in well])
    # For each positive film the share of negative ones below it; for each negative film the share of positive
    # ones above it.
    below, above = (together[:, :m] - own[0]) / n, 1 - (together[:, m:] - own[1]) / m
    covariance = np.atleast_2d(np.cov(below)) / m + np.atleast_2d(np.cov(above)) / n
    return below.mean(axis=1), covariance


def delong_interval(truth: Array, score: Array) -> Interval:
    """AUROC of one score (N,) with its 95 % interval, cut to 0..1."""
    (value,), ((variance,),) = delong(truth, score[None])
    variance = variance or float("nan")  # no interval from a perfect separation, or from equal scores
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * sqrt(variance)
    low, high = (float(np.clip(bound, 0, 1)) for bound in (value - reach, value + reach))
    return Interval(value=float(value), low=low, high=high)


def delong_difference(truth: Array, ours: Array, theirs: Array) -> tuple[Interval, float]:
    """AUROC of `ours` (N,) minus that of `theirs` on the same films, with 95 % interval and P value."""
    (first, second), covariance = delong(truth, np.stack([ours, theirs]))
    value = float(first - second)
    spread = sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0))
    if not spread > 0:
        same = value == 0
        bound = 0.0 if same else float("nan")
        return Interval(value=value, low=bound, high=bound), 1.0 if same else float("nan")
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * spread
    p = 2 * NormalDist().cdf(-abs(value) / spread)
    return Interval(value=value, low=value - reach, high=value + reach), p
