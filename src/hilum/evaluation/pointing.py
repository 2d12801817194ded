"""The pointing game: whether the highest place of a map lies in the finding's box.

Source: Zhang et al., IJCV 2018. A fixed place serves as the baseline, because findings have usual places.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from hilum.types import Box, Boxes, Heatmap

_FINE = 64  # cells across the grid on which boxes are counted


def pointing(shown: Heatmap, boxes: Boxes, usual: tuple[float, float] | None) -> dict[str, float]:
    """Whether a map's highest place lies in a box of its label, and whether the `usual` place does.

    `usual` is the label's `fixed_place` on films of other patients. NaN where the film has no box of the
    label, or there is no usual place.
    """
    own = boxes.get(shown.label, ())
    values = shown.values
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    height, width = values.shape
    point = ((column + 0.5) / width, (row + 0.5) / height)
    return {
        "points at it": float(_inside(point, own)) if own else float("nan"),
        "fixed place points at it": float(_inside(usual, own)) if own and usual else float("nan"),
    }


def fixed_place(films: Sequence[Sequence[Box]]) -> tuple[float, float] | None:
    """The place (x, y), as shares of width and height, where most films have a box; None without films."""
    if not films:
        return None
    middles = (np.arange(_FINE) + 0.5) / _FINE
    counts = np.zeros((_FINE, _FINE), np.float32)
    for boxes in films:
        inside = [
            np.outer(abs(middles - y - h / 2) <= h / 2, abs(middles - x - w / 2) <= w / 2)
            for x, y, w, h in boxes
        ]
        counts += np.any(inside, axis=0)
    # If many places have the same count, blurring chooses one in their middle.
    row, column = np.unravel_index(int(cv2.GaussianBlur(counts, (0, 0), 2).argmax()), counts.shape)
    return float(middles[column]), float(middles[row])


def _inside(point: tuple[float, float], boxes: Sequence[Box]) -> bool:
    return any(x <= point[0] <= x + w and y <= point[1] <= y + h for x, y, w, h in boxes)
