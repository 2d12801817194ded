"""BRAX: films of a Brazilian hospital, labelled by the CheXpert labeler from reports in Portuguese.

Source: Reis et al., Sci Data 2022, and PhysioNet's page of version 1.1.0 (40,967 films of 19,351 patients).
Ages are in steps of five years; above 84 they are "85 or more".
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from hilum.data.sources.fourteen import FOURTEEN, columns_of, labels_of
from hilum.data.sources.rows import rows, sex_of, table, view_of, years_of
from hilum.errors import DataError
from hilum.types import Listing, Sample

SITE = "brax"

PUBLISHED = {"films listed": 40_967, "patients listed": 19_351}

_PATHS = ("PngPath", "DicomPath")
_PATH = re.compile(r"(?:^|/)id_([^/]+)/(?:Study_([^/]+)/)?")  # patient, study


def listing(path: str) -> Listing:
    """The AP and PA films, as PNG if the folder has them, else as DICOM; other views are skipped."""
    folder = Path(path)
    file = table(folder, "master_spreadsheet*.csv", whose="BRAX")
    samples, missing = [], []
    patients: set[str] = set()
    passed_over: Counter[str] = Counter()
    columns: dict[str, str] = {}
    also = ("PatientSex", "PatientAge", *FOURTEEN)
    for line, row in rows(file, (*_PATHS, "ViewPosition"), also, whose="BRAX"):
        columns = columns or columns_of(row, file)
        view = view_of(row["ViewPosition"])
        patient = _PATH.search(row["PngPath"] or row["DicomPath"])
        if patient is None:
            raise DataError(
                f"{file}, line {line}: no path such as images/id_.../Study_.../Series_.../image-....png; "
                "give BRAX's own table"
            )
        patients.add(f"{SITE}:{patient[1]}")
        if view is None:
            passed_over[f"view {row['ViewPosition'] or 'unknown'}"] += 1
            continue
        films = [folder / row[name] for name in _PATHS if row[name]]
        image = next((film for film in films if film.is_file()), None)
        if image is None:
            missing.append(row["PngPath"] or row["DicomPath"])
            continue
        samples.append(
            Sample(
                id=f"{SITE}:{image.stem}",
                patient=f"{SITE}:{patient[1]}",
                image=image,
                labels=labels_of(row, file, line, columns),
                study=f"{SITE}:{patient[2]}" if patient[2] else None,
                site=SITE,
                published=True,
                sex=sex_of(row.get("PatientSex")),
                age=years_of((row.get("PatientAge") or "").removesuffix(" or more")),
                view=view,
            )
        )
    return Listing(
        samples=tuple(samples),
        missing=tuple(missing),
        passed_over=passed_over,
        patients=frozenset(patients),
        published=PUBLISHED,
    )
