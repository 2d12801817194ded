"""Functions that blank a part of a film, to see whether a score needs that part.

Every function takes a film (H, W) float32 in [0, 1] and its non-empty label map (H, W) uint8, and returns the
film with a part blanked. The blank is the mean grey level of the rest, so that nothing hidden shows through.
The rest fades into the blank, so that no edge appears.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from hilum.types import Array

# Shares of the extent of lungs and heart.
_RIM = 0.05  # for the pleura and the fading edge
_CHEST = 0.1  # for chest wall and diaphragm; the margin of `hilum.prepare.chest`
_FADE = 0.03


def inside(film: Array, mask: Array) -> Array:
    """Keep the convex hull of lungs and heart and a rim around it; blank the rest."""
    return _alone(film, mask, _near(mask, _RIM))


def unframed(film: Array, mask: Array) -> Array:
    """Keep the chest; blank the frame around it, with borders, corners and burned-in annotations."""
    return _alone(film, mask, _near(mask, _CHEST))


def outside(film: Array, mask: Array) -> Array:
    """Keep what lies around lungs and heart; blank their bounding box, which hides their shape too.

    Annotations in the box's corners are hidden as well. Position and size of the box still show. If the box
    fills the film, the film is black.
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
    """Pixels in the convex hull of the mask, or within a share of its extent from it: (H, W) bool."""
    points = cv2.findNonZero((mask > 0).astype(np.uint8))
    hull = cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), cv2.convexHull(points), 1)
    distance = cv2.distanceTransform(1 - hull, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance <= share * _extent(mask))


def _box(mask: Array) -> tuple[int, int, int, int]:
    """Left, top, width and height of the mask's bounding box."""
    left, top, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    return left, top, width, height


def _extent(mask: Array) -> float:
    """Side in pixels of a square as large as the mask's bounding box."""
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
