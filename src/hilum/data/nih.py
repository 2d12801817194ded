"""NIH ChestX-ray14: ``images/`` and the authors' csv of labels, and of boxes around some findings.

Source: Wang et al., CVPR 2017. Labels were mined from reports; "No Finding" means none of the fourteen.
"""

from __future__ import annotations

from pathlib import Path

from hilum.errors import DataError
from hilum.files import by_stem, read_csv
from hilum.labels import SIX, canonical
from hilum.types import Box, Boxes, Sample

SITE = "nih"

BOXES = "BBox_List_2017.csv"

_BOX = ("Bbox [x", "y", "w", "h]")  # pixels of the original
_SIDE = 1024  # of the originals
_LABELS = {"Infiltrate": "Infiltration"}  # as the boxes' table spells it
_COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position")


def samples(path: str) -> list[Sample]:
    """One sample for each film that the csv and ``images/`` both have, matched by file stem.

    The six labels are 0 or 1, and every other disease of the fourteen stands beside them. Where the folder
    has the authors' BBox_List_2017.csv, films get its boxes.
    """
    folder = Path(path)
    tables = sorted(folder.glob("Data_Entry_2017*.csv"))
    if not tables:
        raise DataError(f"{folder}: no Data_Entry_2017*.csv; put NIH's csv beside images/")
    images = by_stem(folder / "images")
    columns, rows = read_csv(tables[-1])
    if missing := [column for column in _COLUMNS if column not in columns]:
        raise DataError(f"{tables[-1]}: no column {missing[0]!r}; give NIH's own file unchanged")
    boxes = _boxes(folder / BOXES)
    names = {canonical(name) for _, row in rows for name in row["Finding Labels"].split("|")} | set(SIX)
    return [
        _sample(row, f"{tables[-1]}, line {line}", images[stem], names, boxes.get(stem))
        for line, row in rows
        if (stem := Path(row["Image Index"]).stem) in images
    ]


def _boxes(path: Path) -> dict[str, dict[str, tuple[Box, ...]]]:
    """File stem -> label -> where on the film radiologists saw it; nothing without the file."""
    found: dict[str, dict[str, tuple[Box, ...]]] = {}
    if not path.is_file():
        return found
    columns, rows = read_csv(path)
    if missing := [name for name in ("Image Index", "Finding Label", *_BOX) if name not in columns]:
        raise DataError(f"{path}: no column {missing[0]!r}; give NIH's own file unchanged")
    for line, row in rows:
        try:
            x, y, width, height = (float(row[name]) / _SIDE for name in _BOX)
        except ValueError:
            raise DataError(f"{path}, line {line}: a box is not numbers; give NIH's own file") from None
        own = found.setdefault(Path(row["Image Index"]).stem, {})
        label = _LABELS.get(row["Finding Label"], canonical(row["Finding Label"]))
        own[label] = (*own.get(label, ()), (x, y, width, height))
    return found


def _sample(row: dict[str, str], where: str, image: Path, names: set[str], boxes: Boxes | None) -> Sample:
    if not row["Patient ID"].isdecimal():
        raise DataError(f"{where}: 'Patient ID' is not a number; give NIH's own file unchanged")
    found = {canonical(name) for name in row["Finding Labels"].split("|")}
    return Sample(
        id=f"{SITE}:{image.stem}",
        patient=f"{SITE}:{int(row['Patient ID'])}",
        image=image,
        labels={name: float(name in found) for name in sorted(names)},
        boxes=boxes,
        site=SITE,
        sex=row["Patient Gender"] or None,
        age=_age(row["Patient Age"]),
        view=row["View Position"] or None,
    )


def _age(text: str) -> float | None:
    """Years; the first edition of the csv writes ``058Y``, and a few ages are impossible (414)."""
    digits = text.rstrip("YMD")
    years = float(digits) if digits.isdigit() else None
    return years if years is not None and years <= 120 and text[-1] not in "MD" else None
