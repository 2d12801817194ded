"""How far two films show the same picture: the correlation of their fine structures after registration.

One film is stretched and shifted along rows and columns, as by scaling and cropping, until it fits the other.
It is neither rotated nor warped: two films of one patient would need that, a copy does not.
"""

from __future__ import annotations

import cv2
import numpy as np

from hilum.leakage.search import MARGINS, TURNS, banded
from hilum.types import Array

_COARSE = 64  # pixels of the first registration
_BROAD, _FINE = (1.0, 6.0), (1.4, 3.0)  # sigmas of the bands compared, at that size and at full size
_STEPS = (8, 5)  # steps of the fit, at that size and at full size
_FIRST = 0.8  # likeness of the broad bands below which the fine ones are not compared
_OVERLAP = 0.5  # least share of the film that both must show
_LONGEST = 0.04  # step of the fit, in sides of the film
_EDGE = 5  # pixels at the rim, which blurring makes unreliable


def likeness(one: Array, other: Array, view: int) -> float:
    """Correlation, -1..1, of the fine structures of two looks (S, S) uint8, one in a view and fitted."""
    turns = list(TURNS.values())
    share = MARGINS[view - len(turns)] if view >= len(turns) else 0.0
    one = np.ascontiguousarray(turns[view](one) if view < len(turns) else one)
    fit = np.array([1 - 2 * share, 0.0, 1 - 2 * share, 0.0])
    broad, laid_on = (banded(_halved(look), *_BROAD) for look in (one, other))
    fit = _fitted(broad, laid_on, fit, _STEPS[0])
    first = _correlation(broad, laid_on, fit)
    if first < _FIRST:
        return first
    fine, laid_on = (banded(look, *_FINE) for look in (one, other))
    before = _correlation(fine, laid_on, fit)
    return max(before, _correlation(fine, laid_on, _fitted(fine, laid_on, fit, _STEPS[1])))


def _halved(look: Array) -> Array:
    return np.asarray(cv2.resize(look, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA))


def _fitted(one: Array, other: Array, fit: Array, steps: int) -> Array:
    """The fit (4,) that lays one band over the other best, by Gauss-Newton steps.

    It holds stretch and shift of the columns, then of the rows. A place in `other`, measured from the middle
    in sides of the film, times the stretch plus the shift is the corresponding place in `one`.
    """
    place = (np.arange(len(other), dtype=np.float32) + np.float32(0.5)) / len(other) - np.float32(0.5)
    for _ in range(steps):
        seen = _seen(fit, len(other))
        if seen.mean() < _OVERLAP:
            break
        laid = _laid(one, fit)
        across = cv2.Sobel(laid, cv2.CV_32F, 1, 0, scale=len(other) / 8) * seen / fit[0]
        down = cv2.Sobel(laid, cv2.CV_32F, 0, 1, scale=len(other) / 8) * seen / fit[2]
        slopes = np.stack([across * place, across, down * place[:, None], down]).reshape(4, -1)
        step = np.linalg.solve(slopes @ slopes.T + 1e-3 * np.eye(4), slopes @ ((other - laid) * seen).ravel())
        fit = fit + np.clip(step, -_LONGEST, _LONGEST)
        if np.abs(step).max() < 2e-4:
            break
    return fit


def _laid(one: Array, fit: Array) -> Array:
    """A film resampled to the pixels of the other."""
    side = len(one)
    middle = (side - 1) / 2
    stretch_x, shift_x, stretch_y, shift_y = fit
    matrix = np.array(
        [
            [stretch_x, 0, middle - stretch_x * middle + shift_x * side],
            [0, stretch_y, middle - stretch_y * middle + shift_y * side],
        ]
    )
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(one, matrix, one.shape, flags=how, borderMode=cv2.BORDER_REPLICATE))


def _seen(fit: Array, side: int) -> Array:
    """The pixels, (side, side) bool, that both films cover."""
    place = (np.arange(side) + 0.5) / side - 0.5
    reach = 0.5 - _EDGE / side
    columns, rows = (
        (np.abs(stretch * place + shift) < reach) & (np.abs(place) < reach)
        for stretch, shift in (fit[:2], fit[2:])
    )
    return np.asarray(rows[:, None] & columns)


def _correlation(one: Array, other: Array, fit: Array) -> float:
    """Correlation of two bands on the pixels that both cover; -1 if those are too few."""
    seen = _seen(fit, len(other))
    if seen.mean() < _OVERLAP:
        return -1.0
    a, b = (band[seen] - band[seen].mean() for band in (_laid(one, fit), other))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else -1.0
