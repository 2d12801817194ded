"""CheXpert, and CheXpert Plus, which has the same films with reports and newer labels.

Sources: Irvin et al., AAAI 2019 (224,316 films of 65,240 patients); Chambon et al., 2024 (its table: 223,228
films to train and 234 to tune, of 64,725 patients). Labels are the CheXpert labeler's (1, 0, -1 uncertain,
blank unmentioned); in the official valid and test parts they are radiologists'. In CheXpert Plus they are
CheXbert's labels of the impression.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from hilum.data.sources.fourteen import FOURTEEN, columns_of, concluded, labels_of
from hilum.data.sources.rows import rows, sex_of, table, value, view_of, years_of
from hilum.errors import DataError
from hilum.types import Listing, Sample

SITE = "chexpert"

PUBLISHED = {"films listed": 224_316, "patients listed": 65_240}
PLUS_PUBLISHED = {"films listed": 223_462, "patients listed": 64_725}

# One table of each group; CheXlocalize uses the second names.
_TABLES = (("train.csv",), ("valid.csv", "val_labels.csv"), ("test.csv", "test_labels.csv"))
_PARTS = {"train": "train", "valid": "tune", "val": "tune", "test": "test"}
_ABOUT = ("Sex", "Age", "Frontal/Lateral", "AP/PA")
_PLUS = "df_chexpert_plus_*.csv"
_PLUS_COLUMNS = ("path_to_image", "frontal_lateral", "ap_pa", "deid_patient_id")
_PLUS_LABELS = ("impression_fixed.json", "report_fixed.json")
# The full-size films as Stanford's archives unpack: the first folder has tables and valid/, the others only
# patients.
_BATCHES = "CheXpert-v1.0 batch *"
# Where train/, valid/ and test/, or patients, may lie: a release as unpacked, or moved together.
_PLACES = (
    "CheXpert-v1.0", "CheXpert-v1.0-small", _BATCHES, "PNG", "PNG/PNG", "PNGs",
    "png_chexpert_plus_chunk_*/PNG", "PNG/png_chexpert_plus_chunk_*/PNG",
    "DICOM", "DICOM/Uncompressed", "DICOM/Compressed",
)  # fmt: skip
_ENDINGS = (".jpg", ".png", ".dcm")

# A film's path in a table: train/patient00001/study1/view1_frontal.jpg, perhaps below the release's name.
_PATH = re.compile(
    r"(?:CheXpert-v1\.0[^/]*/)?(train|valid|val|test)/((patient\d+)/study\d+/view\d+_(\w+)\.\w+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One film, from any of the tables."""

    path: str
    frontal: bool
    part: str
    patient: str
    labels: dict[str, float]
    sex: str | None
    age: float | None
    view: str | None


def listing(path: str) -> Listing:
    """The frontal films of a CheXpert folder, or of one table in it; laterals are skipped.

    A folder with train.csv, valid.csv or test.csv is CheXpert. So is a folder with the four batches of
    Stanford's archives, or the first batch itself. A folder with a df_chexpert_plus_*.csv is CheXpert Plus.
    The path of a table (train_visualCheXbert.csv, report_fixed.json) reads only that table.
    """
    given = Path(path)
    folder = given if given.is_dir() else given.parent
    if given.suffix == ".json":
        folder = folder.parent if folder.name == "chexbert_labels" else folder
    plus = given.suffix == ".json" or (given.is_dir() and list(folder.glob(f"{_PLUS}*")))
    found = _plus(folder, None if given.is_dir() else given) if plus else _plain(given)
    films = _folders(folder)
    samples: dict[str, Sample] = {}
    patients: set[str] = set()
    missing, laterals = [], 0
    for row in found:
        name = f"{SITE}:{row.path.rpartition('.')[0]}"
        patients.add(f"{SITE}:{row.patient}")
        film = _film(films, row.path) if row.frontal else None
        if not row.frontal:
            laterals += 1
        elif film is None:
            missing.append(row.path)
        else:
            samples[name] = Sample(
                id=name,
                patient=f"{SITE}:{row.patient}",
                image=film,
                labels=row.labels,
                study=name.rpartition("/")[0],
                site=SITE,
                published=True,
                sex=row.sex,
                age=row.age,
                view=row.view,
                part=row.part,
            )
    return Listing(
        samples=tuple(samples.values()),
        missing=tuple(missing),
        passed_over={"lateral": laterals},
        patients=frozenset(patients),
        published=PLUS_PUBLISHED if plus else PUBLISHED,
    )


def _plain(given: Path) -> Iterator[_Row]:
    """The rows of CheXpert's own tables: of one, or of all in a folder."""
    tables = [given] if given.is_file() else _tables(given)
    if not tables:
        raise DataError(f"{given}: no train.csv, valid.csv or test.csv; give the folder that holds them")
    for file in tables:
        columns: dict[str, str] = {}
        for line, row in rows(file, ("Path",), (*_ABOUT, *FOURTEEN), whose="CheXpert"):
            columns = columns or columns_of(row, file)
            match = _matched(row["Path"], file, line)
            yield _Row(
                path=f"{_official(match[1])}/{match[2]}",
                frontal=(row.get("Frontal/Lateral") or match[4]).lower() == "frontal",
                part=_PARTS[match[1]],
                patient=match[3],
                labels=labels_of(row, file, line, columns),
                sex=sex_of(row.get("Sex")),
                # 0 means that the age is unknown.
                age=years_of(row.get("Age")) or None,
                view=view_of(row.get("AP/PA")),
            )


def _tables(folder: Path) -> list[Path]:
    """The tables of a folder, or of a batch in it."""
    places = [folder, *sorted(folder.glob(_BATCHES))]
    found = []
    for names in _TABLES:
        found += [place / name for place in places for name in names if (place / name).is_file()][:1]
    return found


def _matched(text: str, file: Path, line: int) -> re.Match[str]:
    match = _PATH.fullmatch(text)
    if match is None:
        raise DataError(
            f"{file}, line {line}: {text!r} is no path such as train/patient00001/study1/view1_frontal.jpg; "
            "give CheXpert's own table"
        )
    return match


def _plus(folder: Path, labels: Path | None) -> Iterator[_Row]:
    """The rows of CheXpert Plus's table, with the labels of one of its files."""
    file = table(folder, _PLUS, whose="CheXpert Plus")
    found = _read_labels(labels or _labels_file(folder))
    for line, row in rows(file, _PLUS_COLUMNS, ("age", "sex"), whose="CheXpert Plus"):
        match = _matched(row["path_to_image"], file, line)
        yield _Row(
            path=f"{_official(match[1])}/{match[2]}",
            frontal=row["frontal_lateral"].lower() == "frontal",
            part=_PARTS[match[1]],
            patient=row["deid_patient_id"] or match[3],
            labels=found.get(row["path_to_image"], {}),
            sex=sex_of(row.get("sex")),
            age=years_of(row.get("age")) or None,
            view=view_of(row["ap_pa"]),
        )


def _labels_file(folder: Path) -> Path:
    for name in _PLUS_LABELS:
        for path in (folder / "chexbert_labels" / name, folder / name):
            if path.is_file():
                return path
    raise DataError(
        f"{folder}: no chexbert_labels/impression_fixed.json; unpack CheXpert Plus's labels there"
    )


def _read_labels(path: Path) -> dict[str, dict[str, float]]:
    """A film's path -> its labels, from a file with one JSON object a line."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    found = {}
    with path.open(encoding="utf-8", errors="replace") as file:
        for line, text in enumerate(file, 1):
            try:
                row = json.loads(text)
                name = "".join(row.pop("path_to_image"))
            except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
                raise DataError(
                    f"{path}, line {line}: no JSON object with a path_to_image; unpack the labels again"
                ) from None
            said = {label: "" if row.get(label) is None else str(row[label]) for label in FOURTEEN}
            found[name] = concluded({label: value(text, path, line, label) for label, text in said.items()})
    return found


def _folders(folder: Path) -> dict[tuple[str, str], list[Path]]:
    """Part and patient -> the folders of the patient's films, in all places of a release."""
    # The first batch stands for all four, which lie beside it.
    home = folder.resolve().parent if fnmatch(folder.resolve().name, _BATCHES) else folder
    found: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for place in [home, *(place for name in _PLACES for place in sorted(home.glob(name)))]:
        parts = [(name, place / name) for name in _PARTS]
        if fnmatch(place.name, _BATCHES):
            parts.append(("train", place))
        for name, below in parts:
            for patient in below.iterdir() if below.is_dir() else ():
                found[_official(name), patient.name].append(patient)
    return found


def _official(name: str) -> str:
    """CheXpert's name of a part, so that a film has the same name in CheXlocalize's val/."""
    return "valid" if name == "val" else name


def _film(folders: dict[tuple[str, str], list[Path]], path: str) -> Path | None:
    """A film's file, with any ending, or None if there is none."""
    part, patient, name = path.split("/", 2)
    stem = name.rpartition(".")[0]
    films = (
        Path(f"{folder}/{stem}{ending}") for folder in folders.get((part, patient), ()) for ending in _ENDINGS
    )
    return next((film for film in films if film.is_file()), None)
