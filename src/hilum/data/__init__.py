"""Data sets by name: ``KIND:PATH`` -> samples, without opening a film."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hilum.config import expand
from hilum.data import folder, masks, nih, phantom, pictures, table, wrong
from hilum.errors import DataError
from hilum.types import Sample

KINDS: dict[str, Callable[[str], list[Sample]]] = {
    "nih": nih.samples,  # a folder with images/ and NIH ChestX-ray14's csv
    "masks": masks.samples,  # a folder with images/ and masks/
    "folder": folder.samples,  # one sub-folder a class
    "csv": table.samples,  # a csv file: path, labels, optionally patient, sex, age, view, site
    "phantom": phantom.samples,  # COUNT or COUNT@SEED generated films
    "pictures": pictures.samples,  # COUNT or COUNT@SEED pictures that are no chest films
    "gate": lambda name: wrong.samples(open_data(name)),  # another data set, as it is and in wrong kinds
}


def open_data(name: str) -> list[Sample]:
    """The samples of one data set ``KIND:PATH``; raises DataError or ConfigError with the remedy."""
    kind, colon, path = expand(name).partition(":")
    if not colon or kind not in KINDS:
        raise DataError(f"{name!r}: not a data set; write KIND:PATH with KIND one of {', '.join(KINDS)}")
    samples = KINDS[kind](path)
    if not samples:
        raise DataError(f"{name}: no films found; check the path")
    return samples


def join(parts: Sequence[Sequence[Sample]]) -> list[Sample]:
    """All samples of several data sets; of an NIH film that stands in more than one, the first is taken.

    NIH's names tell films apart wherever they lie. Elsewhere an equal name says nothing, so two data sets
    whose folders share their name raise DataError before one could hide the other's films.
    """
    seen: dict[str, Sample] = {}
    for samples in parts:
        for sample in samples:
            if sample.id in seen and sample.site != nih.SITE:
                raise DataError(f"{sample.id}: stands in two data sets; rename one's folder, or give it once")
            seen.setdefault(sample.id, sample)
    return list(seen.values())


def short(name: str) -> str:
    """A data set's name without the path before its last folder, for cards and tables."""
    kind, _, path = name.partition(":")
    return f"{kind}:{Path(path).resolve().name}"
