"""A csv of films: a ``path`` column, one column a label; optionally patient, study, sex, age, view, mask."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from hilum.data.masks import structures_of
from hilum.data.sources import (
    brax,
    chexpert,
    jsrt,
    mimic,
    nih,
    openi,
    padchest,
    rsna,
    tuberculosis,
    vindr,
)
from hilum.data.sources.rows import sex_of, years_of
from hilum.errors import DataError
from hilum.labels import UNCERTAIN, canonical
from hilum.reading.files import read_csv
from hilum.reading.views import LATERAL, OBLIQUE, view_words
from hilum.types import STRUCTURES, Sample

_PATH = ("path", "file", "image", "filename", "image index")
_PATIENT = ("patient", "patient_id", "patient id", "patientid", "subject_id", "subject")
_ABOUT = ("patient", "sex", "age", "view", "site", "id", "mask", "structures", "quality", "study")
# Other columns of `hilum data import`, which are no labels.
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
# Sites whose films have their makers' names; a row with such a site and an id means the published film.
_PUBLIC = frozenset(
    (
        *(one.SITE for one in (brax, chexpert, jsrt, mimic, nih, openi, padchest, rsna, vindr)),
        *tuberculosis.SITES.values(),
    )
)
_WHOLE_NUMBER = re.compile(r"^(-?\d+)\.0+$")  # as written in a column with gaps
_VALUES = {
    **dict.fromkeys(("", "nan", "na"), math.nan),
    **dict.fromkeys(("0", "no", "false"), 0.0),
    **dict.fromkeys(("1", "yes", "true"), 1.0),
    "-1": UNCERTAIN,
}


def samples(path: str) -> list[Sample]:
    """One sample a row; paths are relative to the csv's folder.

    Labels are 0 or 1 (also no, yes, false, true), UNCERTAIN, or empty: unknown.
    Without a patient column each film counts as its own patient. A patient with the name of a public data set
    in front, such as nih:13, is that data set's. Masks are as in `hilum.data.masks`; the column
    ``structures`` (names joined by |) or else the masks say what they show.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"{file}: no such csv; check the path")
    heading, rows = read_csv(file)
    columns = {name.strip().lower(): name for name in heading}
    called = [name for name in heading if name.strip().lower() in _PATIENT]
    if len(called) > 1:
        raise DataError(
            f"{file}: columns {called[0]!r} and {called[1]!r}: keep the one that names the patients"
        )
    image = next((columns[name] for name in _PATH if name in columns), None)
    if image is None:
        raise DataError(f"{file}: {_without_paths(heading)}")
    about = {name: columns[name] for name in _ABOUT if name in columns}
    if patient := next((columns[name] for name in _PATIENT if name in columns), None):
        about["patient"] = patient
    labels = _labels(file, [name for name in heading if name != image and name not in about.values()], rows)
    site = file.resolve().parent.name
    found: dict[str, Sample] = {}
    films: set[str] = set()
    shown = _shown(file, [row for _, row in rows], about)
    for number, row in rows:
        sample = _sample(file, number, row, image, about, labels, site, shown)
        film = os.path.abspath(str(sample.image))  # noqa: PTH100 - a link may be a film of its own
        if sample.id in found or film in films:
            raise DataError(f"{file}, line {number}: a film of an earlier row; write one row a film")
        found[sample.id] = sample
        films.add(film)
    return list(found.values())


def _without_paths(heading: list[str]) -> str:
    """The fault of a heading without a column of paths, and the remedy."""
    if not heading:
        return "an empty file; give a csv with a heading and one row a film"
    few = ", ".join(heading[:6]) + (", ..." if len(heading) > 6 else "")
    return f"no column 'path' among {few}; name the column that holds the films' paths 'path'"


def _labels(file: Path, columns: list[str], rows: list[tuple[int, dict[str, str]]]) -> dict[str, str]:
    """Label -> its column. An empty column is no label, such as the last one of lines that end in a comma."""
    found: dict[str, str] = {}
    for name in columns:
        if name.strip().lower() in _BESIDES or not any((row[name] or "").strip() for _, row in rows):
            continue
        if not name.strip():
            raise DataError(f"{file}: a column without a name holds entries; remove it (pandas: index=False)")
        if canonical(name) in found:
            raise DataError(f"{file}: column {name!r}: a second {canonical(name)}; keep one of them")
        found[canonical(name)] = name
    return found


def _slashed(file: Path, path: str) -> str:
    """A path relative to the csv, also if written on Windows."""
    return path.replace("\\", "/") if "\\" in path and not (file.parent / path).exists() else path


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

    path = (row[image] or "").strip()
    if not path:
        raise DataError(f"{file}, line {number}: no path; fill it in or remove the row")
    path = _slashed(file, path)
    film = said("id") or path
    patient = _WHOLE_NUMBER.sub(r"\1", said("patient") or "") or film
    mask = file.parent / _slashed(file, text) if (text := said("mask")) else None
    site = said("site") or site
    return Sample(
        id=f"{site}:{film}",
        patient=patient if _whole(patient) else f"{site}:{patient}",
        image=file.parent / path,
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
    """What masks show if their rows do not say it; all have one convention."""
    silent = [row for row in rows if not (row.get(about.get("structures", "")) or "").strip()]
    named = [text for row in silent if (text := (row.get(about.get("mask", "")) or "").strip())]
    there = [path for text in named if (path := file.parent / _slashed(file, text)).is_file()]
    return structures_of(there) if there else frozenset()


def _structures(file: Path, number: int, mask: Path, said: str | None) -> frozenset[str]:
    """The structures that the row names for its mask; empty if it names none."""
    if not mask.is_file():
        raise DataError(f"{file}, line {number}: no mask {mask}; correct the path or leave the cell empty")
    names = frozenset((said or "").split("|")) - {""}
    if unknown := names - {*STRUCTURES, "lungs"}:
        raise DataError(
            f"{file}, line {number}: structure {min(unknown)!r}; use {', '.join(STRUCTURES)} or lungs"
        )
    return names


def _value(text: str | None, file: Path, number: int, column: str) -> float:
    word = _WHOLE_NUMBER.sub(r"\1", (text or "").strip().lower())
    if word not in _VALUES:
        raise DataError(
            f"{file}, line {number}, column {column!r}: {text!r}; labels are 0, 1, {UNCERTAIN:g} (uncertain) "
            "or empty, each in a column of its own; remove a column that is no label"
        )
    return _VALUES[word]


def _whole(patient: str) -> bool:
    """Whether a patient's name is unique without a site: of a public data set, or hashed from a header."""
    maker, colon, _ = patient.partition(":")
    return bool(colon) and (maker in _PUBLIC or maker == "dicom")


def _years(text: str | None, file: Path, number: int) -> float | None:
    try:
        float(text or "nan")
    except ValueError:
        raise DataError(f"{file}, line {number}: age {text!r}; write years as a number") from None
    return years_of(text)


def _view(text: str | None, file: Path, number: int) -> str | None:
    """AP or PA, also in texts such as AP SUPINE; None for other words. Other views are refused."""
    words = view_words(text or "")
    if words & (LATERAL | OBLIQUE) or "L" in (text or "").upper().replace("_", " ").split():
        raise DataError(f"{file}, line {number}: view {text!r}; films are frontal, so remove the row")
    return next((word for word in ("AP", "PA") if word in words), None)
