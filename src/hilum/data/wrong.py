"""Films that the gate must refuse: turned, inverted, mirrored, cut, badly exposed, photographed.

Each kind is a pure function of a film (H, W) float32 in [0, 1] and a generator. It returns the changed
film, of the same range and any size. The gate's network is trained and tested on such films, because real
ones are not available in large numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from hilum.data.opened import pixels_of
from hilum.types import Array, Pixels, Sample

RIGHT = "frontal"
"""The label of a correct film."""

OTHER = "other"
"""The label of a picture that is no chest film."""

_DRAWN = 3  # wrong kinds of each film
_FINEST = 256  # pixels, at least, along the shorter side of a photographed screen


def turned(film: Array, rng: np.random.Generator) -> Array:
    """By 90 degrees, either way."""
    return np.ascontiguousarray(np.rot90(film, rng.choice([1, 3])))


def upside_down(film: Array, rng: np.random.Generator) -> Array:
    """By 180 degrees, or flipped top to bottom."""
    return np.ascontiguousarray(film[::-1, ::-1] if rng.random() < 0.7 else film[::-1])


def inverted(film: Array, rng: np.random.Generator) -> Array:
    """Air bright, as in a MONOCHROME1 film that lost its header."""
    del rng
    return 1 - film


def mirrored(film: Array, rng: np.random.Generator) -> Array:
    """As if seen from behind."""
    del rng
    return np.ascontiguousarray(film[:, ::-1])


def cropped(film: Array, rng: np.random.Generator) -> Array:
    """A lung or more missing: one side, the upper or the lower part, or a window of the film."""
    height, width = film.shape
    kind = rng.integers(4)
    rows, columns = 1.0, 1.0
    if kind == 0:
        columns = rng.uniform(0.35, 0.55)
    elif kind == 1:
        rows = rng.uniform(0.3, 0.45)
    else:
        rows, columns = rng.uniform(0.25, 0.5, 2)
    tall, wide = max(8, int(rows * height)), max(8, int(columns * width))
    # One side or one end, not the middle, which would show both lungs.
    top = rng.integers(0, height - tall + 1) if kind > 1 else rng.choice([0, height - tall])
    left = rng.integers(0, width - wide + 1) if kind > 1 else rng.choice([0, width - wide])
    return np.ascontiguousarray(film[top : top + tall, left : left + wide])


def overexposed(film: Array, rng: np.random.Generator) -> Array:
    """Most of the film black, or most of it white."""
    dark, level = rng.random() < 0.5, rng.uniform(0.6, 0.85)
    if dark:
        low = np.quantile(film, level)
        return np.asarray(np.clip((film - low) / max(1.02 - low, 0.05), 0, 1), np.float32)
    return np.asarray(np.clip(film / max(np.quantile(film, 1 - level), 0.02), 0, 1), np.float32)


def photographed(film: Array, rng: np.random.Generator) -> Array:
    """A photograph of a screen, its frame and its surroundings, at an angle, with stripes, glare and blur."""
    scale = max(1.0, _FINEST / min(film.shape))
    screen = cv2.resize(film, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    screen = _framed(screen, rng)
    height, width = screen.shape
    tall, wide = (int(side * rng.uniform(1.05, 1.5)) for side in (height, width))
    top, left = rng.uniform(0, tall - height), rng.uniform(0, wide - width)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    lean = rng.normal(0, 0.035, (4, 2)) * (width, height)
    matrix = cv2.getPerspectiveTransform(corners, np.float32(corners + np.array([left, top]) + lean))
    room = _room(tall, wide, rng)
    picture = cv2.warpPerspective(screen, matrix, (wide, tall))
    inside = cv2.warpPerspective(np.ones_like(screen), matrix, (wide, tall))
    return _taken(picture * inside + room * (1 - inside), rng)


def _framed(screen: Array, rng: np.random.Generator) -> Array:
    """The screen in its frame, sometimes with a menu bar."""
    if rng.random() < 0.4:
        bar = np.full((max(8, screen.shape[0] // 12), screen.shape[1]), rng.integers(25, 230), np.uint8)
        ink, place = 255 * int(bar[0, 0] < 128), (4, int(0.8 * len(bar)))
        cv2.putText(bar, "File  Edit  View  W/L", place, cv2.FONT_HERSHEY_SIMPLEX, len(bar) / 40, ink)
        screen = np.vstack([bar.astype(np.float32) / 255, screen])
    sides = (rng.uniform(0.01, 0.08, 4) * min(screen.shape)).astype(int)
    shade = rng.uniform(0, 0.25) if rng.random() < 0.7 else rng.uniform(0.5, 1)
    return np.asarray(_bordered(screen, sides, float(shade)))


def _room(height: int, width: int, rng: np.random.Generator) -> Array:
    """The surroundings of a screen: blurred patches, dark or light."""
    coarse = np.clip(rng.uniform(0, 0.8) + rng.normal(0, 0.15, (4, 4)), 0, 1).astype(np.float32)
    return np.asarray(np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1))


def _taken(picture: Array, rng: np.random.Generator) -> Array:
    """The effects of a camera: moiré stripes, glare, vignetting, blur, noise."""
    rows, columns = np.indices(picture.shape, np.float32) / min(picture.shape)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(6, 60)
    wave = np.sin(2 * np.pi * pitch * (rows * np.sin(angle) + columns * np.cos(angle)))
    picture = picture * (1 + np.float32(rng.uniform(0, 0.1)) * wave)
    if rng.random() < 0.6:
        y, x, size = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.05, 0.25)
        picture = picture + np.float32(rng.uniform(0.2, 0.7)) * np.exp(
            -((rows - y) ** 2 + (columns - x) ** 2) / size**2
        )
    picture = picture * (1 - np.float32(rng.uniform(0, 0.3)) * ((rows - 0.5) ** 2 + (columns - 0.5) ** 2))
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.5))
    picture = picture + rng.normal(0, rng.uniform(0.005, 0.03), picture.shape)
    return np.asarray(np.clip(picture, 0, 1), np.float32)


WRONG: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "turned": turned,
    "upside-down": upside_down,
    "inverted": inverted,
    "mirrored": mirrored,
    "cropped": cropped,
    "exposure": overexposed,
    "photograph": photographed,
}

KINDS = (RIGHT, *WRONG, OTHER)
"""The classes of the gate's network, one label each."""


def padded(film: Array, rng: np.random.Generator) -> Array:
    """A correct film with black or white borders, as if padded to a square, and less contrast."""
    sides = (rng.uniform(0, 0.15, 4) * np.repeat(film.shape, 2) * (rng.random(4) < 0.5)).astype(int)
    low, high = rng.uniform(0, 0.3), rng.uniform(0.7, 1)
    film = low + (high - low) * film ** np.float32(np.exp(rng.uniform(-0.4, 0.4)))
    shade = float(rng.random() < 0.2)
    return np.asarray(_bordered(film, sides, shade), np.float32)


def _bordered(film: Array, sides: Array, shade: float) -> Array:
    """Add borders of one grey; `sides` are pixels at the top, bottom, left and right."""
    top, bottom, left, right = sides.tolist()
    return np.asarray(cv2.copyMakeBorder(film, top, bottom, left, right, cv2.BORDER_CONSTANT, value=shade))


def samples(films: Sequence[Sample]) -> list[Sample]:
    """Each film unchanged, with harmless borders, and in some wrong kinds chosen by its name.

    Labels are KINDS, one of which is 1. Films of the label OTHER, as from `pictures`, stay unchanged.
    """
    return [changed for film in films for changed in _changed(film)]


def wrong(film: Sample, kind: str) -> Sample:
    """The film in one wrong kind; every call gives the same."""
    return _labelled(film, kind, partial(_made, film.image, kind, zlib.crc32(film.id.encode())))


def labelled(kind: str) -> dict[str, float]:
    """The labels of a film or picture of one kind."""
    return {name: float(name == kind) for name in KINDS}


def _changed(film: Sample) -> list[Sample]:
    if OTHER in film.labels:
        return [film]
    seed = zlib.crc32(film.id.encode())
    drawn = np.random.default_rng(seed).choice(list(WRONG), _DRAWN, replace=False).tolist()
    bordered = _labelled(film, RIGHT, partial(_made, film.image, "padded", seed))
    bare = replace(film, labels=labelled(RIGHT), masks=None, structures=frozenset())
    return [bare, replace(bordered, id=f"{film.id}+padded"), *(wrong(film, kind) for kind in drawn)]


def _labelled(film: Sample, kind: str, image: Pixels) -> Sample:
    return replace(
        film,
        id=f"{film.id}+{kind}",
        image=image,
        labels=labelled(kind),
        masks=None,
        structures=frozenset(),
    )


def _made(image: Pixels, kind: str, seed: int) -> Array:
    """The pixels of a film in one kind, float32 in [0, 1]."""
    change = padded if kind == "padded" else WRONG[kind]
    return change(pixels_of(image), np.random.default_rng([seed, *kind.encode()]))
