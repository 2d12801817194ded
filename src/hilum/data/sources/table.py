"""A csv of films: a ``path`` column, one column a label; optionally patient, study, sex, age, view, mask."""

from __future__ import annotations

import math
from pathlib import Path

from hilum.data.masks import structures_of
from hilum.data.sources.rows import sex_of, years_of
from hilum.errors import DataError
from hilum.files import read_csv
from hilum.gate import LATERAL, OBLIQUE
from hilum.labels import canonical
from hilum.types import STRUCTURES, Sample

_PATH = ("path", "file", "image", "filename", "image index")
_ABOUT = ("patient", "sex", "age", "view", "site", "id", "mask", "structures", "quality", "study")
# What `hilum data import` tells besides, which is no label.
_BESIDES = (
    "modality",
    "laterality",
    "position",
    "row_mm",
    "column_mm",
    "manufacturer",
    "model",
    "flagged",
)
# Sites whose films bear their makers' names; a row that states one, and an id, means that published film.
_PUBLIC = frozenset(
    (
        "nih",
        "chexpert",
        "mimic",
        "padchest",
        "vindr",
        "rsna",
        "openi",
        "brax",
        "jsrt",
        "montgomery",
        "shenzhen",
    )
)
_NOT_FRONTAL = LATERAL | OBLIQUE | {"L", "LLAT", "RLAT"}
_VALUES = {"": math.nan, "nan": math.nan, "na": math.nan, "0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}


def samples(path: str) -> list[Sample]:
    """One sample a row; paths count from the csv's folder, labels are 0, 1 or empty (unknown).

    Without a patient column each film counts as a patient of its own; a patient named with a public data set
    in front, as nih:13, is that one's. Masks are as in `hilum.data.masks`; what they show is told by the
    masks, or by ``structures``, names with | between.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"{file}: no such csv; check the path")
    heading, rows = read_csv(file)
    columns = {name.strip().lower(): name for name in heading}
    image = next((columns[name] for name in _PATH if name in columns), None)
    if image is None:
        raise DataError(f"{file}: no column 'path'; name the column that holds the films' paths 'path'")
    about = {name: columns[name] for name in _ABOUT if name in columns}
    labels: dict[str, str] = {}
    for name in heading:
        if name != image and name not in about.values() and name.strip().lower() not in _BESIDES:
            if canonical(name) in labels:
                raise DataError(f"{file}: column {name!r}: a second {canonical(name)}; keep one of them")
            labels[canonical(name)] = name
    site = file.resolve().parent.name
    found: dict[str, Sample] = {}
    shown = _shown(file, [row for _, row in rows], about)
    for number, row in rows:
        sample = _sample(file, number, row, image, about, labels, site, shown)
        if sample.id in found:
            raise DataError(f"{file}, line {number}: a film of an earlier row; write one row a film")
        found[sample.id] = sample
    return list(found.values())


def _sample(
    file: Path,
    number: int,
    row: dict[str, str],
    image: str,
    about: dict[str, str],
    labels: dict[str, str],
    site: str,
    shown: frozenset[str],
) -> Sample:
    def said(name: str) -> str | None:
        return (row.get(about[name]) or "").strip() or None if name in about else None

    if not row[image]:
        raise DataError(f"{file}, line {number}: no path; fill it in or remove the row")
    film = said("id") or row[image]
    patient = said("patient") or film
    mask = file.parent / text if (text := said("mask")) else None
    site = said("site") or site
    return Sample(
        id=f"{site}:{film}",
        patient=patient if _whole(patient) else f"{site}:{patient}",
        image=file.parent / row[image],
        masks=mask,
        structures=_structures(file, number, mask, said("structures")) or shown if mask else frozenset(),
        labels={label: _value(row[name], file, number, name) for label, name in labels.items()},
        site=site,
        sex=sex_of(said("sex")),
        age=_years(said("age"), file, number),
        view=_view(said("view"), file, number),
        study=f"{site}:{study}" if (study := said("study")) else None,
        published=said("site") in _PUBLIC and said("id") is not None,
    )


def _shown(file: Path, rows: list[dict[str, str]], about: dict[str, str]) -> frozenset[str]:
    """What the masks show whose rows do not say so: a data set holds to one convention."""
    silent = [row for row in rows if not (row.get(about.get("structures", "")) or "").strip()]
    named = [file.parent / text for row in silent if (text := (row.get(about.get("mask", "")) or "").strip())]
    there = [path for path in named if path.is_file()]
    return structures_of(there) if there else frozenset()


def _structures(file: Path, number: int, mask: Path, said: str | None) -> frozenset[str]:
    """What the row says that its mask shows; empty where it says nothing."""
    if not mask.is_file():
        raise DataError(f"{file}, line {number}: no mask {mask}; mend the path or leave the cell empty")
    names = frozenset((said or "").split("|")) - {""}
    if unknown := names - {*STRUCTURES, "lungs"}:
        raise DataError(
            f"{file}, line {number}: structure {min(unknown)!r}; use {', '.join(STRUCTURES)} or lungs"
        )
    return names


def _value(text: str | None, file: Path, number: int, column: str) -> float:
    word = (text or "").strip().lower().removesuffix(".0")
    if word not in _VALUES:
        raise DataError(f"{file}, line {number}, column {column!r}: {text!r}; labels are 0, 1 or empty")
    return _VALUES[word]


def _whole(patient: str) -> bool:
    """Whether a patient's name says of itself whose it is: of a public data set, or hashed from a header."""
    maker, colon, _ = patient.partition(":")
    return bool(colon) and (maker in _PUBLIC or maker == "dicom")


def _years(text: str | None, file: Path, number: int) -> float | None:
    try:
        float(text or "nan")
    except ValueError:
        raise DataError(f"{file}, line {number}: age {text!r}; write years as a number") from None
    return years_of(text)


def _view(text: str | None, file: Path, number: int) -> str | None:
    """AP or PA, of which more may be said (AP SUPINE); None for other words. Other views are refused."""
    words = (text or "").upper().replace("_", " ").split()
    if _NOT_FRONTAL.intersection(words):
        raise DataError(f"{file}, line {number}: view {text!r}; films are frontal, so remove the row")
    return next((word for word in words if word in ("AP", "PA")), None)
