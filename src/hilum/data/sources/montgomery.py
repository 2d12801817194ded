"""Montgomery County's tuberculosis set: PA films with a mask of each lung.

Source: Jaeger et al., Quant Imaging Med Surg 2014 (138 films, 58 with tuberculosis).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hilum.data.sources.jsrt import label_map
from hilum.data.sources.tuberculosis import films, sample
from hilum.reading.files import by_stem
from hilum.types import Listing

PUBLISHED = {"films": 138, "label Tuberculosis": 58, "label No Finding": 80, "with masks": 138}

_BOTH = frozenset({"right_lung", "left_lung"})


def listing(path: str) -> Listing:
    """The films of ``CXR_png/``, with ``ManualMask/leftMask/`` and ``rightMask/``, and the readings.

    Position decides which lung is the right one.
    """
    folder = Path(path)
    sides = [_sides(folder / "ManualMask" / name) for name in ("leftMask", "rightMask")]
    return Listing(
        samples=tuple(
            sample(
                stem,
                film,
                folder / "ClinicalReadings",
                partial(label_map, *(side[stem] for side in sides))
                if all(stem in s for s in sides)
                else None,
                _BOTH,
            )
            for stem, film in films(folder, "MCUCXR").items()
        ),
        published=PUBLISHED,
    )


def _sides(folder: Path) -> dict[str, Path]:
    return by_stem(folder, [".png"]) if folder.is_dir() else {}
