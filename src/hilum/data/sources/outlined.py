"""Films with masks: folders ``images/`` and ``masks/``.

Masks follow one of the conventions of `hilum.data.masks`.
"""

from __future__ import annotations

from pathlib import Path

from hilum.data.masks import structures_of
from hilum.errors import DataError
from hilum.reading.files import by_stem
from hilum.types import Sample


def samples(path: str) -> list[Sample]:
    """One sample for each film with a mask; each film counts as its own patient."""
    folder = Path(path)
    images, masks = by_stem(folder / "images"), by_stem(folder / "masks")
    pairs = {stem: masks.get(f"{stem}_mask", masks.get(stem)) for stem in images}
    found = [(stem, mask) for stem, mask in pairs.items() if mask is not None]
    if not found:
        raise DataError(f"{folder}: no mask has a film's name; name it NAME.png or NAME_mask.png in masks/")
    structures = structures_of([mask for _, mask in found])
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
