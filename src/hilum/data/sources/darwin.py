"""Films with V7 Darwin's polygons and tags in one JSON a film, such as V7's COVID-19 chest films.

Source: V7's page of that data set (6,500 films; lungs *with* what lies behind the heart, unlike the SCR
convention; laterals and CT slices have no polygons). Both editions of the format are read: 1.0 with
``image`` and ``path``, 2.0 with ``item`` and ``paths``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hilum.data.masks import sided
from hilum.data.sources.rows import by_name
from hilum.errors import DataError
from hilum.labels import canonical
from hilum.types import STRUCTURES, Array, Listing, Sample

_LUNGS = ("lung", "lungs")
_PNEUMONIA = re.compile(r"pneumonia", re.IGNORECASE)
_HEALTHY = ("no pneumonia (healthy)", "no finding")
_MOST = 2**27  # pixels of a film
_FURTHEST = 2**20  # pixels from a film's corner
_AGAIN = "export it from Darwin again"


def listing(path: str) -> Listing:
    """The films with polygons of lungs or heart; films without, such as laterals, are skipped.

    Labels are COVID-19, Pneumonia and No Finding, from the tags: any kind of pneumonia is 1, and "No
    Pneumonia (healthy)" is no finding. A film without such tags has no labels. Each film counts as a patient.
    """
    folder = Path(path)
    films = by_name(folder, [".png", ".jpg", ".jpeg"])
    notes = [(file, _read(file)) for _, file in sorted(by_name(folder, [".json"]).items())]
    notes = [(file, note) for file, note in notes if "annotations" in note]
    if not notes:
        raise DataError(f"{folder}: no JSON with annotations; put Darwin's export there")
    site = folder.resolve().name
    samples, missing, bare = [], [], 0
    for file, note in notes:
        name, shown = _name(file, note), _structures(note)
        if not shown:
            bare += 1
        elif name not in films:
            missing.append(name)
        else:
            samples.append(
                Sample(
                    id=f"{site}:{Path(name).stem}",
                    patient=f"{site}:{Path(name).stem}",
                    image=films[name],
                    labels=_labels(note),
                    masks=partial(drawn, file),
                    structures=shown,
                    site=site,
                )
            )
    return Listing(
        samples=tuple(samples),
        missing=tuple(missing),
        unlisted=tuple(sorted(films.keys() - {_name(file, note) for file, note in notes})),
        passed_over={"no polygon": bare},
    )


def drawn(file: Path) -> Array:
    """The polygons of a film as (H, W) uint8, in the values of ``Sample.masks``; raises DataError."""
    note = _read(file)
    if "annotations" not in note:
        raise DataError(f"{file}: the annotations are gone; {_AGAIN}")
    width, height = _size(file, note)
    found = np.zeros((height, width), np.uint8)
    for name, paths in _polygons(note):
        if name in STRUCTURES:
            found[_filled(paths, height, width)] = 1 + STRUCTURES.index(name)
    both = [_filled(paths, height, width) for name, paths in _polygons(note) if name in _LUNGS]
    if both:
        lungs = np.any(both, axis=0)
        found = np.where(lungs & (found == 0), sided(lungs), found)
    return np.asarray(found, np.uint8)


def _read(file: Path) -> dict[str, Any]:
    """The annotations' JSON, or {} for other JSON; raises DataError if it is damaged."""
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: no JSON ({error}); {_AGAIN}") from None
    if not isinstance(note, dict) or "annotations" not in note:
        return {}
    try:
        for _, paths in _polygons(note):
            _points(paths)
        _labels(note)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise DataError(f"{file}: an annotation is damaged; {_AGAIN}") from None
    return note


def _name(file: Path, note: Mapping[str, Any]) -> str:
    """The film's file name; the older format may have the original name beside the stored one."""
    about = note.get("image") or note.get("item")
    name = (about.get("filename") or about.get("name")) if isinstance(about, dict) else None
    if not isinstance(name, str):
        raise DataError(f"{file}: names no film; {_AGAIN}")
    return Path(name).name


def _size(file: Path, note: Mapping[str, Any]) -> tuple[int, int]:
    try:
        about = note.get("image") or note["item"]["slots"][0]
        width, height = int(about["width"]), int(about["height"])
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        width = height = 0
    if not (width > 0 and height > 0 and width * height <= _MOST):
        raise DataError(f"{file}: no width and height of the film; {_AGAIN}")
    return width, height


def _polygons(note: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """The name of each polygon, in lower case with ``_``, and its paths."""
    found = []
    for one in note["annotations"]:
        shape = one.get("polygon") or one.get("complex_polygon")
        if shape:
            paths = shape.get("paths") or shape["path"]
            nested = paths if paths and isinstance(paths[0], list) else [paths]
            name = "_".join(str(one.get("name", "")).lower().split())
            found.append((name, [*nested, *(shape.get("additional_paths") or ())]))
    return found


def _structures(note: Mapping[str, Any]) -> frozenset[str]:
    names = {name for name, _ in _polygons(note)}
    return frozenset({*(names & {*STRUCTURES}), *({"lungs"} if names & {*_LUNGS} else ())})


def _filled(paths: list[Any], height: int, width: int) -> Array:
    """Where the polygon of one annotation lies, (H, W) bool; a path within another is a hole."""
    found = np.zeros((height, width), np.uint8)
    cv2.fillPoly(found, _points(paths), 1)
    return found.astype(bool)


def _points(paths: list[Any]) -> list[Array]:
    """The corners of each path, (N, 2) int32; raises a built-in error for an invalid point."""
    found = [np.array([[float(point["x"]), float(point["y"])] for point in path]) for path in paths if path]
    if not all((np.abs(path) < _FURTHEST).all() for path in found):
        raise ValueError("a point beyond any film")
    return [np.rint(path).astype(np.int32) for path in found]


def _labels(note: Mapping[str, Any]) -> dict[str, float]:
    tags = {str(one.get("name", "")) for one in note["annotations"] if "tag" in one}
    healthy = any(tag.lower() in _HEALTHY for tag in tags)
    covid = any(canonical(tag) == "COVID-19" for tag in tags)
    pneumonia = any(_PNEUMONIA.search(tag) and tag.lower() not in _HEALTHY for tag in tags)
    if not (healthy or covid or pneumonia):
        return {}
    return {"COVID-19": float(covid), "Pneumonia": float(pneumonia), "No Finding": float(healthy)}
