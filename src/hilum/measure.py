"""Measurements of the outlines: cardiothoracic ratio, widths, areas, symmetry, and the side of the heart."""

from __future__ import annotations

import numpy as np

from hilum.types import STRUCTURES, Anatomy, Array, Measurements, Radiograph

_MIRRORED = -0.03  # an offset below this; on all JSRT films that training may use the offset is at least 0.04


def measure(anatomy: Anatomy, spacing: tuple[float, float] | None) -> Measurements:
    """Measure the outlines. Lengths and areas need `spacing`, mm between (rows, columns).

    The cardiothoracic ratio is the heart's greatest horizontal extent over that of the lungs together, from
    the leftmost to the rightmost edge over the whole film: the convention of studies on masks, a little
    below Danzer's, who measured the thorax along one row. What depends on a structure that is missing or
    not reliably outlined is None; areas are always given. Fractions are of the image's area.
    """
    parts = {name: anatomy.mask == value for value, name in enumerate(STRUCTURES, 1)}
    columns = {name: part.any(axis=0) for name, part in parts.items()}
    right, left = (int(np.count_nonzero(parts[name])) for name in STRUCTURES[:2])
    lungs = bool(right and left) and anatomy.unreliable.isdisjoint(STRUCTURES[:2])
    heart = None if "heart" in anatomy.unreliable else _span(columns["heart"])
    thorax = _span(columns["right_lung"] | columns["left_lung"]) if lungs else None
    row_mm, column_mm = spacing or (None, None)
    pixel_cm2 = row_mm * column_mm / 100 if row_mm and column_mm else None
    return Measurements(
        cardiothoracic_ratio=_ratio(heart, thorax),
        right_lung_fraction=right / anatomy.mask.size,
        left_lung_fraction=left / anatomy.mask.size,
        right_lung_pixels=right,
        left_lung_pixels=left,
        lung_symmetry=min(right, left) / max(right, left) if lungs else None,
        heart_offset=_offset(heart, thorax),
        heart_span=heart,
        thorax_span=thorax,
        right_lung_cm2=_scaled(right, pixel_cm2),
        left_lung_cm2=_scaled(left, pixel_cm2),
        heart_width_mm=_scaled(_width(heart), column_mm),
        thorax_width_mm=_scaled(_width(thorax), column_mm),
    )


def remarks(measurements: Measurements, anatomy: Anatomy, film: Radiograph) -> tuple[str, ...]:
    """Notes that a reader of the measurements needs; may be empty."""
    notes = [
        f"{name.replace('_', ' ')}: outline not reliable ({_doubt(name, anatomy)})"
        for name in STRUCTURES
        if name in anatomy.unreliable
    ]
    if measurements.cardiothoracic_ratio is None:
        why = "an outline is not reliable" if anatomy.unreliable else "the heart or a lung was not found"
        notes.append(f"no cardiothoracic ratio: {why}")
        return tuple(notes)
    taken = [word for word, yes in (("AP", _is_ap(film.view)), ("supine", film.origin.supine)) if yes]
    if taken:
        how = ", ".join(taken)
        notes.append(f"{how} film: the heart's shadow, and so the cardiothoracic ratio, is magnified")
    return tuple(notes)


def _doubt(name: str, anatomy: Anatomy) -> str:
    """Why an outline is not reliable: its quality beside what it needs, or its shape."""
    quality, needed = anatomy.quality[name], anatomy.needed.get(name)
    if needed is None:
        return f"quality {quality:.3f}"
    if quality < needed:
        return f"quality {quality:.3f}, needs {needed:.3f}"
    return "reaches beyond the lungs, or is larger than both"


def is_mirrored(measurements: Measurements) -> bool:
    """Whether the heart points to the picture's left: dextrocardia, or a mirrored film."""
    return measurements.heart_offset is not None and measurements.heart_offset < _MIRRORED


def _is_ap(view: str | None) -> bool:
    return (view or "").upper().startswith("AP")


def _span(columns: Array) -> tuple[int, int] | None:
    """The first true column and the one after the last; None if no column is true."""
    where = np.flatnonzero(columns)
    return (int(where[0]), int(where[-1]) + 1) if where.size else None


def _width(span: tuple[int, int] | None) -> int:
    return span[1] - span[0] if span else 0


def _ratio(heart: tuple[int, int] | None, thorax: tuple[int, int] | None) -> float | None:
    return _width(heart) / _width(thorax) if heart and thorax else None


def _offset(heart: tuple[int, int] | None, thorax: tuple[int, int] | None) -> float | None:
    if not heart or not thorax:
        return None
    return (sum(heart) - sum(thorax)) / 2 / _width(heart)


def _scaled(pixels: int, unit: float | None) -> float | None:
    return pixels * unit if pixels and unit else None
