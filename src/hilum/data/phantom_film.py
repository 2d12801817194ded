"""Draw a phantom film: attenuation of tissues is added, air is subtracted, exposure comes last."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from hilum.data.phantom_body import SUBPIXEL, Body, Frame, blank, curve, fill, on_film, stroke, wall
from hilum.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The shadows that no finding changes, each (size, size) float32."""

    fixed: Array  # attenuation of tissue and bones, and the film's grain
    vessels: Array  # attenuation, as if all of the film were lung
    lightness: Array  # attenuation that air removes where it fills a pixel


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """From attenuation to grey level."""

    low: float  # attenuation that becomes black
    high: float  # attenuation that becomes white
    gamma: float
    sharpening: float  # 0 none


def soft(image: Array, sigma: float) -> Array:
    """Gaussian blur, float32; `sigma` in film sides. Wide blurs use a coarser, faster grid."""
    size, image = image.shape[0], image.astype(np.float32)
    step = max(1, int(sigma * size / 2))
    if step == 1:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * size))
    coarse = cv2.resize(image, (size // step, size // step), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(coarse, (0, 0), sigma * size / step)
    return np.asarray(cv2.resize(blurred, (size, size), interpolation=cv2.INTER_LINEAR))


def texture(rng: np.random.Generator, size: int, cells: int) -> Array:
    """Smooth noise of unit spread with `cells` blobs along a side, (size, size) float32."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))


def bell(x: Array) -> Array:
    """A Gaussian with value 1 at 0."""
    return np.asarray(np.exp(-x * x))


def ball(x: Array, y: Array) -> Array:
    """Thickness of a unit half-ball seen from above."""
    return np.asarray(np.sqrt(np.maximum(1 - x * x - y * y, 0)))


def ramp(x: Array, start: float, end: float) -> Array:
    """0 up to `start`, 1 from `end` on, straight in between."""
    return np.asarray(np.clip((x - start) * (1 / (end - start)), 0, 1))


def tissue(rng: np.random.Generator, body: Body, at: Frame) -> Array:
    """Skin, muscle, breasts, mediastinum, spine and abdomen, without the trachea."""
    stout, canvas, u, v = body.stoutness, blank(at), at.u, at.v
    flank, arm = 1.14 + 0.2 * stout, body.arms
    for s in (-1, 1):  # neck and shoulder, arm, flank
        half = [
            (0.0, -0.6), (0.33, -0.6), (0.33, -0.22), (0.5, -0.15), (0.85, -0.1), (1.2, -0.07),
            (1.5, 0.0), (1.6 + arm, 0.3), (1.7 + 2 * arm, 1.2), (1.3 + 2 * arm, 1.1),
            (flank + 0.13, 0.46), (flank, 0.6), (flank - 0.02, 1.0), (flank + 0.08, 1.6),
        ]  # fmt: skip
        fill(canvas, at, np.vstack([curve(half), (0.0, 1.6)]) * (s, 1), 1)
    depth = np.minimum(cv2.distanceTransform(canvas, cv2.DIST_L2, 3) * (6 / at.size), 1)
    inside = soft(canvas, 0.004)
    whole = inside * (0.25 + 0.09 * stout + 0.36 * np.sqrt(depth)) + 0.012 * texture(rng, at.size, 9)
    spine = bell(np.square((u - body.sway * v) / 0.14))
    whole += 0.1 * bell(u / 0.4) + spine * (0.04 + 0.05 * v + 0.018 * np.cos(v * (2 * np.pi / 0.085)))
    whole -= 0.11 * bell(np.square((u + 0.02) / 0.06)) * (1 - ramp(v, 0.3, 0.36))
    side = np.abs(u)
    if body.breasts:
        fold = ball((side - 0.62) / 0.5, (v - 0.74) / 0.27) * ramp(v, 0.5, 0.85) * ramp(side, 0.1, 0.5)
        whole += 0.22 * body.breasts * fold  # sharp below, where the breast folds; fading above
    whole += 0.06 * bell((side - 0.75) / 0.35) * bell((v - 0.25) / 0.2)
    whole += (0.1 + 0.08 * stout) * ramp(v, 0.86, 1.1)
    return np.asarray(whole * np.minimum(inside * 20, 1))


def bones(body: Body, at: Frame) -> Array:
    """Ribs, clavicles, scapulae and arms."""
    back, front, girdle = blank(at), blank(at), blank(at)
    for s in (-1, 1):
        for k in range(10):
            for canvas, line in zip((back, front), rib(body, k), strict=True):
                stroke(canvas, at, line * (s, 1), 150, 0.027)
                stroke(canvas, at, line * (s, 1), 100, 0.016)  # marrow lets more through than cortex
        out, b = body.shoulders, body.blades
        clavicle = curve([(0.12, 0.15), (0.35, 0.115), (0.6, out + 0.05), (0.85, out), (1.1, out - 0.03)])
        blade = curve([(b + 0.1, 0.0), (b - 0.02, 0.08), (b, 0.3), (b + 0.1, 0.52), (b + 0.3, 0.1)])
        humerus = curve([(1.26, 0.06), (1.38, 0.3), (1.4 + body.arms, 0.8)])
        fill(girdle, at, blade * (s, 1), 30)
        stroke(girdle, at, blade * (s, 1), 70, 0.008)
        stroke(girdle, at, humerus * (s, 1), 80, 0.07)
        stroke(girdle, at, humerus[:2] * (s, 1), 110, 0.1)
        stroke(girdle, at, clavicle * (s, 1), 150, 0.03)
        stroke(girdle, at, clavicle * (s, 1), 115, 0.02)
    side = np.abs(at.u)
    cage = back * ramp(side, 0.1, 0.45) + front * (0.8 * ramp(side, 0.3, 0.7))
    cage *= (1 - 0.65 * ramp(at.v, 0.85, 1.0)) * (1 - 0.45 * ramp(-at.inset, -0.06, 0.0))
    return soft(cage + girdle * ramp(side, 0.05, 0.25), 0.003) * np.float32(0.16 / 255)


def rib(body: Body, k: int) -> tuple[Array, Array]:
    """The k-th rib's posterior and anterior halves, as lines."""
    start = 0.03 + k * body.ribs
    drop = 0.2 + 0.02 * k
    angle = np.linspace(0.1, np.pi * 0.93, 24)
    v = start + drop * (1 - np.cos(angle)) / 2 - 0.025 * np.sin(2 * angle)
    reach = wall(start + drop / 2) + 0.02
    inner = np.where(angle < np.pi / 2, 0.08, 0.3 + 0.03 * k)
    u = inner + (reach - inner) * np.sin(angle) ** 0.9
    line, half = np.column_stack([u, v]), int(np.searchsorted(angle, np.pi / 2))
    return line[:half], line[half:]


def branches(rng: np.random.Generator, at: Frame) -> tuple[Array, Array]:
    """Grow a tree from both hila: pieces (N, 2, 2) in thorax coordinates, their widths (N,) in film sides."""
    side = np.repeat((-1.0, 1.0), 8)
    angle = np.tile((-1.4, -0.9, -0.3, 0.3, 0.7, 0.95, 1.2, 1.4), 2) + rng.normal(0, 0.15, 16)
    height = np.where(side < 0, 0.5, 0.46) + 0.07 * np.sin(angle) + rng.uniform(-0.03, 0.03, 16)
    tip = np.column_stack([rng.uniform(0.17, 0.25, 16), height])
    width, bend = rng.uniform(0.007, 0.012, 16) + 0.004 * (angle > 0.5), rng.normal(0, 0.13, 16)
    stride = 0.038 * at.size / np.linalg.norm(at.matrix[:, :2], axis=0)
    pieces, widths = [], []
    for _ in range(13):
        way = np.column_stack([np.cos(angle), np.sin(angle)]) * stride
        end = tip + rng.uniform(0.7, 1.2, (len(tip), 1)) * way
        pieces.append(np.stack([tip, end], axis=1) * np.stack([side, np.ones_like(side)], axis=1)[:, None])
        widths.append(width)
        u, v = end.T
        goes = (width > 0.0017) & (u < 0.97 * wall(v)) & (u > 0.12) & (v > 0.04)
        forks = goes & (rng.random(len(tip)) < 0.5)
        turn = rng.choice((-1, 1), len(tip)) * rng.uniform(0.4, 0.85, len(tip))
        bend = bend + rng.normal(0, 0.07, len(tip))
        angle = np.concatenate([(angle + bend)[goes], (angle + turn)[forks]])
        width = np.concatenate([0.84 * width[goes], 0.62 * width[forks]])
        side, tip = np.concatenate([side[goes], side[forks]]), np.concatenate([end[goes], end[forks]])
        bend = np.concatenate([bend[goes], rng.normal(0, 0.13, int(forks.sum()))])
    return np.concatenate(pieces), np.concatenate(widths)


def vessels(rng: np.random.Generator, at: Frame) -> Array:
    """Arteries and veins that leave both hila and branch, thinner and fainter each time."""
    canvas, (pieces, widths) = blank(at), branches(rng, at)
    for low, high in pairwise(np.geomspace(0.0008, 0.02, 12)):  # one call for all of a width; thick ones last
        lines = on_film(at, pieces[(widths >= low) & (widths < high)].reshape(-1, 2)).reshape(-1, 2, 2)
        value, thick = 255 * min(1.0, 0.15 + low / 0.011), max(1, round(low * at.size))
        cv2.polylines(canvas, list(lines), False, value, thick, cv2.LINE_AA, SUBPIXEL)
    hila = bell((np.abs(at.u) - 0.23) / 0.1) * bell((at.v - 0.49 - 0.02 * np.sign(-at.u)) / 0.085)
    return soft(canvas, 0.003) * np.float32(0.12 / 255) + 0.07 * hila


def scene(rng: np.random.Generator, body: Body, at: Frame) -> Scene:
    """Everything that is independent of the findings."""
    grain = rng.standard_normal((at.size, at.size), dtype=np.float32) * np.float32(rng.uniform(0.006, 0.018))
    mottle = 0.04 * texture(rng, at.size, 48) + 0.03 * texture(rng, at.size, 12)
    return Scene(
        fixed=tissue(rng, body, at) + bones(body, at) + grain,
        vessels=vessels(rng, at),
        lightness=np.float32(rng.uniform(0.4, 0.52)) * (1 + mottle),
    )


def air(body: Body, mask: Array, at: Frame, clear: Array) -> Array:
    """Share of air in each pixel: lungs times `clear`, and lung behind heart and diaphragm."""
    fields = ((mask == 1) | (mask == 2)).astype(np.uint8)
    lungs = soft(fields, 0.0035)
    beside = np.minimum(soft(fields, 0.04), 0.5) * (1 - lungs)
    behind = soft(mask == 3, 0.004) * 0.12 * ramp(-at.v, -body.domes[1], 0.15 - body.domes[1])
    return np.asarray(lungs * clear * (1 - 0.42 * np.exp(at.inset * -10)) + 0.22 * beside + behind)


def heart_shadow(body: Body, mask: Array, at: Frame) -> Array:
    """The heart's attenuation, fading towards the abdomen."""
    inside = (mask == 3).astype(np.uint8)
    depth = np.minimum(cv2.distanceTransform(inside, cv2.DIST_L2, 3) * (8 / at.size), 1)
    above = 1 - ramp(at.v, body.domes[1], body.domes[1] + 0.1)
    return np.asarray(soft(inside, 0.004) * (0.06 + 0.08 * depth) * above)


def develop(
    still: Scene, body: Body, at: Frame, mask: Array, clear: Array, exposure: Exposure, cover: Array
) -> Array:
    """The film, (size, size) uint8; `clear` is the share of the lungs' air that no finding has replaced."""
    filled = air(body, mask, at, clear)
    vessels = still.vessels
    if body.congestion:  # thicker, blurred, and as wide above the hila as below
        wide = soft(vessels, 0.007) * (1 + 0.8 * ramp(-at.v, -0.55, -0.35))
        vessels = vessels + body.congestion * (wide - 0.5 * vessels)
    shadow = still.fixed + heart_shadow(body, mask, at) - filled * (still.lightness - vessels)
    width, height = body.bubble
    if width:
        top = body.domes[1] - body.lift[1] + 0.03
        shadow -= 0.15 * ball((at.u - 0.55) / width, (at.v - top - height) / height)
    if exposure.sharpening:
        shadow += exposure.sharpening * (shadow - soft(shadow, 0.012))
    level = np.clip((shadow - exposure.low) / (exposure.high - exposure.low), 0, 1) ** exposure.gamma
    pixels = (level * 255 + 0.5).astype(np.uint8)
    return np.where(cover > 0, cover, pixels)


def settings(rng: np.random.Generator) -> Exposure:
    """Random darkness, contrast and sharpness of the film."""
    return Exposure(
        low=rng.uniform(-0.1, 0.12),
        high=rng.uniform(0.88, 1.2),
        gamma=rng.uniform(0.75, 1.35),
        sharpening=rng.uniform(0.2, 0.9) if rng.random() < 0.6 else 0.0,
    )


def cover(rng: np.random.Generator, at: Frame, view: str) -> Array:
    """Collimated borders and side markers, (size, size) uint8; 0 where the film is visible."""
    canvas, size = blank(at), at.size
    if rng.random() < 0.4:
        dark = 1 if rng.random() < 0.85 else 250
        left, right, top, bottom = (int(n) for n in rng.uniform(0, 0.035, 4) * size)
        canvas[:, :left] = canvas[:, size - right :] = canvas[:top] = canvas[size - bottom :] = dark
    if rng.random() < 0.7:
        letter, x = ("R", rng.uniform(0.05, 0.1)) if rng.random() < 0.5 else ("L", rng.uniform(0.88, 0.92))
        words = [letter, "AP"] if view == "AP" and rng.random() < 0.5 else [letter]
        y, letters = rng.uniform(0.1, 0.16), blank(at)
        for row, word in enumerate(words):
            corner = (int(x * size), int((y + 0.07 * row) * size))
            cv2.putText(letters, word, corner, cv2.FONT_HERSHEY_SIMPLEX, size / 450, 255, max(1, size // 200))
        canvas[letters > 127] = rng.integers(190, 256)
    return canvas
