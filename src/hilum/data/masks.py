"""Read masks from files.

Name and content decide between three conventions: a label map with the film's name (0 none, 1 right lung, 2
left lung, 3 heart), a black-and-white map of both lungs with the film's name, or one named ``NAME_mask``.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from hilum.errors import DataError
from hilum.types import LUNG_OF_UNKNOWN_SIDE, STRUCTURES, Array

_RIM = 0.1  # of the pixels that are not 0: the most that one grey between has where a small map was resized
_TINT = 0.06  # of the range: the most that JPEG makes the colours of a grey pixel differ


def read_mask(path: Path) -> Array:
    """A mask file -> (H, W) uint8 label map in the values of ``Sample.masks``; raises DataError."""
    return mask_of(_content(path), str(path))


def mask_of(data: Array | bytes, path: str, *, highest: int = len(STRUCTURES)) -> Array:
    """The same from the bytes of a file; a label map has values up to `highest`."""
    coded = _decoded(data, path)
    largest, half = int(coded.max()), np.iinfo(coded.dtype).max // 2
    if largest <= highest:
        return np.asarray(coded, np.uint8)
    if largest <= half:
        raise DataError(f"{path}: values up to {largest}; write 1, 2, 3 for the structures, or 255 for lung")
    counts = np.bincount(coded.ravel(), minlength=largest + 1)
    if counts[largest // 5 : 4 * largest // 5].max() > _RIM * counts[1:].sum():
        raise DataError(
            f"{path}: grey values besides black and white; write 1, 2, 3 for the structures, or 255 for lung"
        )
    # Resized or JPEG-coded masks have greys between: the middle of the range decides.
    return sided(coded > half)


def _content(path: Path) -> Array:
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; check the path") from None


def _decoded(data: Array | bytes, path: str) -> Array:
    # Without ANYDEPTH, a 16-bit label map would lose its low bits, and so all labels.
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
    coded = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if len(data) else None
    if coded is None or coded.dtype.kind != "u":
        raise DataError(f"{path}: not an image of whole numbers; write masks as PNG")
    if coded.ndim == 2:
        return np.asarray(coded)
    if np.ptp(coded, axis=2).max() > _TINT * np.iinfo(coded.dtype).max:
        raise DataError(
            f"{path}: a colour image; write the numbers 1, 2, 3 for the structures, or 255 for lung"
        )
    return np.asarray(cv2.cvtColor(coded, cv2.COLOR_BGR2GRAY))


def shown(structures: frozenset[str], mask: Array) -> frozenset[str]:
    """What one film's label map shows, if its data set shows `structures`."""
    if (
        structures == {"lungs"}
        and {1, 2} <= set(np.unique(mask))
        and not (mask == LUNG_OF_UNKNOWN_SIDE).any()
    ):
        return frozenset({"right_lung", "left_lung"})
    return structures


def sided(lungs: Array) -> Array:
    """Both lungs (H, W) bool -> label map; of two separate parts, the image's left one is the right lung.

    Specks belong to the nearer lung. Lungs that touch, or lie one above the other, get the value for a lung
    of unknown side.
    """
    count, parts, stats, centres = cv2.connectedComponentsWithStats(lungs.astype(np.uint8), connectivity=4)
    unknown = np.where(lungs, np.uint8(LUNG_OF_UNKNOWN_SIDE), np.uint8(0))
    if count < 3:
        return unknown
    first, second = 1 + np.argsort(stats[1:, cv2.CC_STAT_AREA])[::-1][:2]
    areas = stats[[first, second], cv2.CC_STAT_AREA]
    apart = abs(centres[first][0] - centres[second][0]) > lungs.shape[1] / 8
    if areas[1] < 0.1 * lungs.sum() or areas.sum() < 0.97 * lungs.sum() or not apart:
        return unknown
    middle = (centres[first][0] + centres[second][0]) / 2
    value = np.where(centres[:, 0] < middle, 1, 2).astype(np.uint8)
    value[0] = 0
    return np.asarray(value[parts])


def structures_of(masks: list[Path]) -> frozenset[str]:
    """What the masks of a data set show, by a few of them; raises DataError for lungs without sides."""
    few = masks[:: max(1, len(masks) // 8)]
    values = {int(value) for path in few for value in np.unique(_decoded(_content(path), str(path)))}
    if max(values) > len(STRUCTURES):
        return frozenset({"lungs"})
    # A 0/1 map shows both lungs without sides; label maps have both sides in nearly every film.
    if values <= {0, 1}:
        raise DataError(
            f"{masks[0].parent}: masks hold only 0 and 1; write both lungs as 255, or sides as 1 and 2"
        )
    return frozenset(name for value, name in enumerate(STRUCTURES, 1) if value in values)
