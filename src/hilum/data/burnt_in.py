"""Find burned-in annotations in a film's pixels: lines of small, sharp shapes near the border.

Shapes may be bright or dark. The search knows no letters; docs/datasets.md says what it finds and misses.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hilum.types import Array

FEWEST = 4  # shapes in a line that count as a word; a side marker such as R, or R AP, has fewer
_SIDE = 1600  # pixels, the longest side of the copy that is searched
_BORDER = 0.25  # of the height and width: the most between a word and a side
_TALL = (6, 60)  # pixels of that copy
_GAP = 1.3  # of the taller letter's height, at most between two neighbours of a line
_CONTRAST = 0.12  # of the grey range, between a letter and what surrounds it
_SHARP = 0.45  # of that contrast, the least step between two neighbouring pixels of an edge
_EVEN = 0.15  # the most spread of grey levels within a letter


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    top: int
    left: int
    height: int
    width: int


def words(pixels: Array) -> int:
    """How many lines of letters a film (H, W), float in [0, 1], seems to have near its border."""
    scale = min(1.0, _SIDE / max(pixels.shape))
    image = pixels.astype(np.float32, copy=False)
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return max(len(_lines(_shapes(polarity))) for polarity in (image, 1 - image))


def _shapes(image: Array) -> list[_Shape]:
    """Bright shapes of a letter's size near the border, with even grey levels and sharp edges."""
    reach = np.ones((15, 15), np.uint8)
    lifted = image - cv2.morphologyEx(image, cv2.MORPH_OPEN, reach)
    # At half of the height nearby, so that soft edges do not join two letters.
    raised = lifted > np.maximum(_CONTRAST, cv2.dilate(lifted, reach) / 2)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(raised.astype(np.uint8), connectivity=4)
    steps = cv2.morphologyEx(image, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    found = []
    for part in np.flatnonzero(_sized(stats, image.shape)):
        left, top, width, height, _ = (int(one) for one in stats[part])
        box = np.s_[top : top + height, left : left + width]
        inside = parts[box] == part
        sharp = np.percentile(steps[box][inside], 75) >= _SHARP * lifted[box][inside].max()
        middle, high = np.percentile(image[box][inside], (60, 90))
        if sharp and high - middle <= _EVEN:
            found.append(_Shape(top=top, left=left, height=height, width=width))
    return found


def _sized(stats: Array, size: tuple[int, ...]) -> Array:
    """Which components have a letter's size, and their middle near one of the film's sides."""
    left, top, width, height, area = stats.T
    across, down = (left + width / 2) / size[1], (top + height / 2) / size[0]
    near = np.minimum(np.minimum(across, 1 - across), np.minimum(down, 1 - down)) < _BORDER
    letter = (height >= _TALL[0]) & (height <= _TALL[1]) & (width <= 1.6 * height)
    return np.asarray(near & letter & (area >= np.maximum(height, 0.12 * width * height)))


def _lines(shapes: list[_Shape]) -> list[list[_Shape]]:
    """Rows of FEWEST shapes or more, alike in height and side by side."""
    lines: list[list[_Shape]] = []
    near: list[list[_Shape]] = []  # lines that the next shape can follow: shapes come from left to right
    for one in sorted(shapes, key=lambda shape: shape.left):
        near = [line for line in near if one.left - line[-1].left - line[-1].width <= _GAP * _TALL[1]]
        line = next((line for line in near if _follows(line[-1], one)), None)
        if line is None:
            lines.append([one])
            near.append(lines[-1])
        else:
            line.append(one)
    return [line for line in lines if len(line) >= FEWEST]


def _follows(last: _Shape, one: _Shape) -> bool:
    low, high = sorted((last.height, one.height))
    overlap = min(last.top + last.height, one.top + one.height) - max(last.top, one.top)
    gap = one.left - (last.left + last.width)
    return high <= 1.5 * low and overlap >= 0.6 * low and -0.2 * high <= gap <= _GAP * high
