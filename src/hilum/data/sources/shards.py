"""Films in WebDataset shards (`hilum.reading.shards`) as samples.

``KEY.json`` may hold facts about a film, as `hilum.data.shard_writer` writes them: id, patient, labels, site,
sex, age, view, official part, study, boxes and what the mask shows.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from hilum.data.masks import mask_of
from hilum.errors import DataError
from hilum.labels import CONCLUDED, UNCERTAIN, canonical
from hilum.reading.reader import read
from hilum.reading.shards import Entry, Shard, cut, entries, plain, shards
from hilum.types import LUNG_OF_UNKNOWN_SIDE, STRUCTURES, Array, Listing, Sample

_TEXTS = ("site", "sex", "view", "part")


def listing(path: str) -> Listing:
    """One sample a film of a folder of ``*.tar``, of one shard, or of shards ``films-{00000..00012}.tar``.

    Each may be a URL that fsspec supports (s3, gs, https, ...). Only the shards' headings are read now, films
    when they are opened.
    """
    found: dict[str, Sample] = {}
    for shard in shards(path):
        films, fault = entries(shard)
        if fault is not None:
            raise fault
        for film in films:
            sample = _sample(shard, film)
            if sample.id in found:
                raise DataError(
                    f"{plain(shard)}: {sample.id} stands there twice, or in an earlier shard; keep one"
                )
            found[sample.id] = sample
    return Listing(samples=tuple(found.values()))


def _sample(shard: Shard, one: Entry) -> Sample:
    about, where = one.about, f"{plain(shard)}, {one.key}.json"
    told: dict[str, Any] = {name: about.get(name) for name in (*_TEXTS, "id", "patient", "study")}
    shown = about.get("structures") or [*STRUCTURES]
    if any(value is not None and not isinstance(value, str) for value in told.values()) or not (
        isinstance(shown, list) and set(shown) <= {*STRUCTURES, "lungs"}
    ):
        raise DataError(f"{where}: names are texts, structures a list of them; correct it")
    here = shard.resolve() if isinstance(shard, Path) else PurePosixPath(plain(shard))
    site = told.pop("site") or here.parent.name
    name = told.pop("id") or f"{site}:{one.key}"
    return Sample(
        id=name,
        patient=told.pop("patient") or name,
        image=partial(_film, shard, one.name, *one.film),
        masks=partial(_mask, shard, one.name, *one.mask) if one.mask else None,
        structures=frozenset(shown) if one.mask else frozenset(),
        site=site,
        published=about.get("published") is True,
        **_numbers(where, about),
        **told,
    )


def _numbers(where: str, about: dict[str, Any]) -> dict[str, Any]:
    """Labels, age and boxes, checked."""
    try:
        labels = {
            canonical(name): math.nan if value is None else float(value)
            for name, value in dict(about.get("labels") or {}).items()
        }
        boxes = {
            canonical(name): tuple((float(x), float(y), float(w), float(h)) for x, y, w, h in some)
            for name, some in dict(about.get("boxes") or {}).items()
        }
        age = None if about.get("age") is None else float(about["age"])
    except (TypeError, ValueError, OverflowError, AttributeError):
        labels, boxes, age = {"": 2.0}, {}, None
    if len(labels) < len(about.get("labels") or ()):
        raise DataError(f"{where}: two spellings of one label; keep one of them")
    marks = (UNCERTAIN, CONCLUDED)
    if not all(math.isnan(value) or value in marks or 0 <= value <= 1 for value in labels.values()):
        raise DataError(
            f"{where}: labels are 0, 1, {UNCERTAIN:g} (uncertain) or null, age a number; correct it"
        )
    return {"labels": labels, "boxes": boxes or None, "age": age}


def _film(shard: Shard, name: str, start: int, size: int) -> Array:
    return read(cut(shard, start, size), name=f"{plain(shard)}, {name}").pixels


def _mask(shard: Shard, name: str, start: int, size: int) -> Array:
    where = f"{plain(shard)}, mask of {name}"
    return mask_of(cut(shard, start, size), where, highest=LUNG_OF_UNKNOWN_SIDE)
