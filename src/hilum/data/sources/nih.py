"""NIH ChestX-ray14: ``images/`` and the authors' csv of labels, and of boxes around some findings.

Source: Wang et al., CVPR 2017. Labels were mined from reports; "No Finding" means none of the fourteen. The
counts are those of the authors' csv and of their lists of films to train and to test.
"""

from __future__ import annotations

from pathlib import Path

from hilum.data.sources.rows import number, rows, sex_of, table, view_of
from hilum.errors import DataError
from hilum.labels import SIX, canonical
from hilum.reading.files import by_stem
from hilum.types import Box, Boxes, Listing, Sample

SITE = "nih"

BOXES = "BBox_List_2017.csv"
PARTS = {"train_val_list.txt": "train", "test_list.txt": "test"}  # one film name a line

PUBLISHED = {
    "films": 112_120,
    "patients": 30_805,
    "label Atelectasis": 11_559,
    "label Cardiomegaly": 2_776,
    "label Consolidation": 4_667,
    "label Edema": 2_303,
    "label Pleural Effusion": 13_317,
    "label No Finding": 60_361,
}

_BOX = ("Bbox [x", "y", "w", "h]")  # pixels of the original
_SIDE = 1024  # of the originals
_COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position")


def listing(path: str) -> Listing:
    """The films in both the csv and ``images/``, matched by file stem, so that resized copies work too.

    The six labels, and the other diseases of the fourteen, are 0 or 1. If the folder has the authors'
    BBox_List_2017.csv, films get its boxes; if it has train_val_list.txt and test_list.txt, their part. Films
    may also lie in ``images_001/images/`` and so on.
    """
    folder = Path(path)
    file = table(folder, "Data_Entry_2017*.csv", whose="NIH")
    images = _images(folder)
    found = list(rows(file, _COLUMNS, whose="NIH"))
    boxes, parts = _boxes(folder / BOXES), _parts(folder)
    names = {canonical(name) for _, row in found for name in row["Finding Labels"].split("|")} | set(SIX)
    listed = [(line, Path(row["Image Index"]).stem, row) for line, row in found]
    return Listing(
        samples=tuple(
            _sample(
                row, f"{file}, line {line}", images[stem], sorted(names), boxes.get(stem), parts.get(stem)
            )
            for line, stem, row in listed
            if stem in images
        ),
        missing=tuple(row["Image Index"] for _, stem, row in listed if stem not in images),
        unlisted=tuple(sorted(images.keys() - {stem for _, stem, _ in listed})),
        published=PUBLISHED,
    )


def _images(folder: Path) -> dict[str, Path]:
    """File stem -> film, in ``images/`` or in the twelve folders that the archives unpack to."""
    parts = [] if (folder / "images").is_dir() else sorted(filter(Path.is_dir, folder.glob("images_*")))
    return {stem: film for part in parts or [folder / "images"] for stem, film in by_stem(part).items()}


def _parts(folder: Path) -> dict[str, str]:
    """File stem -> the authors' part for the film, if their lists are in the folder."""
    return {
        Path(film.strip()).stem: part
        for name, part in PARTS.items()
        if (folder / name).is_file()
        for film in _lines(folder / name)
    }


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file}: cannot be read ({type(error).__name__}); download NIH's list again"
        ) from None


def _boxes(path: Path) -> dict[str, dict[str, tuple[Box, ...]]]:
    """File stem -> label -> radiologists' boxes; empty without the file."""
    found: dict[str, dict[str, tuple[Box, ...]]] = {}
    if not path.is_file():
        return found
    for line, row in rows(path, ("Image Index", "Finding Label", *_BOX), whose="NIH"):
        x, y, width, height = (number(row[name], path, line, name) / _SIDE for name in _BOX)
        own = found.setdefault(Path(row["Image Index"]).stem, {})
        label = canonical(row["Finding Label"])
        own[label] = (*own.get(label, ()), (x, y, width, height))
    return found


def _sample(
    row: dict[str, str], where: str, image: Path, names: list[str], boxes: Boxes | None, part: str | None
) -> Sample:
    if not row["Patient ID"].isdecimal():
        raise DataError(f"{where}: 'Patient ID' is not a number; give NIH's own file unchanged")
    found = {canonical(name) for name in row["Finding Labels"].split("|")}
    return Sample(
        id=f"{SITE}:{image.stem}",
        patient=f"{SITE}:{int(row['Patient ID'])}",
        image=image,
        labels={name: float(name in found) for name in names},
        boxes=boxes,
        site=SITE,
        published=True,
        sex=sex_of(row["Patient Gender"]),
        age=_age(row["Patient Age"]),
        view=view_of(row["View Position"]),
        part=part,
    )


def _age(text: str) -> float | None:
    """Years; the first edition of the csv writes ``058Y``, and a few ages are impossible (414)."""
    digits = text.rstrip("YMD")
    years = float(digits) if digits.isdigit() else None
    return years if years is not None and years <= 120 and text[-1] not in "MD" else None
