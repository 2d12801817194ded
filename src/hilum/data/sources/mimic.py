"""MIMIC-CXR-JPG: ``files/p10/p10000032/s50414267/FILM.jpg`` and PhysioNet's tables, gzipped or not.

Source: Johnson et al., 2019 (377,110 films, 227,827 studies of 65,379 patients). The CheXpert and the NegBio
labeler read the reports; a label belongs to a study, and so to each of its films. There are no sexes and
ages, unless MIMIC-IV's patients.csv lies in the folder too. Its ages are exact to a year: a patient is
anchor_age in the year anchor_year, which is shifted like the dates of studies. It has no ages above 89.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from hilum.data.sources.fourteen import FOURTEEN, columns_of, labels_of
from hilum.data.sources.rows import rows, sex_of, table, view_of, years_of
from hilum.errors import DataError
from hilum.types import Listing, Sample

SITE = "mimic"

PUBLISHED = {"films listed": 377_110, "patients listed": 65_379}

_LABELS = ("mimic-cxr-*-chexpert.csv", "mimic-cxr-*-negbio.csv")
_OLDEST = 89  # years; MIMIC-IV has no higher ages
_PARTS = {"train": "train", "validate": "tune", "test": "test"}


def listing(path: str) -> Listing:
    """The AP and PA films of a folder with ``files/``; other views are skipped and counted.

    Labels are those of the CheXpert labeler, or of the table in the folder if its path is given
    (mimic-cxr-2.0.0-negbio.csv.gz). If the official split lies there too, films get their part.
    """
    given = Path(path)
    folder = given.parent if given.is_file() else given
    labels = _labels(given if given.is_file() else table(folder, *_LABELS, whose="MIMIC-CXR-JPG"))
    parts, people = _parts(folder), _people(folder)
    samples, missing = [], []
    patients: set[str] = set()
    passed_over: Counter[str] = Counter()
    file = table(folder, "mimic-cxr-*-metadata.csv", whose="MIMIC-CXR-JPG")
    columns = ("dicom_id", "subject_id", "study_id", "ViewPosition")
    for _, row in rows(file, columns, ("StudyDate",), whose="MIMIC-CXR-JPG"):
        view, study = view_of(row["ViewPosition"]), labels.get(row["study_id"])
        patient, film = row["subject_id"], row["dicom_id"]
        patients.add(f"{SITE}:{patient}")
        sex, born = people.get(patient, (None, None))
        image = Path(f"{folder}/files/p{patient[:2]}/p{patient}/s{row['study_id']}/{film}.jpg")
        if view is None:
            passed_over[f"view {row['ViewPosition'] or 'unknown'}"] += 1
        elif study is None:
            passed_over["its study has no labels"] += 1
        elif not image.is_file():
            missing.append(image.relative_to(folder).as_posix())
        else:
            samples.append(
                Sample(
                    id=f"{SITE}:{film}",
                    patient=f"{SITE}:{patient}",
                    image=image,
                    labels=study,
                    study=f"{SITE}:{row['study_id']}",
                    site=SITE,
                    published=True,
                    sex=sex,
                    age=_age(row.get("StudyDate", ""), born),
                    view=view,
                    part=parts.get(film),
                )
            )
    return Listing(
        samples=tuple(samples),
        missing=tuple(missing),
        passed_over=passed_over,
        patients=frozenset(patients),
        published=PUBLISHED,
    )


def _labels(file: Path) -> dict[str, Mapping[str, float]]:
    """Study -> its labels."""
    found: dict[str, Mapping[str, float]] = {}
    columns: dict[str, str] = {}
    for line, row in rows(file, ("study_id",), (*FOURTEEN, "Airspace Opacity"), whose="MIMIC-CXR-JPG"):
        columns = columns or columns_of(row, file)
        found[row["study_id"]] = labels_of(row, file, line, columns)
    return found


def _parts(folder: Path) -> dict[str, str]:
    """Film -> its part of the official split, if that is there."""
    if not list(folder.glob("mimic-cxr-*-split.csv*")):
        return {}
    file = table(folder, "mimic-cxr-*-split.csv", whose="MIMIC-CXR-JPG")
    found = {}
    for line, row in rows(file, ("dicom_id", "split"), whose="MIMIC-CXR-JPG"):
        if row["split"] not in _PARTS:
            raise DataError(
                f"{file}, line {line}: part {row['split']!r}, not train, validate or test; "
                "download MIMIC-CXR-JPG's table again"
            )
        found[row["dicom_id"]] = _PARTS[row["split"]]
    return found


def _people(folder: Path) -> dict[str, tuple[str | None, int | None]]:
    """Patient -> sex and (shifted) year of birth, from MIMIC-IV's table, if that is there."""
    if not list(folder.glob("patients.csv*")):
        return {}
    file = table(folder, "patients.csv", whose="MIMIC-IV")
    found = {}
    for _, row in rows(file, ("subject_id", "gender"), ("anchor_age", "anchor_year"), whose="MIMIC-IV"):
        age, year = row.get("anchor_age", ""), row.get("anchor_year", "")
        # Older patients are 91 there, in any year.
        known = age.isdecimal() and year.isdecimal() and int(age) <= _OLDEST
        found[row["subject_id"]] = sex_of(row["gender"]), int(year) - int(age) if known else None
    return found


def _age(date: str, born: int | None) -> float | None:
    """Years at a study of the date, YYYYMMDD."""
    return years_of(str(int(date[:4]) - born)) if born is not None and date[:4].isdecimal() else None
