"""Shenzhen's tuberculosis set: PA films, most of them with a mask of both lungs.

Sources: Jaeger et al., Quant Imaging Med Surg 2014 (662 films, 336 with tuberculosis); masks of 566 by
Stirenko et al., 2018.
"""

from __future__ import annotations

from pathlib import Path

from hilum.data.sources.rows import by_name
from hilum.data.sources.tuberculosis import films, sample
from hilum.types import Listing

PUBLISHED = {"films": 662, "label Tuberculosis": 336, "label No Finding": 326, "with masks": 566}


def listing(path: str) -> Listing:
    """The films of ``CXR_png/``, with the masks ``mask/NAME_mask.png`` that exist, and the readings."""
    folder = Path(path)
    place = folder / "mask"
    masks = by_name(place, [".png"]) if place.is_dir() else {}
    return Listing(
        samples=tuple(
            sample(
                stem, film, folder / "ClinicalReadings", masks.get(f"{stem}_mask.png"), frozenset({"lungs"})
            )
            for stem, film in films(folder, "CHNCXR").items()
        ),
        published=PUBLISHED,
    )
