"""The film's picture with a legend at its side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hilum.calibration.calibrate import logit
from hilum.labels import NO_FINDING
from hilum.reporting.picture import COLOURS, TEXT, Colour, bar, picture, strongest
from hilum.reporting.report import call, ranked
from hilum.types import (
    DISCLAIMER,
    STRUCTURES,
    Anatomy,
    Array,
    Heatmap,
    Report,
    Score,
)

_PANEL: Colour = (17, 20, 26)
_DIM: Colour = (146, 152, 162)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of the legend; an empty text is a gap."""

    text: str = ""
    value: str = ""  # aligned right
    colour: Colour = TEXT
    size: float = 1.0  # times the base size of the text
    swatch: Colour | None = None  # colour of the outline that the line names
    bar: bool = False  # the scale of the colour wash, instead of text


def overlay(report: Report, *, longest: int = 1024, scores: bool = False) -> Array:
    """Draw the film with outlines, the evidence for one finding, and a legend at its right.

    Returns (h, w, 3) uint8 RGB. The film's longest side is at most `longest` pixels; a film under 512 is
    drawn larger. The evidence is that for the positive finding furthest above its threshold, if there is one.
    With `scores` the legend lists every label's probability and call.
    """
    heatmap = _chosen(report)
    film = picture(report, heatmap, longest=longest)
    base = int(np.clip(round(max(film.shape[:2]) / 44), 14, 22))
    panel = _panel(_legend(report, heatmap, scores), base, film.shape[0])
    height = max(film.shape[0], panel.shape[0])
    return np.hstack([_padded(film, height), _padded(panel, height)])


def _chosen(report: Report) -> Heatmap | None:
    """The evidence for the positive finding that lies furthest above its threshold."""
    if report.prediction is None:
        return None
    scores = {score.label: score for score in report.prediction.scores}
    maps = [m for m in report.heatmaps if m.label != NO_FINDING and m.label in scores]
    positive = [m for m in maps if scores[m.label].positive]
    return max(positive, key=lambda m: _excess(scores[m.label]), default=None)


def _excess(score: Score) -> float:
    """How far a probability lies above its threshold, in log-odds."""
    return float(logit(score.probability) - logit(score.threshold))


def _legend(report: Report, heatmap: Heatmap | None, scores: bool) -> list[_Line]:
    """All lines of the legend; each block ends in a gap."""
    lines = []
    if report.status == "rejected":
        lines += [_Line(text="Rejected", size=1.3)]
        lines += [line for reason in report.reasons for line in (_Line(text=reason.sentence), _Line())]
    for warning in (*(flag.sentence for flag in report.flags), *report.notes):
        lines += [_Line(text=f"{warning[0].upper()}{warning[1:]}."), _Line()]
    if report.anatomy is not None:
        lines += [_Line(text="Outlines", value="quality", colour=_DIM)]
        lines += [_named_outline(name, report.anatomy) for name in STRUCTURES]
        lines += [_Line()]
    if report.measurements is not None and report.anatomy is not None:
        ratio = report.measurements.cardiothoracic_ratio
        said = "not given" if ratio is None else f"{ratio:.2f}"
        lines += [_Line(text="Cardiothoracic ratio", value=said), _Line()]
    if scores and report.prediction is not None:
        lines += [_Line(text="Label", value="probability", colour=_DIM)]
        lines += [_summed(score) for score in report.prediction.scores]
        lines += [_Line()]
    if heatmap is not None:
        peak = _Line(text="none", value=f"{strongest(heatmap):.1f} logits", colour=_DIM)
        lines += [
            _Line(text=f"{heatmap.method.capitalize()} for", colour=_DIM),
            _Line(text=heatmap.label, size=1.3),
        ]
        lines += [*_scores(report, heatmap.label), _Line(), _Line(bar=True), peak]
        lines += [_Line(text="Parts of the score, not proof of where the finding lies.", colour=_DIM)]
    return lines


def _named_outline(name: str, anatomy: Anatomy) -> _Line:
    quality = anatomy.quality.get(name)
    said = "" if quality is None else f"{quality:.2f}{' !' if name in anatomy.unreliable else ''}"
    return _Line(text=name.replace("_", " ").capitalize(), value=said, swatch=COLOURS[name])


def _summed(score: Score) -> _Line:
    # Positive and open calls stand out; a negative label shows only its number.
    said = ", open" if score.abstained else ", positive" if score.positive else ""
    return _Line(text=f"{score.label}{said}", value=f"{score.probability:.2f}", colour=TEXT if said else _DIM)


def _scores(report: Report, label: str) -> list[_Line]:
    prediction = report.prediction
    if prediction is None or label not in prediction.labels:
        return []
    score = prediction[label]
    lines = [_Line(text="Probability", value=_share(score.probability))]
    if label not in ranked(report):
        lines += [_Line(text="Threshold", value=_share(score.threshold))]
    return [*lines, _Line(text="Call", value=call(score))]


def _share(probability: float) -> str:
    """Two decimal places, or three if the value is small."""
    return f"{probability:.2f}" if probability >= 0.095 else f"{probability:.3f}"


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _panel(lines: list[_Line], base: int, least: int) -> Array:
    """Draw the legend, at least `least` pixels high more if needed; the disclaimer is at the bottom."""
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
    """Distance to the start of the next line, pixels."""
    return round(base * (1.5 * line.size if line.text or line.bar else 0.9))


def _wrapped(line: _Line, base: int, width: int) -> list[_Line]:
    """Break a line between words if it is wider than `width`; its last part keeps the right-aligned value."""
    font, parts = _font(base * line.size), [""]
    width -= int(font.getlength(f"{line.value} ")) if line.value else 0
    for word in line.text.split():
        longer = f"{parts[-1]} {word}".strip()
        if parts[-1] and font.getlength(longer) > width:
            parts.append(word)
        else:
            parts[-1] = longer
    return (
        [line]
        if len(parts) == 1
        else [*(replace(line, text=part, value="") for part in parts[:-1]), replace(line, text=parts[-1])]
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
