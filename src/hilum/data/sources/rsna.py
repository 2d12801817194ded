"""RSNA Pneumonia Detection Challenge: DICOM films from NIH ChestX-ray14, read again by radiologists.

Source: Shih et al., Radiol Artif Intell 2019 (26,684 films to train). A film is "Lung Opacity" (with boxes),
"Normal", or "No Lung Opacity / Not Normal". The films are NIH's: with pneumonia-challenge-dataset-mappings
in the folder they get NIH's patients, so that one split fits both; without it each film counts as a patient.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from hilum.data.sources.header import headers
from hilum.data.sources.rows import number, rows, table
from hilum.errors import DataError
from hilum.labels import NO_FINDING
from hilum.reading.files import by_stem
from hilum.types import Box, Listing, Sample

SITE = "rsna"

PUBLISHED = {
    "films listed": 26_684,
    "label Lung Opacity": 6_012,
    "label No Finding": 8_851,
}

_SIDE = 1024  # pixels, of every film
_BOX = ("x", "y", "width", "height")
_NORMAL, _OPACITY = "Normal", "Lung Opacity"
_CLASSES = (_NORMAL, _OPACITY, "No Lung Opacity / Not Normal")
_MAPPING = "pneumonia-challenge-dataset-mappings*.json"


def listing(path: str) -> Listing:
    """The films of ``stage_2_train_images/``; No Finding is 1 for "Normal" and 0 for the other two classes.

    Without stage_2_detailed_class_info.csv, No Finding is 0 if there is an opacity, and else unknown.
    """
    folder = Path(path)
    file = table(folder, "stage_2_train_labels.csv", whose="RSNA's challenge")
    films = by_stem(folder / "stage_2_train_images", [".dcm", ".png", ".jpg"])
    opacity, boxes = _opacities(file)
    classes, patients = _classes(folder), _patients(folder)
    there = [name for name in opacity if name in films]
    samples = []
    for name, header in zip(there, headers([films[name] for name in there]), strict=True):
        known = classes.get(name)
        normal = float(known == _NORMAL) if known else 0.0 if opacity[name] else math.nan
        samples.append(
            Sample(
                id=f"{SITE}:{name}",
                patient=patients.get(name, f"{SITE}:{name}"),
                image=films[name],
                labels={_OPACITY: float(opacity[name]), NO_FINDING: normal},
                boxes={_OPACITY: boxes[name]} if name in boxes else None,
                site=SITE,
                published=True,
                sex=header.sex if header else None,
                age=header.age if header else None,
                view=header.view if header else None,
            )
        )
    return Listing(
        samples=tuple(samples),
        missing=tuple(name for name in opacity if name not in films),
        unlisted=tuple(sorted(films.keys() - opacity.keys())),
        published=PUBLISHED,
    )


def _opacities(file: Path) -> tuple[dict[str, bool], dict[str, tuple[Box, ...]]]:
    """Film -> whether it has an opacity, and film -> its boxes; the table has a row for each box."""
    opacity: dict[str, bool] = {}
    boxes: dict[str, tuple[Box, ...]] = {}
    for line, row in rows(file, ("patientId", "Target", *_BOX), whose="RSNA's challenge"):
        name = row["patientId"]
        if row["Target"] not in ("0", "1"):
            raise DataError(f"{file}, line {line}: Target {row['Target']!r}, not 0 or 1; download it again")
        opacity[name] = row["Target"] == "1"
        if opacity[name]:
            x, y, width, height = (number(row[one], file, line, one) / _SIDE for one in _BOX)
            boxes[name] = (*boxes.get(name, ()), (x, y, width, height))
    return opacity, boxes


def _classes(folder: Path) -> dict[str, str]:
    """Film -> its class, if the table is there."""
    file = folder / "stage_2_detailed_class_info.csv"
    found: dict[str, str] = {}
    if file.is_file():
        for line, row in rows(file, ("patientId", "class"), whose="RSNA's challenge"):
            if row["class"] not in _CLASSES:
                raise DataError(
                    f"{file}, line {line}: class {row['class']!r} is none of its; download it again"
                )
            found[row["patientId"]] = row["class"]
    return found


def _patients(folder: Path) -> dict[str, str]:
    """Film -> NIH's patient, as `hilum.data.sources.nih` names them, if the mapping is there."""
    files = sorted(folder.glob(_MAPPING))
    if not files:
        return {}
    try:
        found = json.loads(files[-1].read_text(encoding="utf-8"))
        return {one["subset_img_id"]: f"nih:{int(one['img_id'].split('_')[0])}" for one in found}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            f"{files[-1]}: not a list of subset_img_id and img_id; download RSNA's mapping again"
        ) from None
