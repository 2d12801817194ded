"""A phantom's thorax: its numbers, outlines and place on the film.

A thorax has its own coordinates: u runs from -1 (the right chest wall, on the image's left) to 1 (the left
wall), v from 0 (the lungs' apices) to 1 (the costophrenic angles). A Frame maps them to the film.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from hilum.types import Array

SUBPIXEL = 4  # binary digits after the point in OpenCV's drawing coordinates
_STEPS = 8  # of a curve between two of its points
HEART_LEFT = 1.32  # of the cardiothoracic ratio: how far left of the midline the heart reaches, u


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One thorax; lengths on the film are shares of its side."""

    half_width: float  # of the thorax, film sides
    height: float  # apex to costophrenic angle, film sides
    ratio: float  # cardiothoracic
    domes: tuple[float, float]  # v of the right and left diaphragm's top, at rest
    lift: tuple[float, float] = (0.0, 0.0)  # how far lost volume raises them, v
    congestion: float = 0.0  # of the vessels, 0 none .. 1
    apex: float  # |u| of the lungs' tops
    pedicle: float  # width of the mediastinum, 1 = usual
    stoutness: float  # 0 slim .. 1 stout
    breasts: float  # 0 none .. 1 large
    ribs: float  # distance between two ribs, v
    shoulders: float  # v of the clavicles' outer ends
    blades: float  # |u| of the scapulae's inner borders
    arms: float  # how far they are spread, u
    sway: float  # of the spine, u
    bubble: tuple[float, float]  # gastric air: width and height, u and v; (0, 0) = none


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Thorax coordinates on a square film."""

    matrix: Array  # (2, 3) float64: (u, v, 1) -> (x, y), pixels
    size: int  # side of the film, pixels
    u: Array  # (size, size) float32: where each pixel lies
    v: Array  # (size, size) float32
    inset: Array  # (size, size) float32: how far inside the chest wall, u


def thorax(rng: np.random.Generator, sex: str) -> Body:
    """A healthy adult's thorax, breathed in and standing."""
    female = sex == "F"
    dome = rng.uniform(0.83, 0.89)
    return Body(
        half_width=rng.uniform(0.355, 0.4) - 0.01 * female,
        height=rng.uniform(0.63, 0.71) - 0.02 * female,
        ratio=rng.uniform(0.4, 0.46),
        domes=(dome, dome + rng.uniform(0.015, 0.04)),
        apex=rng.uniform(0.38, 0.46),
        pedicle=rng.uniform(0.85, 1.2),
        stoutness=rng.beta(2, 3),
        breasts=rng.uniform(0.2, 1.0) if female else 0.0,
        ribs=rng.uniform(0.088, 0.1),
        shoulders=rng.uniform(-0.07, 0.04),
        blades=rng.uniform(0.86, 1.02),
        arms=rng.uniform(0.0, 0.4),
        sway=rng.uniform(-0.02, 0.02),
        bubble=(rng.uniform(0.12, 0.26), rng.uniform(0.03, 0.08)) if rng.random() < 0.6 else (0.0, 0.0),
    )


def lying(body: Body) -> Body:
    """The same thorax on an AP film: less breath, a larger heart, shoulder blades over the lungs."""
    return replace(
        body,
        height=0.9 * body.height,
        ratio=1.04 * body.ratio,
        domes=(body.domes[0] - 0.03, body.domes[1] - 0.03),
        pedicle=1.1 * body.pedicle,
        blades=body.blades - 0.12,
    )


def frame(rng: np.random.Generator, body: Body, size: int) -> Frame:
    """Lay a thorax on the film: slightly turned, shifted and magnified."""
    turn, zoom = np.deg2rad(rng.normal(0, 1.3)), rng.uniform(0.94, 1.05)
    axes = zoom * size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    axes = axes @ np.diag([body.half_width, body.height])
    centre = size * (np.array([0.5, 0.47]) + rng.uniform(-0.025, 0.025, 2))
    origin = centre - axes @ np.array([0.0, 0.5])
    back = np.linalg.inv(axes)
    x, y = np.meshgrid(np.arange(size) - origin[0], np.arange(size) - origin[1])
    u, v = ((row[0] * x + row[1] * y).astype(np.float32) for row in back)
    inset = wall(v).astype(np.float32) - np.abs(u)
    return Frame(matrix=np.column_stack([axes, origin]), size=size, u=u, v=v, inset=inset)


def curve(points: Sequence[tuple[float, float]]) -> Array:
    """A smooth line through the points (Catmull-Rom), (N, 2)."""
    p = np.pad(np.array(points, dtype=np.float64), ((1, 1), (0, 0)), mode="edge")[:, None]
    t = np.linspace(0, 1, _STEPS, endpoint=False)[None, :, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    line = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.vstack([line.reshape(-1, 2), p[-1]])


def on_film(at: Frame, points: Array) -> Array:
    """Thorax coordinates (N, 2) -> OpenCV's fixed-point pixel coordinates, (N, 2) int32."""
    xy = points @ at.matrix[:, :2].T + at.matrix[:, 2]
    return np.round(xy * (1 << SUBPIXEL)).astype(np.int32)


def fill(canvas: Array, at: Frame, points: Array, value: float) -> None:
    """Fill a polygon."""
    cv2.fillPoly(canvas, [on_film(at, points)], value, cv2.LINE_8, SUBPIXEL)


def stroke(canvas: Array, at: Frame, points: Array, value: float, width: float) -> None:
    """Draw a line; `width` in film sides."""
    thick = max(1, round(width * at.size))
    cv2.polylines(canvas, [on_film(at, points)], False, value, thick, cv2.LINE_AA, SUBPIXEL)


def blank(at: Frame) -> Array:
    """An empty uint8 canvas of the film's size."""
    return np.zeros((at.size, at.size), np.uint8)


def wall(v: Array | float) -> Array:
    """|u| of the inner chest wall at height v."""
    heights = (0.0, 0.03, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 1.0)
    return np.asarray(np.interp(v, heights, (0.5, 0.6, 0.73, 0.82, 0.88, 0.94, 0.975, 0.995, 1.0)))


def dome(body: Body, side: int, u: Array) -> Array:
    """v of the diaphragm at |u|; side 0 is the right."""
    top = body.domes[side] - body.lift[side]
    lateral = np.clip((u - 0.5) / 0.5, 0, 1) ** 2.3 * (1.0 - 0.4 * body.lift[side] - top)
    medial = np.clip((0.5 - u) / 0.35, 0, 1) ** 2 * 0.045
    return top + lateral + medial


def lung(body: Body, side: int) -> Array:
    """Outline of a lung field as if there were no heart; side 0 is the right, (N, 2)."""
    a, m = body.apex, body.pedicle
    down = [(float(wall(v)), v) for v in (0.12, 0.22, 0.35, 0.5, 0.7, 0.85)]
    outer = curve([(0.15 * m, 0.15), (0.19 * m, 0.07), (a - 0.1, 0.012), (a, 0.0), (a + 0.16, 0.025), *down])
    across = np.linspace(0.995, 0.17, 30)
    floor = np.column_stack([across, dome(body, side, across)])
    if side == 0:
        up = [(0.2, 0.88), (0.22, 0.7), (0.23, 0.56), (0.2 * m, 0.45), (0.16 * m, 0.36), (0.14 * m, 0.25)]
    else:  # heart, pulmonary trunk, aortopulmonary window, aortic knob
        up = [
            (0.17, 0.88),
            (0.2, 0.62),
            (0.26 * m, 0.48),
            (0.22 * m, 0.42),
            (0.26 * m, 0.35),
            (0.25 * m, 0.28),
        ]
    inner = curve([*up, (0.15 * m, 0.2), (0.15 * m, 0.15)])
    return np.vstack([outer, floor, inner]) * (1 if side else -1, 1)


def heart(body: Body) -> Array:
    """Outline of the heart on the diaphragm, (N, 2); a third of it lies right of the midline."""
    left, right = HEART_LEFT * body.ratio, (HEART_LEFT - 2) * body.ratio
    shape = [
        (0.15 * right, 0.5), (0.3 * left, 0.51), (0.55 * left, 0.56), (0.77 * left, 0.64),
        (0.93 * left, 0.74), (left, 0.84), (0.95 * left, 0.925), (0.65 * left, 1.0),
        (0.0, 1.01), (0.7 * right, 0.98),
        (0.97 * right, 0.87), (right, 0.77), (0.92 * right, 0.66), (0.6 * right, 0.555), (0.15 * right, 0.5),
    ]  # fmt: skip
    return np.asarray(curve(shape) + np.array([0, body.domes[1] - 0.89]))


def outline(body: Body, at: Frame) -> Array:
    """The label map: 0 none, 1 right lung, 2 left lung, 3 heart; the heart covers the lungs."""
    mask = blank(at)
    for value, shape in ((1, lung(body, 0)), (2, lung(body, 1)), (3, heart(body))):
        fill(mask, at, shape, value)
    for value in (1, 2):  # the heart may cut off a sliver of lung beneath it
        count, parts, stats, _ = cv2.connectedComponentsWithStats(
            (mask == value).astype(np.uint8), connectivity=4
        )
        if count > 2:
            largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
            mask[(parts > 0) & (parts != largest)] = 0
    return mask
