"""Intervals from resampled patients, and P values of differences; pure NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hilum.errors import ConfigError
from hilum.statistics.scores import Statistic
from hilum.types import Array

LEVEL = 0.95
"""The share of resamples that an interval covers."""

_NUMBERS = 100_000  # weights in one matrix product: they fit a core's cache, and need no other cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure and the interval around it; the bounds are NaN if they are unknown."""

    value: float
    low: float
    high: float


def bootstrap(
    statistic: Callable[..., float],
    *arrays: Array,
    groups: Array,
    rng: np.random.Generator,
    repeats: int = 1000,
) -> Interval:
    """Percentile interval of `statistic(*arrays)` over resampled patients, as `draws`."""
    drawn = draws(statistic, *arrays, groups=groups, rng=rng, repeats=repeats)
    return around(float(statistic(*arrays)), drawn)


def around(value: float, drawn: Array) -> Interval:
    """95 % percentile interval of a figure from its draws (R,).

    NaN draws are left out; if they are more than half, low and high are NaN.
    """
    known = drawn[~np.isnan(drawn)]
    low, high = float("nan"), float("nan")
    if len(known) and 2 * len(known) >= len(drawn):
        bounds = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        if np.isfinite(known).all():
            low, high = np.quantile(known, bounds)
        else:  # between a number and infinity there is nothing to interpolate
            low, high = np.quantile(known, bounds, method="inverted_cdf")
    return Interval(value=value, low=float(low), high=float(high))


def mirrored(interval: Interval) -> Interval:
    """The percentile interval turned into the basic bootstrap's, for a score that is never below 0.

    If resamples tend to lie above the value, the value tends to lie above the truth. Source: Davison and
    Hinkley, Bootstrap Methods and their Application (1997), section 5.2.
    """
    low, high = (2 * interval.value - end for end in (interval.high, interval.low))
    if low != low or high != high:
        return interval
    return Interval(value=interval.value, low=max(0.0, low), high=max(interval.value, high))


def exact(interval: Interval, patients: int) -> Interval:
    """The interval of a share; of none or all, where every resample agrees, the exact one.

    `patients` is the number of those it is a share of, as if each had one film. Source: Clopper and Pearson,
    Biometrika 26 (1934), 404.
    """
    bound = ((1 - LEVEL) / 2) ** (1 / max(patients, 1))
    if interval.value == 0:
        return replace(interval, low=0.0, high=1 - bound)
    return replace(interval, low=bound, high=1.0) if interval.value == 1 else interval


def draws(
    statistic: Callable[..., float],
    *arrays: Array,
    groups: Array,
    rng: np.random.Generator,
    repeats: int = 1000,
) -> Array:
    """`statistic(*arrays)` for patients drawn with replacement, each with all films: (repeats,) float64.

    The arrays are (N, ...); `groups` (N,) gives each film's patient. A paired difference is a statistic too:
    `lambda truth, a, b: auroc(truth, a) - auroc(truth, b)`. With a single patient all draws are NaN.
    """
    arrays = tuple(np.asarray(array) for array in arrays)
    if any(len(array) != len(groups) for array in arrays):
        raise ConfigError(
            f"{len(groups)} groups for {[len(a) for a in arrays]} films; name every film's patient"
        )
    films = np.arange(len(groups))
    found = np.full(repeats, np.nan)
    for i, times in enumerate(resamples(groups, rng=rng, repeats=repeats)):
        chosen = np.repeat(films, times)
        found[i] = statistic(*(array[chosen] for array in arrays))
    return found


def resamples(groups: Array, *, rng: np.random.Generator, repeats: int) -> Array:
    """How often each film counts when patients are drawn with replacement: (repeats, N) uint16.

    `groups` (N,) gives each film's patient. With a single patient there are no rows, (0, N).
    """
    patients, patient = np.unique(np.asarray(groups), return_inverse=True)
    count = len(patients)
    times = np.zeros((repeats if count > 1 else 0, len(patient)), np.uint16)
    for row in times:
        row[:] = np.bincount(rng.integers(count, size=count), minlength=count)[patient]
    return times


def weighed(statistic: Statistic, weights: Array) -> tuple[float, Array]:
    """A score with equal weights, and the scores (R,) under each row of `weights` (R, N)."""
    films = weights.shape[1]
    rows = max(1, _NUMBERS // max(films, 1))
    parts = [
        statistic(weights[start : start + rows].astype(np.float64)) for start in range(0, len(weights), rows)
    ]
    value = float(statistic(np.ones((1, films)))[0])
    return value, np.concatenate(parts) if parts else np.full(1, np.nan)


def two_sided(drawn: Array) -> float:
    """P value of a difference: twice the share of its draws (R,) on the rarer side of zero.

    NaN draws are left out; if they are more than half, the P value is NaN, like the interval of `around`.
    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 4.4.
    """
    known = drawn[~np.isnan(drawn)]
    if not len(known) or 2 * len(known) < len(drawn):
        return float("nan")
    rarer = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(known) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for multiple comparisons, in the order given; NaN stays NaN and is not counted.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979), 65.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p == p)
    corrected = [float("nan")] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[i] = highest
    return corrected


def with_interval(
    value: float | None, low: float | None, high: float | None, form: str = ".3f", *, of_value: str = ""
) -> str:
    """A figure with its interval, if it has one: "0.812 (0.790 to 0.834)".

    None and NaN are unknown. `form` is the format of all three numbers; `of_value`, if given, of the value.
    """
    if value is None or value != value:
        return "cannot be computed"
    told = f"{value:{of_value or form}}"
    if low is None or high is None or low != low:
        return told
    return f"{told} ({low:{form}} to {high:{form}})"


def written(p: float) -> str:
    """A P value as text: three decimals, "<0.001", or "" for NaN."""
    if p != p:
        return ""
    return f"{p:.3f}" if p >= 0.0005 else "<0.001"
