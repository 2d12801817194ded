"""The film as a picture without text: outlines, the widths of the ratio, and evidence as a colour wash."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np

from hilum.types import STRUCTURES, Array, Heatmap, Measurements, Report

Colour: TypeAlias = tuple[int, int, int]  # RGB, 0..255

# Three colours of the Okabe-Ito set, distinguishable with any colour vision.
COLOURS: dict[str, Colour] = {
    "right_lung": (86, 180, 233),
    "left_lung": (240, 228, 66),
    "heart": (213, 94, 0),
}
TEXT: Colour = (232, 234, 237)

_FRACTION_BITS = 4  # OpenCV draws at sixteenths of a pixel
_SMALLEST = 512  # a smaller film is drawn at this length, so that the legend beside it is legible
_HALO: Colour = (10, 12, 16)
_EVEN = 128  # grey level of the background when evidence is shown without its film

# The wash, from faint to strong evidence: purple to pink, hues that outlines do not have.
_ANCHORS = np.array([0, 48, 150, 255])
_WASH = np.array([[110, 50, 190], [140, 40, 190], [206, 24, 150], [255, 40, 120]], dtype=np.float64)
_OPACITY = np.array([0.0, 0.05, 0.35, 0.75])  # low at first, because weak evidence covers half a film


def picture(report: Report, heatmap: Heatmap | None, *, longest: int = 1024) -> Array:
    """Draw the film alone, without a legend: outlines, and positive evidence as a colour wash.

    Returns (h, w, 3) uint8 RGB, its longest side as in `overlay`. The film stays grey where nothing is drawn.
    """
    pixels = report.radiograph.pixels
    image = film(pixels, longest=longest) if heatmap is None else wash(heatmap, pixels, longest=longest)
    if report.anatomy is not None:
        _outline(image, report.anatomy.mask)
        if report.measurements is not None and report.measurements.cardiothoracic_ratio is not None:
            _spans(image, report.anatomy.mask, report.measurements)
    return image


def film(pixels: Array, *, longest: int = 1024) -> Array:
    """Draw a film's pixels (H, W), 0..1, alone; (h, w, 3) uint8 RGB, sized as `picture` does."""
    grey = _grey(_resized(pixels, _size(pixels.shape, longest)))
    drawn: Array = cv2.merge([grey, grey, grey])
    return drawn


def wash(heatmap: Heatmap, pixels: Array | None = None, *, longest: int = 1024) -> Array:
    """Draw positive evidence over a film's pixels, or over even grey; (h, w, 3) uint8 RGB, as `film`."""
    width, height = size = _size(heatmap.shape, longest)
    below = np.full((height, width), _EVEN, np.uint8) if pixels is None else _grey(_resized(pixels, size))
    return _washed(below, _grey((heatmap.over((height, width)) - heatmap.baseline) / strongest(heatmap)))


def strongest(heatmap: Heatmap) -> float:
    """The strongest evidence of the map, in logits above the baseline: that of its highest cell."""
    share = 1.0
    if heatmap.part is not None:  # all of the film's evidence is in that part
        rows, columns = (one.stop - one.start for one in heatmap.part)
        share = rows * columns / (heatmap.shape[0] * heatmap.shape[1])
    # At least one logit, so that a map of faint evidence does not look like a finding.
    return max(1.0, (float(heatmap.cells.max()) - heatmap.baseline) / share)


def bar(width: int, height: int) -> Array:
    """The colour scale from no evidence to the strongest, over even grey; (height, width, 3) uint8 RGB."""
    strength = np.linspace(0, 255, width).astype(np.uint8)[None].repeat(height, axis=0)
    return _washed(np.full_like(strength, _EVEN), strength)


def _size(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Width and height at which a film of so many rows and columns is drawn."""
    height, width = shape
    scale = min(longest, max(_SMALLEST, height, width)) / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(values: Array, size: tuple[int, int]) -> Array:
    way = cv2.INTER_AREA if size[0] < values.shape[1] else cv2.INTER_CUBIC
    resized: Array = cv2.resize(values, size, interpolation=way)
    return resized


def _grey(values: Array) -> Array:
    """0..1 as 0..255; values outside are clipped."""
    return np.clip(values * 255 + 0.5, 0, 255).astype(np.uint8)


def _washed(film: Array, strength: Array) -> Array:
    """Lay the wash over a grey film; both are (h, w) uint8. Strength 0 leaves the film unchanged."""
    steps = np.arange(256)
    opacity = np.interp(steps, _ANCHORS, _OPACITY)
    kept = cv2.multiply(
        film, cv2.LUT(strength, np.round(255 * (1 - opacity)).astype(np.uint8)), scale=1 / 255
    )
    tints = (np.round(np.interp(steps, _ANCHORS, channel) * opacity).astype(np.uint8) for channel in _WASH.T)
    image: Array = cv2.merge([cv2.add(kept, cv2.LUT(strength, tint)) for tint in tints])
    return image


def _outline(image: Array, mask: Array) -> None:
    """Draw each structure's contour in its colour, in place."""
    height, width = image.shape[:2]
    longest = max(height, width)
    small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    contours = {}
    for value, name in enumerate(STRUCTURES, start=1):
        found, _ = cv2.findContours((small == value).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        contours[name] = [_smooth(points, longest // 50) for points in found]
    thick = max(2, round(longest / 480))
    for lines in contours.values():
        cv2.polylines(image, lines, True, _HALO, thick + 2, cv2.LINE_AA, _FRACTION_BITS)
    for name, lines in contours.items():
        cv2.polylines(image, lines, True, COLOURS[name], thick, cv2.LINE_AA, _FRACTION_BITS)


def _spans(image: Array, mask: Array, measurements: Measurements) -> None:
    """Draw the two widths of the cardiothoracic ratio as lines with stops, in place.

    The extremes of a structure lie on different rows; its line is drawn at the row where it is widest.
    """
    height, width = image.shape[:2]
    thick = max(1, round(max(height, width) / 640))
    reach = 6 * thick
    lines = (
        (measurements.heart_span, mask == 3, COLOURS["heart"]),
        (measurements.thorax_span, (mask == 1) | (mask == 2), TEXT),
    )
    for span, where, colour in lines:
        if span is None:
            continue
        row = round(widest(where) * height / mask.shape[0])
        left, right = (round(column * width / mask.shape[1]) for column in span)
        strokes = (
            ((left, row), (right, row)),
            ((left, row - reach), (left, row + reach)),
            ((right, row - reach), (right, row + reach)),
        )
        for tint, wide in ((_HALO, thick + 2), (colour, thick)):
            for start, end in strokes:
                cv2.line(image, start, end, tint, wide, cv2.LINE_AA)


def widest(where: Array) -> float:
    """The middle of the row on which the first and last true pixels are farthest apart."""
    rows = np.flatnonzero(where.any(axis=1))
    found = where[rows].view(np.uint8)
    # OpenCV mirrors: argmax over a reversed NumPy view takes ten times as long.
    last = found.shape[1] - 1 - cv2.flip(found, 1).argmax(axis=1)
    widths = last - found.argmax(axis=1)
    return float(np.median(rows[widths == widths.max()])) + 0.5


def _smooth(points: Array, reach: int) -> Array:
    """Smooth the pixel steps of a closed contour by a running mean over about `reach` points.

    Returns fixed-point coordinates with _FRACTION_BITS bits after the point.
    """
    reach = min(reach, len(points) // 4) | 1
    around = np.pad(points[:, 0].astype(np.float32), ((reach, reach), (0, 0)), mode="wrap")
    mean = cv2.blur(cv2.blur(around, (1, reach)), (1, reach))[reach:-reach]
    fixed: Array = np.round(mean[:: 1 + reach // 4] * 2**_FRACTION_BITS).astype(np.int32)
    return fixed
