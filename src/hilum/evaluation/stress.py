"""Corruptions of films by hospitals, scanners and mistakes, each a function; for tests, not for training.

Every function takes a film (S, S) float32 in [0, 1], its label map (S, S) uint8 and a generator, and returns
both, changed. Strengths are a little beyond the point at which a radiologist would ask for a new film.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from hilum.augment import mirror, sided
from hilum.data.phantom_body import Frame, thorax, wall
from hilum.data.phantom_findings import reshape, veil
from hilum.types import Array

Pair = tuple[Array, Array]


def rotate(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Rotate by 10 to 20 degrees, either way."""
    return _affine(film, mask, angle=rng.choice([-1, 1]) * rng.uniform(10, 20))


def shift(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Shift by 15 % of the side, in any direction; what leaves the film is lost."""
    angle = rng.uniform(0, 2 * np.pi)
    return _affine(film, mask, move=0.15 * film.shape[0] * np.array([np.cos(angle), np.sin(angle)]))


def zoom(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Scale to 55 to 75 %, or to 120 to 135 %, of the size."""
    return _affine(
        film, mask, scale=rng.uniform(0.55, 0.75) if rng.random() < 0.5 else rng.uniform(1.2, 1.35)
    )


def gamma(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """A gamma of 0.35 or of 2.8."""
    return film ** np.float32(rng.choice([0.35, 2.8])), mask


def contrast(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Reduce the contrast to a fifth, in the dark or the bright range, rounded to 8 bits."""
    return np.rint((film / 5 + np.float32(rng.choice([0.0, 0.75]))) * 255) / np.float32(255), mask


def blur(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Blur with a Gaussian of 2 % of the side, as if the patient had moved."""
    del rng
    return np.asarray(cv2.GaussianBlur(film, (0, 0), 0.02 * film.shape[0])), mask


def noise(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Add noise of 12 % of the range, as of an underexposed film."""
    return np.clip(film + rng.normal(0, 0.12, film.shape).astype(np.float32), 0, 1), mask


def jpeg(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """JPEG at quality 20."""
    del rng
    coded = cv2.imencode(".jpg", np.rint(film * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.float32) / 255, mask


def invert(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Air bright: a MONOCHROME1 film that lost its header."""
    del rng
    return 1 - film, mask


def border(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Pad two opposite sides by 10 to 20 %, in black or white."""
    side = film.shape[0]
    pad = int(side * rng.uniform(0.1, 0.2))
    rows, columns = (pad, 0) if rng.random() < 0.5 else (0, pad)
    colour = float(rng.random() < 0.3)
    film = cv2.copyMakeBorder(film, rows, rows, columns, columns, cv2.BORDER_CONSTANT, value=colour)
    mask = cv2.copyMakeBorder(mask, rows, rows, columns, columns, cv2.BORDER_CONSTANT, value=0)
    return (
        np.asarray(cv2.resize(film, (side, side), interpolation=cv2.INTER_AREA)),
        np.asarray(cv2.resize(mask, (side, side), interpolation=cv2.INTER_NEAREST_EXACT)),
    )


def collimate(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Darken everything outside the mask's bounding box, with a margin of at most 1 %."""
    side = film.shape[0]
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return film, mask
    margin = int(side * rng.uniform(0, 0.01))
    top, left = max(0, rows.min() - margin), max(0, columns.min() - margin)
    inside = (slice(top, rows.max() + 1 + margin), slice(left, columns.max() + 1 + margin))
    dark = np.full_like(film, 0.02)
    dark[inside] = film[inside]
    return dark, mask


def letters(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Two lines burnt in, and a side marker over a lung where there is one."""
    side = film.shape[0]
    layer = np.zeros((side, side), np.uint8)
    thick = max(1, side // 128)
    places = [(0.03, 0.06, "ACC 0451178"), (0.55, 0.97, "PORTABLE 110 KV")]
    rows, columns = np.nonzero((mask > 0) & (mask != 3))
    if len(rows):
        i = rng.integers(len(rows))
        places.append((columns[i] / side, rows[i] / side, str(rng.choice(["L", "R"]))))
    for x, y, text in places:
        size = side / 250 if len(text) == 1 else side / 500
        place = (int(x * side), int(y * side))
        cv2.putText(layer, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, 255, thick, cv2.LINE_AA)
    return np.maximum(film, layer.astype(np.float32) / 255), mask


def misrange(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Take 12-bit values for 16-bit ones and cut them to 8 bits: dark, with 16 grey levels left."""
    del rng
    return np.floor(film * np.float32(4095 / 256)) / np.float32(255), mask


def mirrored(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Mirror the film if both lungs are known; their names stay with the sides of the picture."""
    del rng
    return mirror(film, mask) if sided(mask) else (film, mask)


def opaque(film: Array, mask: Array, rng: np.random.Generator) -> Pair:
    """Paint two or three dense opacities into the lungs: a phantom's consolidation, edema and effusion."""
    at = _frame(mask)
    if at is None:
        return film, mask
    clear = np.ones_like(film)
    kinds = ["Consolidation", "Edema", "Pleural Effusion"]
    for label in rng.choice(kinds, rng.integers(2, 4), replace=False):
        body = reshape(str(label), rng, thorax(rng, "M"))
        clear *= 1 - np.minimum(1.5 * veil(str(label), rng, body, at), 1)
    lungs = ((mask > 0) & (mask != 3)).astype(np.float32)
    share = (1 - np.clip(clear, 0, 1)) * cv2.GaussianBlur(lungs, (0, 0), 0.008 * film.shape[0])
    tissue = np.float32(np.quantile(film[lungs == 0], 0.75))
    return np.clip(film + share * np.maximum(tissue - film, 0), 0, 1).astype(np.float32), mask


STRESSES: dict[str, Callable[[Array, Array, np.random.Generator], Pair]] = {
    "rotation": rotate,
    "shift": shift,
    "zoom": zoom,
    "gamma": gamma,
    "contrast": contrast,
    "blur": blur,
    "noise": noise,
    "JPEG": jpeg,
    "inversion": invert,
    "border": border,
    "collimation": collimate,
    "letters": letters,
    "range": misrange,
    "mirror": mirrored,
    "opacity": opaque,
}


def _affine(
    film: Array, mask: Array, *, angle: float = 0.0, scale: float = 1.0, move: Array | None = None
) -> Pair:
    side = film.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, scale)
    if move is not None:
        matrix[:, 2] += move
    return (
        np.asarray(cv2.warpAffine(film, matrix, (side, side), flags=cv2.INTER_LINEAR)),
        np.asarray(cv2.warpAffine(mask, matrix, (side, side), flags=cv2.INTER_NEAREST)),
    )


def _frame(mask: Array) -> Frame | None:
    """A phantom's coordinates fitted to a real chest: the lungs' box is the thorax; None without lungs."""
    rows, columns = np.nonzero((mask > 0) & (mask != 3))
    if not len(rows):
        return None
    half, height = (np.ptp(columns) + 1) / 2, np.ptp(rows) + 1
    centre = float(columns.min() + half)
    y, x = np.indices(mask.shape, np.float32)
    u, v = np.asarray((x - centre) / half, np.float32), np.asarray((y - rows.min()) / height, np.float32)
    matrix = np.array([[half, 0, centre], [0, height, rows.min()]], np.float64)
    inset = np.asarray(wall(v) - np.abs(u), np.float32)
    return Frame(matrix=matrix, size=mask.shape[0], u=u, v=v, inset=inset)
