"""COVID-QU-Ex: films of three classes with a mask of both lungs.

Source: Tahir et al., Comput Biol Med 2021 (33,920 films: 11,956 COVID-19, 11,263 other pneumonia, 10,701
normal; 256 x 256). Collected from many other data sets, some of which Hilum reads too; patients are unknown.
"""

from __future__ import annotations

from pathlib import Path

from hilum.data.sources.rows import by_name
from hilum.errors import DataError
from hilum.types import Listing, Sample

SITE = "covidqu"

PUBLISHED = {
    "films": 33_920,
    "label COVID-19": 11_956,
    "label Pneumonia": 11_263,
    "label No Finding": 10_701,
}

_PARTS = {"Train": "train", "Val": "tune", "Test": "test"}
# "Non-COVID" is viral or bacterial pneumonia. Whether a COVID-19 film shows pneumonia is not said.
_CLASSES = {
    "COVID-19": {"COVID-19": 1.0, "Pneumonia": float("nan"), "No Finding": 0.0},
    "Non-COVID": {"COVID-19": 0.0, "Pneumonia": 1.0, "No Finding": 0.0},
    "Normal": {"COVID-19": 0.0, "Pneumonia": 0.0, "No Finding": 1.0},
}
_FOLDER = "Lung Segmentation Data"


def listing(path: str) -> Listing:
    """The films of ``PART/CLASS/images/`` that have a mask in ``PART/CLASS/lung masks/``.

    `path` is the folder of the parts, or one above it. The data of infected areas are not read; their films
    are among these.
    """
    folder = Path(path)
    while (folder / _FOLDER).is_dir():
        folder = folder / _FOLDER
    places = [
        (part, name, folder / part / name)
        for part in _PARTS
        for name in _CLASSES
        if (folder / part / name).is_dir()
    ]
    if not places:
        raise DataError(f"{folder}: no Train/COVID-19/images/; give the folder {_FOLDER!r}")
    samples, bare = [], 0
    for part, name, place in places:
        masks = by_name(place / "lung masks", [".png"])
        for file, film in by_name(place / "images", [".png"]).items():
            if file not in masks:
                bare += 1
                continue
            own = f"{SITE}:{part}/{name}/{Path(file).stem}"
            samples.append(
                Sample(
                    id=own,
                    patient=own,
                    image=film,
                    labels=_CLASSES[name],
                    masks=masks[file],
                    structures=frozenset({"lungs"}),
                    site=SITE,
                    part=_PARTS[part],
                )
            )
    return Listing(samples=tuple(samples), passed_over={"no mask": bare}, published=PUBLISHED)
