"""JSRT's films with and without a lung nodule, and the SCR outlines of lungs and heart.

Sources: Shiraishi et al., AJR 2000 (247 PA films of 247 patients, 154 with a nodule, 0.175 mm a pixel); van
Ginneken et al., Med Image Anal 2006 (outlines at 1024 x 1024, in fold1 and fold2). The films are raw: 2048 x
2048 big-endian words of 12 bits that store air bright.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from hilum.data.sources.rows import by_name, sex_of, years_of
from hilum.errors import DataError
from hilum.types import STRUCTURES, Array, Box, Listing, Sample

SITE = "jsrt"

PUBLISHED = {"films": 247, "label Nodule": 154, "with masks": 247}

SIDE = 2048  # pixels
_HIGHEST = 4095  # of 12 bits
_PIXEL = 0.175  # mm
_NAME = re.compile(r"JPC([LN])N\d{3}")


def listing(path: str) -> Listing:
    """The films below a folder, as .IMG or as PNG, with the SCR outlines that lie there too.

    Nodule is 1 or 0 by the film's name. No Finding is 0 if there is a nodule, and else unknown, because
    readers looked only for nodules. CLNDAT_EN.txt and CNNDAT_EN.txt give sexes, ages and the nodules' boxes.
    """
    folder = Path(path)
    masks, about = _masks(folder), _clinical(folder)
    samples = []
    for name, file in sorted(_films(folder).items()):
        nodule = name.startswith("JPCL")
        sex, age, box = about.get(name, (None, None, None))
        outlines = masks.get(name)
        samples.append(
            Sample(
                id=f"{SITE}:{name}",
                patient=f"{SITE}:{name}",
                image=partial(raw, file) if file.suffix.lower() == ".img" else file,
                labels={"Nodule": float(nodule), "No Finding": 0.0 if nodule else float("nan")},
                masks=partial(label_map, *outlines) if outlines else None,
                structures=frozenset(STRUCTURES) if outlines else frozenset(),
                boxes={"Nodule": (box,)} if box and nodule else None,
                site=SITE,
                published=True,
                sex=sex,
                age=age,
                view="PA",
            )
        )
    return Listing(samples=tuple(samples), published=PUBLISHED)


def raw(path: Path) -> Array:
    """The pixels of an .IMG file, (2048, 2048) float32 in [0, 1], air dark; raises DataError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; check the path") from None
    if len(data) != 2 * SIDE * SIDE:
        raise DataError(f"{path}: {len(data)} bytes, not {2 * SIDE * SIDE}; download it again")
    words = np.frombuffer(data, ">u2").reshape(SIDE, SIDE)
    if words.max() > _HIGHEST:
        raise DataError(f"{path}: values up to {words.max()}, above 12 bits; download it again")
    return np.asarray(1 - words.astype(np.float32) / _HIGHEST, np.float32)


def label_map(one_lung: Path, other_lung: Path, heart: Path | None = None) -> Array:
    """Outlines -> (H, W) uint8: 1 right lung, 2 left lung, 3 heart; raises DataError.

    Position decides which lung is the right one, not the file's name: it is on the image's left.
    """
    lungs = sorted((_shape(path) for path in (one_lung, other_lung)), key=_across)
    if lungs[0].shape != lungs[1].shape:
        raise DataError(f"{one_lung}: not of the size of {other_lung}; unpack the outlines again")
    found = lungs[0].astype(np.uint8)
    found[lungs[1]] = 2
    if heart is not None:
        found[_shape(heart)] = 3
    return found


def _shape(path: Path) -> Array:
    """An outline (H, W) bool; the SCR outlines are GIF files."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L")) > 127
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: no picture ({type(error).__name__}); unpack the outlines again") from None


def _across(shape: Array) -> float:
    """The mean column of a shape; -1 for an empty one."""
    columns = np.flatnonzero(shape.any(axis=0))
    return float(columns.mean()) if columns.size else -1.0


def _films(folder: Path) -> dict[str, Path]:
    """File stem -> film; raw films come before PNG. Outlines, which have the same names, are skipped."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the folder that holds JSRT's films")
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("JPC*"), key=lambda file: (file.suffix.lower() == ".img", str(file))):
        named = _NAME.fullmatch(file.stem) and file.suffix.lower() in (".img", ".png")
        if named and not _is_outline(file.relative_to(folder)):
            found[file.stem] = file
    return found


def _is_outline(file: Path) -> bool:
    return any(part == "masks" or re.fullmatch(r"fold\d", part) for part in file.parts)


def _masks(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Film -> its outlines, in the order of STRUCTURES, if all three are there."""
    found: list[dict[str, Path]] = []
    for name in STRUCTURES:
        places = [*folder.rglob(f"masks/{name.replace('_', ' ')}"), *folder.rglob(f"masks/{name}")]
        files = [by_name(place, [".gif", ".png"]) for place in places]
        found.append({Path(one).stem: path for place in files for one, path in place.items()})
    complete = set(found[0]) & set(found[1]) & set(found[2])
    return {name: tuple(shapes[name] for shapes in found) for name in complete}


def _clinical(folder: Path) -> dict[str, tuple[str | None, float | None, Box | None]]:
    """Film -> sex, age and the nodule's box, from the makers' two texts.

    With a nodule: film, subtlety, size in mm, age, sex, x, y, ..., separated by tabs; without: film, age,
    sex, ..., separated by spaces. Lines may end in a lone carriage return.
    """
    found: dict[str, tuple[str | None, float | None, Box | None]] = {}
    for file in sorted([*folder.rglob("C[LN]NDAT_EN.[tT][xX][tT]")]):
        for line, text in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            cells = [cell.strip() for cell in text.split("\t")] if "\t" in text else text.split() or [""]
            name = cells[0].partition(".")[0].upper()
            if not _NAME.fullmatch(name):
                continue
            with_nodule = file.name.upper().startswith("CLN")
            if len(cells) < (7 if with_nodule else 3):
                raise DataError(f"{file}, line {line}: too few cells; download it again")
            age, sex = cells[3:5] if with_nodule else cells[1:3]
            found[name] = sex_of(sex), years_of(age), _box(cells) if with_nodule else None
    return found


def _box(cells: list[str]) -> Box | None:
    """A box around the nodule, of its size; None if the table has no numbers."""
    try:
        size, x, y = float(cells[2]) / _PIXEL, float(cells[5]), float(cells[6])
    except ValueError:
        return None
    return ((x - size / 2) / SIDE, (y - size / 2) / SIDE, size / SIDE, size / SIDE)
