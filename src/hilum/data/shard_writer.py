"""Write samples as WebDataset shards, for `hilum.data.sources.shards` and other readers."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hilum.data.cache import sweep
from hilum.data.opened import masks_of, pixels_of, stamp
from hilum.data.png import png
from hilum.errors import DataError, HilumError
from hilum.prepare import fit, fit_mask
from hilum.reading.reader import read
from hilum.store import write_whole
from hilum.types import Sample, Tick


def write(
    samples: Sequence[Sample], out: Path, *, films: int = 1000, size: int = 0, tick: Tick | None = None
) -> dict[str, str]:
    """Write samples as shards ``out/films-00000.tar``..., `films` in each.

    Films are stored as the original files, headers included; films without a file as PNG that keeps their
    grey levels; with `size`, all as 8-bit PNG of that side. Masks keep their values, labels may be UNCERTAIN.
    A shard appears whole or not at all. A note beside it says what it holds, so that a killed run can resume.
    Raises DataError for shards there of other films or another size, and for those of a longer run. Returns
    why some films cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    _check_rest(out, math.ceil(len(samples) / films))
    sweep(out, r"\.films-\d{5}\.tar-\w+")
    failures: dict[str, str] = {}
    for number, start in enumerate(range(0, len(samples), films)):
        part, place = samples[start : start + films], out / f"films-{number:05d}.tar"
        asked, note = _asked(part, size), place.with_suffix(".json")
        if place.is_file():
            failures |= _kept(place, note, asked)
            continue
        handle, draft = tempfile.mkstemp(prefix=f".{place.name}-", dir=out)
        lost = {}
        try:
            with os.fdopen(handle, "wb") as file:
                with tarfile.open(fileobj=file, mode="w") as tar:
                    for i, sample in enumerate(part, start):
                        try:
                            _add(tar, f"{i:08d}", sample, size)
                        except HilumError as error:
                            lost[sample.id] = str(error)
                        if tick:
                            tick(i + 1, len(samples), place.name)
                file.flush()
                os.fsync(file.fileno())
            # Before the shard: a shard without a note would be of unknown content.
            write_whole(note, json.dumps({"asked": asked, "failures": lost}))
            Path(draft).chmod(0o644)
            Path(draft).replace(place)
        finally:
            Path(draft).unlink(missing_ok=True)
        failures |= lost
    return failures


def _check_rest(out: Path, count: int) -> None:
    """Raise DataError for a shard whose number is not below `count`: it is of another run."""
    for place in sorted(out.glob("films-*.tar")):
        number = re.fullmatch(r"films-(\d{5,})", place.stem)
        if number and int(number[1]) >= count:
            raise _foreign(place)


def _foreign(place: Path) -> DataError:
    return DataError(f"{place}: holds other films, or of another size; remove it, or choose another folder")


def _asked(part: Sequence[Sample], size: int) -> str:
    """Hash of the intended content of a shard."""
    digest = hashlib.sha256(str(size).encode())
    for sample in part:
        told = json.dumps(_about(sample), sort_keys=True)
        digest.update(f"\n{sample.id} {stamp(sample.image)} {stamp(sample.masks)} {told}".encode())
    return digest.hexdigest()


def _kept(place: Path, note: Path, asked: str) -> dict[str, str]:
    """The failures when a shard was written; raises DataError if it does not hold what is wanted."""
    try:
        said = json.loads(note.read_text(encoding="utf-8"))
        if said["asked"] == asked:
            failures: dict[str, str] = said["failures"]
            return failures
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise _foreign(place)


def _add(tar: tarfile.TarFile, key: str, sample: Sample, size: int) -> None:
    about = _about(sample)
    if isinstance(sample.image, Path) and not size:
        ending = sample.image.suffix.lower().removeprefix(".")
        known = ("png", "jpg", "jpeg", "tif", "tiff")
        members = {ending if ending in known else "dcm": _content(sample.image)}
    else:
        film = pixels_of(sample.image)
        coarse = np.rint(255 * (fit(film, size) if size else film)).astype(np.uint8)
        if size or np.allclose(film * 255, coarse, atol=1e-3):
            members = {"png": png(coarse)}
        else:
            members = {"png": png(np.rint(65535 * film).astype(np.uint16))}
    if sample.masks is not None:
        mask = masks_of(sample.masks)
        members["mask.png"] = png(fit_mask(mask, size) if size else mask)
    members["json"] = json.dumps(about).encode()
    for ending, data in members.items():
        info = tarfile.TarInfo(f"{key}.{ending}")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def _content(path: Path) -> bytes:
    """The bytes of a film's file; raises a HilumError if they cannot be read as a film."""
    try:
        if not path.is_file():
            raise DataError(f"{path}: no such file, or not a regular one; check the path")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; check the path and the disk") from None
    read(data, name=str(path))
    return data


def _about(sample: Sample) -> dict[str, Any]:
    """The facts about a film, for its JSON."""
    boxes = sample.boxes() if callable(sample.boxes) else sample.boxes
    about = {
        "labels": {name: None if math.isnan(value) else value for name, value in sample.labels.items()},
        "structures": sorted(sample.structures) or None,
        "published": sample.published or None,
        "boxes": {name: [list(box) for box in some] for name, some in boxes.items()} if boxes else None,
        **{
            name: getattr(sample, name)
            for name in ("id", "patient", "study", "site", "sex", "age", "view", "part")
        },
    }
    return {name: value for name, value in about.items() if value is not None}
