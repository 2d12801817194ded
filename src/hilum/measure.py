"""What the outlines measure: the cardiothoracic ratio, widths and areas."""

from __future__ import annotations

import cv2
import numpy as np

from hilum.types import STRUCTURES, Anatomy, Array, Measurements


def measure(anatomy: Anatomy, spacing: tuple[float, float] | None) -> Measurements:
    """Measure the outlines; lengths and areas only with `spacing`, mm between (rows, columns).

    The cardiothoracic ratio is the heart's widest horizontal extent over the greatest inner width of the
    thorax (Danzer, Am J Med Sci 1919;157:513). It is None where the heart or a lung is missing, or no row
    crosses both lungs. Fractions are of the image's area; a missing lung has 0.
    """
    right, left, heart = (anatomy.mask == value for value in range(1, len(STRUCTURES) + 1))
    right_area, left_area = int(np.count_nonzero(right)), int(np.count_nonzero(left))
    heart_width = _extent(heart.any(axis=0))
    thorax_width = _thorax_width(right, left)
    row_mm, column_mm = spacing or (None, None)
    pixel_mm2 = row_mm * column_mm if row_mm and column_mm else None
    return Measurements(
        cardiothoracic_ratio=heart_width / thorax_width if heart_width and thorax_width else None,
        right_lung_fraction=right_area / anatomy.mask.size,
        left_lung_fraction=left_area / anatomy.mask.size,
        right_lung_mm2=_scaled(right_area, pixel_mm2),
        left_lung_mm2=_scaled(left_area, pixel_mm2),
        heart_width_mm=_scaled(heart_width, column_mm),
        thorax_width_mm=_scaled(thorax_width, column_mm),
    )


def remarks(measurements: Measurements, view: str | None) -> tuple[str, ...]:
    """What a reader of the measurements must know; empty if nothing."""
    notes = []
    if measurements.cardiothoracic_ratio is None:
        notes.append("no cardiothoracic ratio: the heart or a lung was not found")
    elif (view or "").upper() == "AP":
        notes.append("AP view: the heart's shadow, and so the cardiothoracic ratio, is magnified")
    return tuple(notes)


def _scaled(pixels: int, unit: float | None) -> float | None:
    return pixels * unit if pixels and unit else None


def _extent(columns: Array) -> int:
    """Distance from the first to the last true column, both counted; 0 if none is true."""
    where = np.flatnonzero(columns)
    return int(where[-1] - where[0]) + 1 if where.size else 0


def _thorax_width(right: Array, left: Array) -> int:
    """Greatest distance between the lungs' outer edges along one row that crosses both; 0 if none does."""
    rows = right.any(axis=1) & left.any(axis=1)
    if not rows.any():
        return 0
    lungs = (right | left)[rows].view(np.uint8)
    first = lungs.argmax(axis=1)
    # Mirrored by OpenCV: argmax over a reversed NumPy view takes ten times as long.
    last = lungs.shape[1] - 1 - cv2.flip(lungs, 1).argmax(axis=1)
    return int((last - first).max()) + 1
