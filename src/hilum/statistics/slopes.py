"""Calibration slope and intercept, under many sets of weights at once, as in `scores`."""

from __future__ import annotations

import numpy as np

from hilum.statistics.scores import Statistic
from hilum.types import Array


def calibration_slope(truth: Array, probability: Array) -> Statistic:
    """Slope of truth on the log-odds of the probability: 1 is right, below 1 is over-confident (Cox 1958)."""
    return _line(truth, probability, sloped=True)


def calibration_intercept(truth: Array, probability: Array) -> Statistic:
    """Intercept with the slope fixed at 1: 0 is right, below 0 the probabilities are too high."""
    return _line(truth, probability, sloped=False)


def _line(truth: Array, probability: Array, *, sloped: bool) -> Statistic:
    """Slope of a logistic regression on the log-odds, or its intercept with the slope fixed at 1.

    Fitted by Newton steps on log-odds of mean 0 and standard deviation 1: first with equal weights, and from
    that solution for each row of weights.
    """
    truth = np.asarray(truth, np.float64)
    inside = np.clip(probability, 1e-7, 1 - 1e-7)
    odds = np.log(inside) - np.log1p(-inside)
    centre, scale = (odds.mean(), odds.std() or 1.0) if len(odds) else (0.0, 1.0)
    x = (odds - centre) / scale
    rate = np.clip(truth.mean() if len(truth) else 0.5, 1e-6, 1 - 1e-6)
    given = np.array([[np.log(rate / (1 - rate))], [0.0]] if sloped else [[centre], [scale]])
    start, still = _descended(np.ones((1, len(truth))), truth, x, given, sloped)
    if not still.all():
        start = given

    def statistic(weights: Array) -> Array:
        positives, total = weights @ truth, weights.sum(axis=1)
        line, still = _descended(weights, truth, x, np.repeat(start, len(weights), axis=1), sloped)
        found = line[1] / scale if sloped else line[0] - centre
        # Films of one class have no fit; a perfect separation has no finite slope.
        told = (positives > 0) & (positives < total) & still
        return np.where(told & ~(sloped & _parted(weights, truth, odds)), found, np.nan)

    return statistic


def _descended(weights: Array, truth: Array, x: Array, line: Array, sloped: bool) -> tuple[Array, Array]:
    """Intercepts and slopes (2, R) fitted from the start `line`, and whether each converged, (R,) bool."""
    reach, move = np.abs(x).max(initial=1.0), np.zeros_like(line)
    for _ in range(50):
        move = np.clip(_newton(weights, truth, x, line, sloped), -10, 10)
        # A step that changes no film's log-odds by more than 1 lowers the loss. Larger ones are halved until
        # they do.
        large = np.abs(move[0]) + np.abs(move[1]) * reach > 1
        for _ in range(20 * large.any()):
            before, after = (_log_loss(weights[large], truth, x, at[:, large]) for at in (line, line + move))
            worse = np.flatnonzero(large)[after > before + 1e-9]
            move[:, worse] /= 2
            if not len(worse):
                break
        line = line + move
        if not np.abs(move).max(initial=0) > 1e-6:
            break
    return line, np.abs(move).max(axis=0) < 1e-3


def _log_loss(weights: Array, truth: Array, x: Array, line: Array) -> Array:
    """Log loss (R,) of each row's line (2, R)."""
    said = line[0][:, None] + line[1][:, None] * x
    return np.asarray((weights * (np.logaddexp(0, said) - truth * said)).sum(axis=1))


def _newton(weights: Array, truth: Array, x: Array, line: Array, sloped: bool) -> Array:
    """Newton step (2, R) from each row's line (2, R)."""
    said = 1 / (1 + np.exp(-np.clip(line[0][:, None] + line[1][:, None] * x, -500, 500)))
    missed, spread = weights * (truth - said), weights * said * (1 - said)
    first, whole = missed.sum(axis=1), spread.sum(axis=1) + 1e-9
    if not sloped:
        return np.stack([first / whole, np.zeros_like(first)])
    second, cross, square = missed @ x, spread @ x, spread @ x**2 + 1e-9
    area = np.maximum(whole * square - cross**2, 1e-12)
    both = np.stack([square * first - cross * second, whole * second - cross * first])
    return np.asarray(both / area)


def _parted(weights: Array, truth: Array, score: Array) -> Array:
    """Whether the score separates the classes perfectly, in either direction: (R,) bool."""

    def ends(films: Array) -> tuple[Array, Array]:
        return (
            np.where(films, score, np.inf).min(axis=1, initial=np.inf),
            np.where(films, score, -np.inf).max(axis=1, initial=-np.inf),
        )

    ill, well = ends((weights > 0) & (truth == 1)), ends((weights > 0) & (truth == 0))
    return np.asarray((ill[0] >= well[1]) | (ill[1] <= well[0]))
