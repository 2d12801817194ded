"""Films with outlines: folders ``images/`` and ``masks/``.

Three conventions are told apart by name and content: a label map of the film's own name (0 none, 1 right
lung, 2 left lung, 3 heart), a black-and-white map of both lungs of the same name, or one named ``NAME_mask``.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from hilum.errors import DataError
from hilum.files import by_stem
from hilum.types import LUNG_OF_UNKNOWN_SIDE, STRUCTURES, Array, Sample


def samples(path: str) -> list[Sample]:
    """One sample for each film with a mask; each film counts as a patient of its own."""
    folder = Path(path)
    images, masks = by_stem(folder / "images"), by_stem(folder / "masks")
    pairs = {stem: masks.get(f"{stem}_mask", masks.get(stem)) for stem in images}
    found = [(stem, mask) for stem, mask in pairs.items() if mask is not None]
    if not found:
        raise DataError(f"{folder}: no mask bears a film's name; name it NAME.png or NAME_mask.png in masks/")
    structures = _structures([mask for _, mask in found])
    site = folder.resolve().name
    return [
        Sample(
            id=f"{site}:{stem}",
            patient=f"{site}:{stem}",
            image=images[stem],
            masks=mask,
            structures=structures,
            site=site,
        )
        for stem, mask in found
    ]


def read_mask(path: Path) -> Array:
    """A mask file -> (H, W) uint8 label map in the values of ``Sample.masks``; raises DataError."""
    # Without ANYDEPTH a 16-bit label map would lose its low bits, and with them all of its labels.
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
    coded = cv2.imdecode(np.fromfile(path, np.uint8), flags) if path.stat().st_size else None
    if coded is None or coded.dtype.kind != "u":
        raise DataError(f"{path}: not an image of whole numbers; write masks as PNG")
    highest, half = int(coded.max()), np.iinfo(coded.dtype).max // 2
    if highest <= len(STRUCTURES):
        return np.asarray(coded, np.uint8)
    if highest <= half:
        raise DataError(f"{path}: values up to {highest}; write 1, 2, 3 for the structures, or 255 for lung")
    # Resized or JPEG-coded masks have greys between: half way decides.
    return np.where(coded > half, LUNG_OF_UNKNOWN_SIDE, 0).astype(np.uint8)


def _structures(masks: list[Path]) -> frozenset[str]:
    """What the masks show, from a few of them; a data set holds to one convention."""
    values = {
        int(value) for path in masks[:: max(1, len(masks) // 8)] for value in np.unique(read_mask(path))
    }
    if LUNG_OF_UNKNOWN_SIDE in values:
        return frozenset({"lungs"})
    # A 0/1 map shows both lungs without their sides; a label map has both sides in nearly every film.
    if values <= {0, 1}:
        raise DataError(
            f"{masks[0].parent}: masks hold only 0 and 1; write both lungs as 255, or sides as 1 and 2"
        )
    return frozenset(name for value, name in enumerate(STRUCTURES, 1) if value in values)
