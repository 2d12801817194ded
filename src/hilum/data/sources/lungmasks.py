"""Kaggle's "Chest Xray Masks and Labels": Montgomery's and Shenzhen's films together, with one mask each.

Layout: ``CXR_png/`` (800 films), ``masks/`` (704; NAME.png for Montgomery's, NAME_mask.png for
Shenzhen's), ``ClinicalReadings/``; ``test/`` repeats films without masks. The films, patients and sites are
those of the kinds ``montgomery`` and ``shenzhen``: give one or the other.
"""

from __future__ import annotations

from pathlib import Path

from hilum.data.sources.rows import by_name
from hilum.data.sources.tuberculosis import films, sample
from hilum.types import Listing

PUBLISHED = {"films listed": 800, "films": 704}


def listing(path: str) -> Listing:
    """The films with a mask; others are skipped. `path` may be the folder or the one above."""
    folder = Path(path)
    if (folder / "Lung Segmentation").is_dir():
        folder = folder / "Lung Segmentation"
    masks = by_name(folder / "masks", [".png"])
    pairs = [
        (stem, film, masks.get(f"{stem}_mask.png", masks.get(f"{stem}.png")))
        for stem, film in films(folder).items()
    ]
    return Listing(
        samples=tuple(
            sample(stem, film, folder / "ClinicalReadings", mask, frozenset({"lungs"}))
            for stem, film, mask in pairs
            if mask is not None
        ),
        passed_over={"no mask": sum(mask is None for _, _, mask in pairs)},
        published=PUBLISHED,
    )
