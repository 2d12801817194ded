"""Training-only changes of a film, its mask kept in step; randomness is an argument.

No flips: a mirrored chest is another anatomy, and the sides carry meaning.
"""

from __future__ import annotations

import cv2
import numpy as np

from hilum.types import Array


def augment(
    film: Array, mask: Array | None, rng: np.random.Generator, *, strength: float = 1.0
) -> tuple[Array, Array | None]:
    """A changed copy of a film (S, S) float32 in [0, 1] and of its label map (S, S) uint8.

    `strength` 1 is meant for masks and small sets, 0.5 for large ones; 0 changes nothing.
    """
    if strength == 0:
        return film, mask
    film, mask = _warp(film, mask, rng, strength)
    film = _tone(film, rng, strength)
    if rng.random() < 0.5 * strength:
        film = _shade(film, rng, strength)
    if rng.random() < 0.5 * strength:
        film = _degrade(film, rng, strength)
    if rng.random() < 0.2 * strength:
        film = _collimate(film, mask, rng)
    if rng.random() < 0.2 * strength:
        film = _letter(film, rng)
    return film, mask


def _warp(
    film: Array, mask: Array | None, rng: np.random.Generator, strength: float
) -> tuple[Array, Array | None]:
    """Rotation to 15 degrees, zoom and aspect to 20 %, shear, shift to 8 %, at strength 1."""
    side = film.shape[0]
    angle = np.deg2rad(rng.uniform(-15, 15) * strength)
    zoom = np.exp(rng.uniform(-0.2, 0.2) * strength)
    aspect = np.exp(rng.uniform(-0.1, 0.1) * strength)
    shear = rng.uniform(-0.08, 0.08) * strength
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, shear], [0, 1]])
    linear = linear @ np.diag([zoom * aspect, zoom / aspect])
    centre = np.full(2, (side - 1) / 2)
    shift = rng.uniform(-0.08, 0.08, 2) * strength * side
    matrix = np.column_stack([linear, centre - linear @ centre + shift])
    film = cv2.warpAffine(film, matrix, (side, side), flags=cv2.INTER_LINEAR)
    if mask is not None:
        mask = cv2.warpAffine(mask, matrix, (side, side), flags=cv2.INTER_NEAREST)
    return film, mask


def _tone(film: Array, rng: np.random.Generator, strength: float) -> Array:
    """Gamma, and at times local contrast as hospitals' own processing makes it."""
    film = np.power(np.clip(film, 0, 1), np.float32(np.exp(rng.uniform(-0.6, 0.6) * strength)))
    if rng.random() < 0.25 * strength:
        clahe = cv2.createCLAHE(clipLimit=float(rng.uniform(1, 4)), tileGridSize=(8, 8))
        film = clahe.apply((film * 255).astype(np.uint8)).astype(np.float32) / 255
    return film


def _shade(film: Array, rng: np.random.Generator, strength: float) -> Array:
    """Smooth brightness patches: opaque lungs, uneven exposure."""
    side = film.shape[0]
    coarse = rng.normal(0, 0.25 * strength, (4, 4)).astype(np.float32)
    return np.asarray(np.clip(film + cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1))


def _degrade(film: Array, rng: np.random.Generator, strength: float) -> Array:
    """Lost resolution, noise or JPEG blocks: one of them."""
    kind = rng.integers(3)
    if kind == 0:
        side = film.shape[0]
        small = int(side * rng.uniform(0.4, 0.9))
        film = cv2.resize(film, (small, small), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(film, (side, side), interpolation=cv2.INTER_LINEAR))
    if kind == 1:
        noise = rng.normal(0, rng.uniform(0.005, 0.05) * strength, film.shape)
        return np.asarray(np.clip(film + noise.astype(np.float32), 0, 1))
    quality = int(rng.integers(20, 80))
    coded = cv2.imencode(".jpg", (film * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.float32) / 255


def _collimate(film: Array, mask: Array | None, rng: np.random.Generator) -> Array:
    """A black or white border outside the exposed field, to 10 % of each side; anatomy is not cut off."""
    side = film.shape[0]
    top, bottom, left, right = (int(side * share) for share in rng.uniform(0, 0.1, 4))
    if mask is not None and mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        top, bottom = min(top, rows[0]), min(bottom, side - 1 - rows[-1])
        left, right = min(left, columns[0]), min(right, side - 1 - columns[-1])
    bordered = np.full_like(film, float(rng.random() < 0.2))
    inside = (slice(top, side - bottom), slice(left, side - right))
    bordered[inside] = film[inside]
    return bordered


def _letter(film: Array, rng: np.random.Generator) -> Array:
    """A burnt-in side marker, anywhere near a border, so that no letter tells the source."""
    side = film.shape[0]
    layer = np.zeros((side, side), np.uint8)
    place = (int(rng.uniform(0.02, 0.85) * side), int(rng.choice([rng.uniform(0.08, 0.2), 0.95]) * side))
    text = str(rng.choice(["L", "R", "AP", "PA", "PORT"]))
    cv2.putText(
        layer, text, place, cv2.FONT_HERSHEY_SIMPLEX, side / 400, 255, max(1, side // 160), cv2.LINE_AA
    )
    return np.maximum(film, layer.astype(np.float32) / 255)
