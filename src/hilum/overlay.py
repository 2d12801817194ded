"""The film as a picture: outlines, evidence, and a legend beside it that covers nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hilum.errors import ConfigError
from hilum.types import (
    DISCLAIMER,
    STRUCTURES,
    Anatomy,
    Array,
    Heatmap,
    Measurements,
    Prediction,
    Report,
    Score,
)

Colour: TypeAlias = tuple[int, int, int]  # RGB, 0..255

# Three colours of the Okabe-Ito set, which readers with any colour vision tell apart.
COLOURS: dict[str, Colour] = {
    "right_lung": (86, 180, 233),
    "left_lung": (240, 228, 66),
    "heart": (213, 94, 0),
}

_FRACTION_BITS = 4  # OpenCV draws at sixteenths of a pixel
_SMALLEST = 512  # a smaller film is drawn this long, or the legend beside it could not be read
_HALO: Colour = (10, 12, 16)
_PANEL: Colour = (17, 20, 26)
_TEXT: Colour = (232, 234, 237)
_DIM: Colour = (146, 152, 162)

# The wash, from faint to strong evidence: purple to pink, hues that no outline has.
_ANCHORS = np.array([0, 48, 150, 255])
_WASH = np.array([[110, 50, 190], [140, 40, 190], [206, 24, 150], [255, 40, 120]], dtype=np.float64)
_OPACITY = np.array([0.0, 0.05, 0.35, 0.75])  # slow at first: weak evidence covers half a film


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of the legend; an empty text is a gap."""

    text: str = ""
    value: str = ""  # set flush right
    colour: Colour = _TEXT
    size: float = 1.0  # times the base size of the text
    swatch: Colour | None = None  # colour of the outline the line names
    bar: bool = False  # the wash from faint to strong, in place of text


def overlay(report: Report, *, label: str | None = None, longest: int = 1024) -> Array:
    """Draw the film with outlines, the evidence for one label, and a legend at its right.

    Returns (h, w, 3) uint8 RGB. The film's longest side is at most `longest`; a film under 512 is drawn
    larger. Without `label`, the positive finding furthest above its threshold is shown, if there is one.
    Raises ConfigError where the report has no evidence for `label`.
    """
    heatmap = _chosen(report) if label is None else _named(report, label)
    film = picture(report, heatmap, longest=longest)
    base = int(np.clip(round(max(film.shape[:2]) / 44), 14, 22))
    panel = _panel(_legend(report, heatmap), base, film.shape[0])
    height = max(film.shape[0], panel.shape[0])
    return np.hstack([_padded(film, height), _padded(panel, height)])


def picture(report: Report, heatmap: Heatmap | None, *, longest: int = 1024) -> Array:
    """Draw the film alone, without a legend: outlines, and positive evidence as a colour wash.

    Returns (h, w, 3) uint8 RGB, its longest side as in `overlay`. Where nothing is drawn the film is grey.
    """
    height, width = report.radiograph.pixels.shape
    scale = min(longest, max(_SMALLEST, height, width)) / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    film = _grey(_resized(report.radiograph.pixels, size))
    if heatmap is None:
        image: Array = cv2.merge([film, film, film])
    else:
        image = _washed(film, _grey((_resized(heatmap.values, size) - heatmap.baseline) / strongest(heatmap)))
    if report.anatomy is not None:
        _outline(image, report.anatomy.mask)
        if report.measurements is not None and report.measurements.cardiothoracic_ratio is not None:
            _spans(image, report.anatomy.mask, report.measurements)
    return image


def strongest(heatmap: Heatmap) -> float:
    """The evidence, in logits above the baseline, that is drawn strongest: the map's peak."""
    # At least one logit, so that the faint evidence against a finding does not glow like a finding.
    return max(1.0, float(heatmap.values.max()) - heatmap.baseline)


def bar(width: int, height: int) -> Array:
    """The wash from no evidence to the strongest as it looks over grey film; (height, width, 3) uint8 RGB."""
    strength = np.linspace(0, 255, width).astype(np.uint8)[None].repeat(height, axis=0)
    return _washed(np.full_like(strength, 128), strength)


def _call(score: Score) -> str:
    """What a score comes to, in words."""
    if score.abstained:
        return "left open"
    return "positive" if score.positive else "negative"


def _chosen(report: Report) -> Heatmap | None:
    """The evidence for the positive finding that lies furthest above its threshold."""
    if report.prediction is None:
        return None
    scores = {score.label: score for score in map(report.prediction.__getitem__, report.prediction.labels)}
    maps = [m for m in report.heatmaps if m.label != "No Finding" and m.label in scores]
    positive = [m for m in maps if scores[m.label].positive]
    return max(positive, key=lambda m: _excess(scores[m.label]), default=None)


def _excess(score: Score) -> float:
    return score.probability / max(score.threshold, 1e-9)


def _named(report: Report, label: str) -> Heatmap:
    for heatmap in report.heatmaps:
        if heatmap.label == label:
            return heatmap
    known = ", ".join(heatmap.label for heatmap in report.heatmaps) or "none"
    raise ConfigError(
        f"{report.radiograph.origin.path}: no evidence for {label!r}; there is evidence for: {known}"
    )


def _resized(values: Array, size: tuple[int, int]) -> Array:
    way = cv2.INTER_AREA if size[0] < values.shape[1] else cv2.INTER_CUBIC
    resized: Array = cv2.resize(values, size, interpolation=way)
    return resized


def _grey(values: Array) -> Array:
    """0..1 as 0..255; what lies outside is clipped."""
    return np.clip(values * 255 + 0.5, 0, 255).astype(np.uint8)


def _washed(film: Array, strength: Array) -> Array:
    """Lay the wash over a grey film; both (h, w) uint8, and at strength 0 the film stays as it is."""
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

    Each structure's extremes lie on different rows, so a line stands at the row where it is widest.
    """
    height, width = image.shape[:2]
    thick = max(1, round(max(height, width) / 640))
    reach = 6 * thick
    lines = (
        (measurements.heart_span, mask == 3, COLOURS["heart"]),
        (measurements.thorax_span, (mask == 1) | (mask == 2), _TEXT),
    )
    for span, where, colour in lines:
        if span is None:
            continue
        row = round(_widest(where) * height / mask.shape[0])
        left, right = (round(column * width / mask.shape[1]) for column in span)
        strokes = (
            ((left, row), (right, row)),
            ((left, row - reach), (left, row + reach)),
            ((right, row - reach), (right, row + reach)),
        )
        for tint, wide in ((_HALO, thick + 2), (colour, thick)):
            for start, end in strokes:
                cv2.line(image, start, end, tint, wide, cv2.LINE_AA)


def _widest(where: Array) -> float:
    """The row, its middle counted, on which the first and last true pixels lie farthest apart."""
    rows = np.flatnonzero(where.any(axis=1))
    found = where[rows].view(np.uint8)
    # Mirrored by OpenCV: argmax over a reversed NumPy view takes ten times as long.
    last = found.shape[1] - 1 - cv2.flip(found, 1).argmax(axis=1)
    widths = last - found.argmax(axis=1)
    return float(np.median(rows[widths == widths.max()])) + 0.5


def _smooth(points: Array, reach: int) -> Array:
    """Round off the pixel steps of a closed contour by a running mean over about `reach` points.

    Returns fixed-point coordinates with _FRACTION_BITS bits after the point.
    """
    reach = min(reach, len(points) // 4) | 1
    around = np.pad(points[:, 0].astype(np.float32), ((reach, reach), (0, 0)), mode="wrap")
    mean = cv2.blur(cv2.blur(around, (1, reach)), (1, reach))[reach:-reach]
    fixed: Array = np.round(mean[:: 1 + reach // 4] * 2**_FRACTION_BITS).astype(np.int32)
    return fixed


def _legend(report: Report, heatmap: Heatmap | None) -> list[_Line]:
    """All that stands beside the film; each block ends in a gap."""
    lines = []
    if report.status == "rejected":
        lines += [_Line(text="Rejected", size=1.3)]
        lines += [line for reason in report.reasons for line in (_Line(text=reason), _Line())]
    if report.anatomy is not None:
        lines += [_Line(text="Outlines", value="quality", colour=_DIM)]
        lines += [_named_outline(name, report.anatomy) for name in STRUCTURES]
        lines += [_Line()]
    if report.measurements is not None and report.anatomy is not None:
        ratio = report.measurements.cardiothoracic_ratio
        said = "not given" if ratio is None else f"{ratio:.2f}"
        lines += [_Line(text="Cardiothoracic ratio", value=said), _Line()]
    if heatmap is not None:
        peak = _Line(text="none", value=f"{strongest(heatmap):.1f} logits", colour=_DIM)
        lines += [_Line(text="Evidence for", colour=_DIM), _Line(text=heatmap.label, size=1.3)]
        lines += [*_scores(report.prediction, heatmap.label), _Line(), _Line(bar=True), peak]
    return lines


def _named_outline(name: str, anatomy: Anatomy) -> _Line:
    quality = anatomy.quality.get(name)
    said = "" if quality is None else f"{quality:.2f}{' !' if name in anatomy.unreliable else ''}"
    return _Line(text=name.replace("_", " ").capitalize(), value=said, swatch=COLOURS[name])


def _scores(prediction: Prediction | None, label: str) -> list[_Line]:
    if prediction is None or label not in prediction.labels:
        return []
    score = prediction[label]
    return [
        _Line(text="Probability", value=f"{score.probability:.2f}"),
        _Line(text="Threshold", value=f"{score.threshold:.2f}"),
        _Line(text="Call", value=_call(score)),
    ]


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _panel(lines: list[_Line], base: int, least: int) -> Array:
    """Draw the legend, at least `least` pixels high and as high as it needs; the disclaimer stands last."""
    width, margin = 16 * base, base
    footer = [
        _Line(text=text, colour=_DIM, size=0.85) for text in DISCLAIMER.replace(". ", ".\n").split("\n")
    ]
    inner = width - 2 * margin
    lines = [part for line in lines for part in _wrapped(line, base, inner)]
    below = _height(footer, base)
    height = max(least, 2 * margin + _height(lines, base) + base + below)
    image = Image.new("RGB", (width, height), _PANEL)
    _write(image, lines, base, margin)
    _write(image, footer, base, height - margin - below)
    return np.asarray(image)


def _height(lines: list[_Line], base: int) -> int:
    return sum(_step(line, base) for line in lines)


def _step(line: _Line, base: int) -> int:
    """How far down the next line starts."""
    return round(base * (1.5 * line.size if line.text or line.bar else 0.9))


def _wrapped(line: _Line, base: int, width: int) -> list[_Line]:
    """Break a line between words where it is wider than `width`."""
    font, parts = _font(base * line.size), [""]
    for word in line.text.split():
        longer = f"{parts[-1]} {word}".strip()
        if parts[-1] and font.getlength(longer) > width:
            parts.append(word)
        else:
            parts[-1] = longer
    return (
        [line]
        if len(parts) == 1
        else [_Line(text=part, colour=line.colour, size=line.size) for part in parts]
    )


def _write(image: Image.Image, lines: list[_Line], base: int, top: int) -> None:
    draw, left, right = ImageDraw.Draw(image), base, image.width - base
    for line in lines:
        font, start, middle = _font(base * line.size), left, top + round(0.62 * base * line.size)
        if line.bar:
            image.paste(Image.fromarray(bar(right - left, base)), (left, top))
        if line.swatch:
            draw.line(
                [(left, middle), (left + 1.4 * base, middle)], fill=line.swatch, width=max(3, base // 5)
            )
            start += 2 * base
        draw.text((start, top), line.text, font=font, fill=line.colour)
        draw.text((right, top), line.value, font=font, fill=line.colour, anchor="ra")
        top += _step(line, base)


def _padded(image: Array, height: int) -> Array:
    padded: Array = cv2.copyMakeBorder(
        image, 0, height - image.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=_PANEL
    )
    return padded
