"""Outlines and ratio lines as points on the film: column and row; the film's corner is (0, 0)."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np

from hilum.reporting.picture import widest
from hilum.types import STRUCTURES, Array, Measurements

Line: TypeAlias = list[tuple[float, float]]
"""(column, row) of each point; the last point repeats the first if the line is closed."""

_MOST = 4000  # points; an explicit length of 16 bits holds 8191 pairs of FL (PS3.5 7.1.2)


def outlines(mask: Array, name: str) -> list[Line]:
    """The closed lines through the middles of a structure's outermost pixels, within half a pixel."""
    found = (mask == STRUCTURES.index(name) + 1).astype(np.uint8)
    edges, _ = cv2.findContours(found, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [_closed(edge) for edge in edges]


def _closed(edge: Array) -> Line:
    slack = 0.5  # pixels
    points = cv2.approxPolyDP(edge, slack, True)
    while len(points) > _MOST:
        slack *= 2
        points = cv2.approxPolyDP(edge, slack, True)
    # OpenCV counts from the middle of a pixel, a presentation state from its corner (PS3.3 C.10.5.1.2).
    line = [(column + 0.5, row + 0.5) for column, row in points[:, 0].tolist()]
    return [*line, line[0]]


def ratio_lines(mask: Array, measurements: Measurements) -> list[Line]:
    """The two widths of the cardiothoracic ratio, each on the row where its structure is widest."""
    spans = (
        (measurements.heart_span, mask == 3),
        (measurements.thorax_span, (mask == 1) | (mask == 2)),
    )
    return [
        [(float(span[0]), row), (float(span[1]), row)]
        for span, where in spans
        if span is not None
        for row in [widest(where)]
    ]
