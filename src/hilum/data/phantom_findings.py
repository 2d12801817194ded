"""The effects of findings on a phantom's thorax: they change its shape, and veil the air in its lungs.

A veil is (size, size) float32: the share of each pixel's air that fluid or collapse has replaced, from 0 to
1, or slightly above where fluid is denser than the chest wall beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hilum.data.phantom_body import HEART_LEFT, Body, Frame, blank, curve, fill, stroke
from hilum.data.phantom_film import bell, ramp, soft, texture
from hilum.types import Array


def reshape(label: str, rng: np.random.Generator, body: Body) -> Body:
    """The thorax with the finding's change of shape, if it makes one."""
    return RESHAPE[label](rng, body) if label in RESHAPE else body


def veil(label: str, rng: np.random.Generator, body: Body, at: Frame) -> Array:
    """The finding's veil, if it makes one; `body` is already reshaped."""
    if label not in VEIL:
        return np.zeros_like(at.u)
    return np.asarray(np.clip(VEIL[label](rng, body, at), 0, 1.1), dtype=np.float32)


def _sides(rng: np.random.Generator, both: float) -> tuple[int, ...]:
    """Right (-1), left (1), or with the given probability both."""
    if rng.random() < both:
        return (-1, 1)
    return (-1,) if rng.random() < 0.5 else (1,)


def _enlarge(rng: np.random.Generator, body: Body) -> Body:
    return replace(body, ratio=rng.uniform(0.58, 0.66))


def _collapse(rng: np.random.Generator, body: Body) -> Body:
    sides, lift = _sides(rng, 0.2), rng.uniform(0.05, 0.1)
    return replace(body, lift=(lift * (-1 in sides), lift * (1 in sides)))


def _congest(rng: np.random.Generator, body: Body) -> Body:
    return replace(body, congestion=rng.uniform(0.6, 1.0))


def _atelectasis(rng: np.random.Generator, body: Body, at: Frame) -> Array:
    """Plates above the raised diaphragm, or a wedge that points at the hilum."""
    canvas = blank(at)
    for index, side in enumerate((-1, 1)):
        if not body.lift[index]:
            continue
        floor = body.domes[index] - body.lift[index]
        if rng.random() < 0.3:
            u, width = rng.uniform(0.45, 0.7), rng.uniform(0.14, 0.24)
            wedge = [(0.24, floor - 0.26), (u + width, floor + 0.04), (u - width, floor + 0.04)]
            fill(canvas, at, np.array(wedge) * (side, 1), rng.uniform(130, 190))
        for _ in range(rng.integers(1, 4)):
            u, v, slope = rng.uniform(0.28, 0.42), floor - rng.uniform(0.02, 0.14), rng.uniform(-0.06, 0.09)
            length = rng.uniform(0.3, 0.48)
            if side > 0:  # the heart hides what lies behind it
                u = max(u, HEART_LEFT * body.ratio - 0.15)
            plate = [(u, v), (u + length / 2, v + slope / 2 + rng.normal(0, 0.008)), (u + length, v + slope)]
            stroke(canvas, at, curve(plate) * (side, 1), rng.uniform(120, 220), rng.uniform(0.01, 0.02))
    return soft(canvas, 0.007) * np.float32(1 / 255)


def _consolidation(rng: np.random.Generator, body: Body, at: Frame) -> Array:
    """A confluent patch in one lobe, often with air-filled bronchi, sometimes bounded by a fissure."""
    side, zone = (-1, 1)[rng.integers(2)], rng.integers(3)
    u, v = rng.uniform(0.42, 0.66), (0.25, 0.5, 0.72)[zone] + rng.uniform(-0.05, 0.06)
    if side > 0 and zone == 2:  # beside the heart, not behind it
        u = max(u, HEART_LEFT * body.ratio + 0.06)
    width, height = rng.uniform(0.24, 0.42), rng.uniform(0.11, 0.19)
    here, there = at.u * side, at.v - v
    ragged = 0.16 * texture(rng, at.size, 12) + 0.1 * texture(rng, at.size, 32)
    core = bell((here - u) / width) * bell(there / height)
    patch = ramp(1.2 * core + ragged * ramp(core, 0.1, 0.35), 0.3, 0.85)
    patch *= rng.uniform(0.6, 0.9) * ramp(here, 0.08, 0.16)
    if rng.random() < 0.4:
        below = there + 0.06 * (here - u) - 0.35 * height
        patch *= 1 - ramp(below if zone == 0 else -below - 0.7 * height, -0.012, 0.012)
    bronchi = blank(at)
    for bend in rng.normal(0, 0.09, 4):
        end = (u + rng.uniform(0.0, 0.7) * width, v + 2 * bend)
        line = curve([(0.24, 0.47), ((0.24 + u) / 2, (0.47 + v) / 2 + bend / 2), end]) * (side, 1)
        stroke(bronchi, at, line, 110, 0.006)
    return patch * (1 - soft(bronchi, 0.003) * np.float32(1 / 255))


def _edema(rng: np.random.Generator, body: Body, at: Frame) -> Array:
    """Haze around both hila that spares the rim, and short septal lines at the bases."""
    side = np.abs(at.u)
    wings = bell((side - 0.38) / rng.uniform(0.26, 0.34)) * bell((at.v - 0.54) / rng.uniform(0.22, 0.3))
    haze = (
        0.62
        * body.congestion
        * wings
        * (1 + 0.3 * texture(rng, at.size, 22) + 0.2 * texture(rng, at.size, 9))
    )
    septa = blank(at)
    for s in (-1, 1):
        for v in np.linspace(0.7, 0.93, 8) + rng.uniform(-0.01, 0.01, 8):
            u = rng.uniform(0.8, 0.9)
            line = np.array([(u, v), (min(u + rng.uniform(0.07, 0.12), 0.97), v + rng.uniform(-0.01, 0.01))])
            stroke(septa, at, line * (s, 1), rng.uniform(90, 160) * body.congestion, 0.004)
    return haze + soft(septa, 0.0028) * np.float32(1 / 255)


def _effusion(rng: np.random.Generator, _: Body, at: Frame) -> Array:
    """Fluid that stands highest against the chest wall and hides the costophrenic angle."""
    fluid = np.zeros_like(at.u)
    for side in _sides(rng, 0.3):
        depth = rng.uniform(0.1, 0.38)
        surface = 1 - depth - 0.17 * np.exp(-np.maximum(at.inset, 0) / 0.2)
        surface -= 0.03 * np.exp(-np.maximum(at.u * side - 0.2, 0) / 0.12)
        fluid += (
            ramp(at.v - surface, -0.015, rng.uniform(0.06, 0.13)) * (at.u * side > 0) * rng.uniform(0.9, 1.1)
        )
    return fluid


RESHAPE: dict[str, Callable[[np.random.Generator, Body], Body]] = {
    "Atelectasis": _collapse,
    "Cardiomegaly": _enlarge,
    "Edema": _congest,
}

VEIL: dict[str, Callable[[np.random.Generator, Body, Frame], Array]] = {
    "Atelectasis": _atelectasis,
    "Consolidation": _consolidation,
    "Edema": _edema,
    "Pleural Effusion": _effusion,
}
