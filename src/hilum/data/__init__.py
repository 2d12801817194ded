"""Data sets by name: ``KIND:PATH``, or several joined by +, -> samples; no film is opened."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from hilum.config import expand
from hilum.data import phantom, pictures, wrong
from hilum.data.sources import (
    brax,
    chexpert,
    covidqu,
    darwin,
    dicom,
    folder,
    jsrt,
    lungmasks,
    mimic,
    montgomery,
    nih,
    openi,
    outlined,
    padchest,
    rsna,
    shards,
    shenzhen,
    table,
    vindr,
)
from hilum.errors import DataError
from hilum.labels import Policy, settle
from hilum.reading.shards import plain
from hilum.types import Listing, Sample


def _whole(samples: Callable[[str], list[Sample]]) -> Callable[[str], Listing]:
    """The listing of a kind without a table and without published figures."""
    return lambda path: Listing(samples=tuple(samples(path)))


KINDS: dict[str, Callable[[str], Listing]] = {
    "nih": nih.listing,  # NIH ChestX-ray14: images/ and its csv
    "chexpert": chexpert.listing,  # CheXpert or CheXpert Plus: the folder, or one of its tables
    "mimic": mimic.listing,  # MIMIC-CXR-JPG: the folder, or one of its tables of labels
    "padchest": padchest.listing,
    "vindr": vindr.listing,  # VinDr-CXR
    "rsna": rsna.listing,  # RSNA Pneumonia Detection Challenge
    "openi": openi.listing,  # Indiana University
    "brax": brax.listing,
    "jsrt": jsrt.listing,  # with the SCR outlines
    "montgomery": montgomery.listing,
    "shenzhen": shenzhen.listing,
    "lungmasks": lungmasks.listing,  # "Chest Xray Masks and Labels"
    "darwin": darwin.listing,  # V7 Darwin's polygons
    "covidqu": covidqu.listing,  # COVID-QU-Ex
    "dicom": dicom.listing,  # a folder of DICOM studies
    "masks": _whole(outlined.samples),  # a folder with images/ and masks/
    "folder": folder.listing,  # one sub-folder a class
    "shards": shards.listing,  # WebDataset's tar files, in a folder or behind a URL
    "csv": _whole(table.samples),  # a csv file: path, labels, optionally patient, sex, age, view, site
    "phantom": _whole(phantom.samples),  # COUNT or COUNT@SEED generated films
    "pictures": _whole(pictures.samples),  # COUNT or COUNT@SEED pictures that are no chest films
    # The films of another data set, unchanged and in wrong kinds.
    "gate": _whole(lambda name: wrong.samples(open_data(name))),
}


def open_data(
    name: str,
    *,
    uncertain: Policy | Mapping[str, Policy] = "ignore",
    unmentioned: Literal["ignore", "zero"] = "ignore",
) -> list[Sample]:
    """The samples of a data set ``KIND:PATH``, or of several joined by +, with labels settled.

    `uncertain` and `unmentioned` are as in `hilum.labels.settle`; by default such labels are unknown (NaN).
    Raises DataError or ConfigError with the remedy.
    """
    return settled(listing(name).samples, uncertain=uncertain, unmentioned=unmentioned)


def listing(name: str) -> Listing:
    """What a data set holds and lacks, with labels not settled. Raises DataError or ConfigError."""
    return together([_listing(one) for one in _parts(expand(name))])


def _listing(name: str) -> Listing:
    kind, colon, path = name.partition(":")
    if not colon or kind not in KINDS:
        kinds = ", ".join(KINDS)
        raise DataError(
            f"{name!r}: not a data set; write KIND:PATH, as in csv:ours.csv; KIND is one of {kinds}"
        )
    found = KINDS[kind](os.path.expanduser(path))  # noqa: PTH111 - it may be a URL
    if not found.samples:
        lacking = f", {len(found.missing)} that its table lists are missing" if found.missing else ""
        raise DataError(f"{name}: no films found{lacking}; check the path")
    seen: set[str] = set()
    for sample in found.samples:
        if sample.id in seen:
            raise DataError(f"{name}: {sample.id} stands there twice; keep one row, or one file, of it")
        seen.add(sample.id)
        # Tables, splits and caches are UTF-8.
        if not (told := f"{sample.id}{sample.patient}").isascii() and re.search("[\ud800-\udfff]", told):
            raise DataError(f"{name}: {sample.id!r} is not a name in UTF-8; rename the file or folder")
    return found


def _parts(name: str) -> list[str]:
    """The data sets of a name; a + separates them only before a kind and its colon."""
    return re.split(rf"\+(?=(?:{'|'.join(KINDS)}):)", name)


def settled(
    samples: Sequence[Sample],
    *,
    uncertain: Policy | Mapping[str, Policy] = "ignore",
    unmentioned: Literal["ignore", "zero"] = "ignore",
) -> list[Sample]:
    """The samples with the policies for uncertain and unmentioned labels applied."""
    found = []
    for sample in samples:
        labels = settle(sample.labels, sample.id, uncertain, unmentioned)
        found.append(sample if labels is sample.labels else replace(sample, labels=labels))
    return found


def together(parts: Sequence[Listing]) -> Listing:
    """Several listings as one; published figures are kept only if all listings share them."""
    if len(parts) == 1:
        return parts[0]
    passed_over: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    for part in parts:
        passed_over.update(part.passed_over)
        notes.update(part.notes)
    same = all(part.published == parts[0].published for part in parts)
    return Listing(
        samples=tuple(join([part.samples for part in parts])),
        missing=tuple(film for part in parts for film in part.missing),
        unlisted=tuple(film for part in parts for film in part.unlisted),
        passed_over=passed_over,
        notes=notes,
        patients=frozenset(patient for part in parts for patient in part.patients),
        published=parts[0].published if parts and same else {},
    )


def join(parts: Sequence[Sequence[Sample]]) -> list[Sample]:
    """All samples of several data sets; of a published film that stands in several, the first is taken.

    An equal name means an equal film only if both films are `published`. Other equal names say nothing: they
    raise DataError, so that two folders of one name cannot hide each other's films.
    """
    seen: dict[str, Sample] = {}
    for samples in parts:
        for sample in samples:
            first = seen.setdefault(sample.id, sample)
            if first is not sample and not (first.published and sample.published):
                raise DataError(f"{sample.id}: stands in two data sets; rename one's folder, or give it once")
    return list(seen.values())


def short(name: str) -> str:
    """A data set's name with only the last folder of its path, for cards and tables."""
    parts = []
    for one in _parts(name):
        kind, _, path = one.partition(":")
        last = PurePosixPath(plain(path)) if "://" in path else Path(path).resolve()
        parts.append(f"{kind}:{last.name}")
    return "+".join(parts)
