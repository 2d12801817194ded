"""Training-only changes of a film and, in step, of its mask; randomness is an argument.

A film to classify is never mirrored: that is another anatomy. A film to segment may be mirrored, because its
lungs are named by their side of the picture: the right lung is at the left, wherever the heart points.
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
    film, mask = geometry(film, mask, rng, strength=strength)
    return intensity(film, mask, rng, strength=strength)


def geometry(
    film: Array, mask: Array | None, rng: np.random.Generator, *, strength: float = 1.0
) -> tuple[Array, Array | None]:
    """The geometric changes of `augment` alone: rotation, scale, shear and shift."""
    return (film, mask) if strength == 0 else _warp(film, mask, rng, strength)


def intensity(
    film: Array, mask: Array | None, rng: np.random.Generator, *, strength: float = 1.0
) -> tuple[Array, Array | None]:
    """The grey-level changes of `augment` alone: tone, shade, noise, borders and markers."""
    if strength == 0:
        return film, mask
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


def few(
    film: Array, mask: Array | None, rng: np.random.Generator, *, strength: float = 1.0
) -> tuple[Array, Array | None]:
    """Two of the changes of `augment`, drawn for every film: (S, S) as there.

    The changes are those of radiographs, not of photographs; each is made with the probability `strength`.
    Source: RandAugment, Cubuk et al., NeurIPS 2020.
    """
    for kind in rng.integers(6, size=2):
        if rng.random() >= strength:
            continue
        if kind == 0:
            film, mask = _warp(film, mask, rng, strength)
        elif kind == 1:
            film = _tone(film, rng, strength)
        elif kind == 2:
            film = _shade(film, rng, strength)
        elif kind == 3:
            film = _degrade(film, rng, strength)
        elif kind == 4:
            film = _collimate(film, mask, rng)
        else:
            film = _letter(film, rng)
    return film, mask


CHANGES = {"general": augment, "geometry": geometry, "intensity": intensity, "few": few}
"""Recipes for a film and its mask, for every task."""


def view(film: Array, rng: np.random.Generator, *, strength: float = 1.0) -> Array:
    """A random crop of a film (S, S) float32 in [0, 1], 30 to 100 % of its area, scaled up and augmented."""
    side = film.shape[0]
    part = max(8, int(side * np.sqrt(rng.uniform(0.3, 1.0))))
    top, left = rng.integers(0, side - part + 1, 2)
    film = cv2.resize(film[top : top + part, left : left + part], (side, side))
    return augment(film, None, rng, strength=strength)[0]


def outlined(
    film: Array, mask: Array, rng: np.random.Generator, *, strength: float = 1.0
) -> tuple[Array, Array]:
    """`augment`, and more that helps segmentation at other hospitals: (S, S) float32 and uint8 as there.

    Bent shapes, mirrored chests, veiled lungs, other tone curves, inverted or coarsely quantised grey levels.
    """
    if strength == 0:
        return film, mask
    if rng.random() < 0.3 * strength and sided(mask):
        film, mask = mirror(film, mask)
    if rng.random() < 0.5 * strength:
        film, mask = _bend(film, mask, rng, strength)
    if rng.random() < 0.4 * strength:
        film = _veil(film, mask, rng)
    if rng.random() < 0.4 * strength:
        film = _recurve(film, rng)
    changed, followed = augment(film, mask, rng, strength=strength)
    assert followed is not None  # noqa: S101 - a mask was given, so one is returned
    if rng.random() < 0.1 * strength:
        levels = np.float32(rng.integers(12, 48))
        changed = np.floor(changed * levels) / levels
    if rng.random() < 0.1 * strength:
        changed = 1 - changed
    return changed, followed


def sided(mask: Array) -> bool:
    """Whether a label map shows both lungs or neither; a lung alone must not become the other one."""
    return bool((mask == 1).any() == (mask == 2).any())


def mirror(film: Array, mask: Array) -> tuple[Array, Array]:
    """The film seen from behind: left and right swap, in the picture and so in the lungs' names."""
    swapped = np.array([0, 2, 1, *range(3, 256)], np.uint8)
    return np.ascontiguousarray(film[:, ::-1]), swapped[mask[:, ::-1]]


def _bend(film: Array, mask: Array, rng: np.random.Generator, strength: float) -> tuple[Array, Array]:
    """A smooth displacement of some hundredths of the side."""
    side = film.shape[0]
    coarse = rng.normal(0, 0.015 * strength * side, (2, 5, 5)).astype(np.float32)
    shift = [cv2.resize(plane, (side, side), interpolation=cv2.INTER_CUBIC) for plane in coarse]
    rows, columns = np.indices((side, side), np.float32)
    where = columns + shift[0], rows + shift[1]
    film = cv2.remap(film, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return film, cv2.remap(mask, *where, cv2.INTER_NEAREST)


def _veil(film: Array, mask: Array, rng: np.random.Generator) -> Array:
    """Disease that hides lung: fluid from below, a patch, or one whole side, as bright as soft tissue."""
    side = film.shape[0]
    lungs = mask == rng.integers(1, 3) if rng.random() < 0.6 else (mask > 0) & (mask != 3)
    if not lungs.any():
        return film
    rows, columns = np.nonzero(lungs)
    top, bottom = rows.min(), rows.max() + 1
    y, x = np.ogrid[:side, :side]
    kind = rng.random()
    if kind < 0.4:
        level = bottom - rng.uniform(0.1, 0.8) * (bottom - top)
        tilt = rng.uniform(-0.3, 0.3)
        share = 1 / (
            1 + np.exp(-(y - level + tilt * (x - columns.mean())) / (side * rng.uniform(0.005, 0.05)))
        )
    elif kind < 0.8:
        share = np.zeros((side, side))
        for _ in range(rng.integers(1, 5)):
            i = rng.integers(len(rows))
            height, width = rng.uniform(0.03, 0.2, 2) * side
            share = np.maximum(
                share, np.exp(-(((y - rows[i]) / height) ** 2) - ((x - columns[i]) / width) ** 2)
            )
    else:
        share = np.ones((side, side))
    soft = cv2.GaussianBlur(lungs.astype(np.float32), (0, 0), side * rng.uniform(0.004, 0.03))
    share = (share * soft * rng.uniform(0.4, 1.0)).astype(np.float32)
    # About as bright as what surrounds the lungs, and never flat.
    tissue = float(np.quantile(film[~lungs], rng.uniform(0.5, 0.9)))
    grain = cv2.resize(rng.normal(0, 0.05, (32, 32)).astype(np.float32), (side, side))
    return np.asarray(np.clip(film + share * np.maximum(tissue + grain - film, 0), 0, 1))


def _recurve(film: Array, rng: np.random.Generator) -> Array:
    """The characteristic curve of another film: monotone, through (0, 0) and (1, 1)."""
    knots = np.cumsum(rng.dirichlet(np.full(6, 1.5)))
    return np.asarray(np.interp(film, np.linspace(0, 1, 7), np.concatenate([[0], knots])), np.float32)


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
    """Gamma, and sometimes local contrast as the processing of hospitals makes it."""
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
    """One of: lost resolution, noise, JPEG blocks."""
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
    """A black or white border, up to 10 % of each side, that covers nothing a mask shows."""
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
    """A burned-in side marker near a random border, so that no letter reveals the source."""
    side = film.shape[0]
    layer = np.zeros((side, side), np.uint8)
    place = (int(rng.uniform(0.02, 0.85) * side), int(rng.choice([rng.uniform(0.08, 0.2), 0.95]) * side))
    text = str(rng.choice(["L", "R", "AP", "PA", "PORT"]))
    cv2.putText(
        layer, text, place, cv2.FONT_HERSHEY_SIMPLEX, side / 400, 255, max(1, side // 160), cv2.LINE_AA
    )
    return np.maximum(film, layer.astype(np.float32) / 255)
