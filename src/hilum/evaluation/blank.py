"""What of a film is blanked to see whether a score needs it, each way a function.

Every function takes a film (H, W) float32 in [0, 1] and its label map (H, W) uint8, in which something is
outlined, and returns the film with a part of it blanked. Blank is the mean grey of what stays, so that
nothing of what is hidden shows in it, and what stays fades into it, for an edge would be a thing to see.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from hilum.types import Array

# Shares of the extent of lungs and heart.
_RIM = 0.05  # pleura lies in it, and the fading edge
_CHEST = 0.1  # the same margin as `hilum.prepare.chest`; chest wall and diaphragm lie in it
_FADE = 0.03


def inside(film: Array, mask: Array) -> Array:
    """The convex hull of lungs and heart and a rim around it; all else is blanked."""
    return _alone(film, mask, _near(mask, _RIM))


def unframed(film: Array, mask: Array) -> Array:
    """The chest; the frame around it, with borders, corners and what is written there, is blanked."""
    return _alone(film, mask, _near(mask, _CHEST))


def outside(film: Array, mask: Array) -> Array:
    """What lies around lungs and heart; the box that holds them is blanked, and so their shape is hidden too.

    So are letters in the box's own corners. Where the box stands and how large it is still shows. A box that
    fills the film leaves it black.
    """
    left, top, width, height = _box(mask)
    shown = np.ones(mask.shape, bool)
    shown[top : top + height, left : left + width] = False
    return _alone(film, mask, shown)


INSIDE, UNFRAMED, OUTSIDE = "lungs and heart alone", "frame blanked", "outside alone"

BLANKS: dict[str, Callable[[Array, Array], Array]] = {
    INSIDE: inside,
    UNFRAMED: unframed,
    OUTSIDE: outside,
}


def _near(mask: Array, share: float) -> Array:
    """Pixels in the convex hull of what is outlined, or within a share of its extent of it: (H, W) bool."""
    points = cv2.findNonZero((mask > 0).astype(np.uint8))
    hull = cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), cv2.convexHull(points), 1)
    distance = cv2.distanceTransform(1 - hull, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance <= share * _extent(mask))


def _box(mask: Array) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is outlined."""
    left, top, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    return left, top, width, height


def _extent(mask: Array) -> float:
    """Side in pixels of a square as large as the box of what is outlined."""
    _, _, width, height = _box(mask)
    return float((width * height) ** 0.5)


def _alone(film: Array, mask: Array, shown: Array) -> Array:
    """The film where `shown` (H, W) bool, fading within it, and blank elsewhere."""
    if shown.all():
        return film
    if not shown.any():
        return np.zeros_like(film)
    inward = cv2.distanceTransform(shown.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    weight = np.minimum(inward / (_FADE * _extent(mask)), 1).astype(np.float32)
    return np.asarray(weight * film + (1 - weight) * film[shown].mean(), np.float32)
