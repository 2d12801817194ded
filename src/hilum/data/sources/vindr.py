"""VinDr-CXR: DICOM films of two Vietnamese hospitals, each read by several radiologists.

Source: Nguyen et al., Sci Data 2022 (18,000 PA films: 15,000 to train, read by three radiologists each, and
3,000 to test, with the consensus of five). A label of a training film, "No finding" included, is 1 if
more than half of its readers gave it. Patients are unknown: each film counts as one. Kaggle's
"VinBigData Chest X-ray Abnormalities Detection" has the training films with fourteen of the findings, and the
others without labels.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from hilum.data.sources.header import Header, headers
from hilum.data.sources.rows import number, rows, value
from hilum.errors import DataError
from hilum.labels import NO_FINDING, canonical
from hilum.reading.files import by_stem
from hilum.types import Box, Listing, Sample

SITE = "vindr"

PUBLISHED = {"films": 18_000}

_PARTS = ("train", "test")
_BOX = ("x_min", "y_min", "x_max", "y_max")  # pixels of the film
_NOT_LABELS = ("image_id", "rad_id")
_READERS = 3  # of each training film; Kaggle's table may lack readers who saw nothing

_Corners = tuple[float, float, float, float]
_Labels = dict[str, dict[str, float]]  # film -> label -> value
_Boxes = dict[str, dict[str, list[_Corners]]]  # film -> label -> boxes in pixels


def listing(path: str) -> Listing:
    """The films of ``train/`` and ``test/``, with the tables of ``annotations/`` or of the folder itself.

    Boxes are those of all readers, for the labels that most of them gave. Without those tables, train.csv
    is read as Kaggle's.
    """
    folder = Path(path)
    parts = _tables(folder / "annotations" if (folder / "annotations").is_dir() else folder)
    films = {
        name: film
        for part in _PARTS
        if (folder / part).is_dir()
        for name, film in by_stem(folder / part, [".dicom", ".dcm"]).items()
    }
    said = [
        (part, name, labels, boxes.get(name, {}))
        for part, found, boxes in parts
        for name, labels in found.items()
    ]
    there = [row for row in said if row[1] in films]
    told = headers([films[name] for _, name, *_ in there])
    return Listing(
        samples=tuple(
            _sample(films[name], part, labels, boxes, header)
            for (part, name, labels, boxes), header in zip(there, told, strict=True)
        ),
        missing=tuple(f"{part}/{name}" for part, name, *_ in said if name not in films),
        unlisted=tuple(sorted(films.keys() - {name for _, name, *_ in said})),
        published=PUBLISHED,
    )


def _tables(place: Path) -> list[tuple[str, _Labels, _Boxes]]:
    """Each part that a folder has a table of, its films' labels and their boxes; raises DataError."""
    files = [(part, place / f"image_labels_{part}.csv") for part in _PARTS]
    found = [
        (part, _voted(file), _corners(place / f"annotations_{part}.csv"))
        for part, file in files
        if file.is_file()
    ]
    kaggles = place / "train.csv"
    if not found and kaggles.is_file():
        return [("train", _drawn(kaggles), _corners(kaggles))]
    if not found:
        raise DataError(f"{place}: no image_labels_train.csv; put VinDr-CXR's tables there")
    return found


def _voted(file: Path) -> _Labels:
    """Film -> its labels, 1 if more than half of the readers say so."""
    votes: _Labels = {}
    readers: dict[str, int] = defaultdict(int)
    for line, row in rows(file, ("image_id", "No finding"), None, whose="VinDr-CXR"):
        film = votes.setdefault(row["image_id"], {})
        readers[row["image_id"]] += 1
        for name, text in row.items():
            if name not in _NOT_LABELS:
                label = canonical(name)
                # A blank cell means that the reader did not see the finding.
                film[label] = film.get(label, 0.0) + (value(text, file, line, name) == 1)
    return {
        name: {label: float(count > readers[name] / 2) for label, count in film.items()}
        for name, film in votes.items()
    }


def _drawn(file: Path) -> _Labels:
    """Film -> its labels by Kaggle's table: a finding is 1 if more than half of the readers drew it.

    No Finding is 1 if more than half say so, 0 if as many drew any finding, and else unknown.
    """
    seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for _, row in rows(file, ("image_id", "class_name", "rad_id"), whose="VinBigData's challenge"):
        seen[row["image_id"]][canonical(row["class_name"])].add(row["rad_id"])
    names = sorted({NO_FINDING, *(label for own in seen.values() for label in own)})
    found = {}
    for film, own in seen.items():
        found[film] = {label: float(len(own.get(label, ())) > _READERS / 2) for label in names}
        ill = {reader for label, readers in own.items() if label != NO_FINDING for reader in readers}
        if not found[film][NO_FINDING] and len(ill) < _READERS / 2:
            found[film][NO_FINDING] = math.nan
    return found


def _corners(file: Path) -> _Boxes:
    """Film -> label -> boxes in pixels; a row of a film without findings has no numbers."""
    found: _Boxes = defaultdict(lambda: defaultdict(list))
    if file.is_file():
        for line, row in rows(file, ("image_id", "class_name", *_BOX), whose="VinDr-CXR"):
            if row["x_min"]:
                left, top, right, bottom = (number(row[name], file, line, name) for name in _BOX)
                found[row["image_id"]][canonical(row["class_name"])].append((left, top, right, bottom))
    return found


def _sample(
    film: Path,
    part: str,
    labels: dict[str, float],
    corners: dict[str, list[_Corners]],
    header: Header | None,
) -> Sample:
    height, width = header.size if header else (0, 0)
    boxes: dict[str, tuple[Box, ...]] = {
        label: tuple(
            (x / width, y / height, (right - x) / width, (low - y) / height) for x, y, right, low in own
        )
        for label, own in corners.items()
        if labels.get(label) == 1 and height and width
    }
    return Sample(
        id=f"{SITE}:{film.stem}",
        patient=f"{SITE}:{film.stem}",
        image=film,
        labels=labels,
        boxes=boxes or None,
        site=SITE,
        published=True,
        sex=header.sex if header else None,
        age=header.age if header else None,
        view="PA",  # of all films, by the makers' choice
        part=part,
    )
