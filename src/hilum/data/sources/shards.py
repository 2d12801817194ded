"""Films in WebDataset shards: tar files of films and JSON, on a disk or behind a URL.

A film ``KEY`` is the members ``KEY.png`` (or jpg, jpeg, tif, tiff, dcm), ``KEY.json`` with what is known of
it, and ``KEY.mask.png`` where it has a mask. `write` keeps ids, patients, labels, site, sex, age, view,
official part and what the mask shows; JSON of other makers may hold any of these.
Source: the WebDataset format, github.com/webdataset/webdataset.
"""

from __future__ import annotations

import io
import json
import math
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

import cv2
import numpy as np

from hilum.data.cache import Tick, pixels_of
from hilum.data.masks import mask_of, read_mask
from hilum.errors import DataError, HilumError, MissingExtraError
from hilum.labels import canonical
from hilum.prepare import fit, fit_mask
from hilum.read import read
from hilum.types import STRUCTURES, Array, Listing, Sample

_FILMS = ("png", "jpg", "jpeg", "tif", "tiff", "dcm")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_PLACE = tuple[int, int]  # of a member in its shard: first byte, and bytes


def listing(path: str) -> Listing:
    """One sample a film of a folder of ``*.tar``, of one shard, or of shards ``films-{00000..00012}.tar``.

    Either may be a URL of a kind that fsspec knows (s3, gs, https, ...). Headings are read, and films when
    they are opened.
    """
    found: dict[str, Sample] = {}
    for shard in _shards(path):
        for sample in _listed(shard):
            if sample.id in found:
                raise DataError(f"{shard}: {sample.id} stands in an earlier shard; keep one of them")
            found[sample.id] = sample
    return Listing(samples=tuple(found.values()))


def _shards(path: str) -> list[str]:
    """Paths or URLs of the shards that a name stands for."""
    if several := _RANGE.search(path):
        first, last = several.groups()
        numbers = range(int(first), int(last) + 1)
        return [path.replace(several[0], str(number).zfill(len(first))) for number in numbers]
    if "://" in path or path.endswith(".tar"):
        return [path]
    shards = sorted(Path(path).glob("*.tar"))
    if not shards:
        raise DataError(
            f"{path}: no *.tar there; give a folder of shards, one of them, or name-{{000..012}}.tar"
        )
    return [str(shard) for shard in shards]


@dataclass(slots=True)
class _Members:
    """What a shard holds under one key."""

    film: _PLACE | None = None
    name: str = ""  # of the film's member
    mask: _PLACE | None = None
    about: dict[str, Any] = field(default_factory=dict)


def _listed(shard: str) -> Iterator[Sample]:
    members: dict[str, _Members] = {}
    try:
        with _opened(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                if not info.isfile():
                    continue
                path = PurePosixPath(info.name)
                stem, _, ending = path.name.partition(".")
                one = members.setdefault(str(path.with_name(stem)), _Members())
                if ending == "json":
                    one.about = _json(shard, info, tar)
                elif ending == "mask.png":
                    one.mask = info.offset_data, info.size
                elif ending.lower() in _FILMS:
                    one.film, one.name = (info.offset_data, info.size), info.name
    except (OSError, tarfile.TarError, EOFError) as error:
        raise DataError(f"{shard}: no tar file, or one cut short ({error}); fetch it again") from None
    for key, one in members.items():
        if one.film is not None:
            yield _sample(shard, key, one)


def _json(shard: str, info: tarfile.TarInfo, tar: tarfile.TarFile) -> dict[str, Any]:
    member = tar.extractfile(info)
    try:
        about = json.loads(member.read()) if member else {}
    except ValueError:
        about = None
    if not isinstance(about, dict):
        raise DataError(f"{shard}, {info.name}: not a JSON object; write one film's facts as one")
    return about


def _sample(shard: str, key: str, one: _Members) -> Sample:
    about = one.about
    site = str(about.get("site") or PurePosixPath(shard).parent.name)
    name = str(about.get("id") or f"{site}:{key}")
    try:
        age = about.get("age")
        return Sample(
            id=name,
            patient=str(about.get("patient") or name),
            image=partial(_film, shard, one.name, *one.film),  # type: ignore[misc]
            masks=partial(_mask, shard, one.name, *one.mask) if one.mask else None,
            structures=frozenset(about.get("structures") or STRUCTURES) if one.mask else frozenset(),
            labels=_labels(about.get("labels") or {}),
            site=site,
            sex=about.get("sex"),
            age=None if age is None else float(age),
            view=about.get("view"),
            part=about.get("part"),
        )
    except (TypeError, ValueError, AttributeError):
        raise DataError(
            f"{shard}, {key}.json: labels are a table of 0, 1 or null, age a number; mend it"
        ) from None


def _labels(given: dict[str, float | None]) -> dict[str, float]:
    return {canonical(label): math.nan if value is None else float(value) for label, value in given.items()}


def _film(shard: str, name: str, start: int, size: int) -> Array:
    try:
        return read(_bytes(shard, start, size)).pixels
    except HilumError as error:
        raise DataError(f"{shard}, {name}: {error}") from None


def _mask(shard: str, name: str, start: int, size: int) -> Array:
    return mask_of(_bytes(shard, start, size), f"{shard}, mask of {name}")


def _bytes(shard: str, start: int, size: int) -> bytes:
    with _opened(shard) as file:
        file.seek(start)
        data = file.read(size)
    if len(data) < size:
        raise DataError(f"{shard}: ends too early; fetch it again")
    return data


@contextmanager
def _opened(shard: str) -> Iterator[IO[bytes]]:
    if "://" not in shard:
        with Path(shard).open("rb") as file:
            yield file
        return
    try:
        import fsspec
    except ModuleNotFoundError:
        raise MissingExtraError("films behind a URL", "train") from None
    try:
        with fsspec.open(shard, "rb") as file:
            yield file
    except (ImportError, ValueError) as error:
        raise DataError(f"{shard}: {error}") from None


def write(
    samples: Sequence[Sample], out: Path, *, films: int = 1000, size: int = 0, tick: Tick | None = None
) -> dict[str, str]:
    """Write samples as shards ``out/films-00000.tar``..., so many films a shard.

    Films go in as their files are, headers included, or as 8-bit PNG of side `size`; masks keep their values.
    A shard appears whole or not at all, and one that is there is not written again, so that a killed run goes
    on. Returns why some films cannot be read. Raises DataError where the folder holds other films.
    """
    out.mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    for number, start in enumerate(range(0, len(samples), films)):
        part, place = samples[start : start + films], out / f"films-{number:05d}.tar"
        if place.is_file():
            _same(place, part)
            continue
        draft = place.with_suffix(".part")
        with tarfile.open(draft, "w") as tar:
            for i, sample in enumerate(part, start):
                try:
                    _add(tar, f"{i:08d}", sample, size)
                except HilumError as error:
                    failures[sample.id] = str(error)
                if tick:
                    tick(i + 1, len(samples), place.name)
        draft.replace(place)
    return failures


def _same(place: Path, part: Sequence[Sample]) -> None:
    """Raise DataError where a shard holds other films than those that would be written to it."""
    if not {sample.id for sample in _listed(str(place))} <= {sample.id for sample in part}:
        raise DataError(f"{place}: holds other films; choose another folder")


def _add(tar: tarfile.TarFile, key: str, sample: Sample, size: int) -> None:
    if isinstance(sample.image, Path) and not size:
        read(sample.image)  # a shard holds what can be read
        ending = sample.image.suffix.lower().removeprefix(".")
        members = {ending if ending in _FILMS else "dcm": sample.image.read_bytes()}
    else:
        film = pixels_of(sample.image)
        members = {"png": _png(np.rint(255 * (fit(film, size) if size else film)).astype(np.uint8))}
    if sample.masks is not None:
        mask = sample.masks() if callable(sample.masks) else read_mask(sample.masks)
        members["mask.png"] = _png(fit_mask(mask, size) if size else mask)
    about = {
        "id": sample.id,
        "patient": sample.patient,
        "labels": {name: None if math.isnan(value) else value for name, value in sample.labels.items()},
        "structures": sorted(sample.structures) or None,
        **{name: getattr(sample, name) for name in ("site", "sex", "age", "view", "part")},
    }
    members["json"] = json.dumps({name: value for name, value in about.items() if value is not None}).encode()
    for ending, data in members.items():
        info = tarfile.TarInfo(f"{key}.{ending}")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def _png(image: Array) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])
