"""Open-I, the chest films of Indiana University: reports as XML, or as two csv files.

Source: Demner-Fushman et al., JAMIA 2016 (7,470 films, 3,955 reports). Trained coders gave each report MeSH
terms ("Cardiomegaly/mild"); "normal" alone means no finding, "No Indexing" means unknown. Each report
counts as a patient.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from hilum.data.sources.header import headers
from hilum.data.sources.rows import by_name, rows, table
from hilum.errors import DataError
from hilum.labels import NO_FINDING, SIX, canonical
from hilum.types import Listing, Sample

SITE = "openi"

PUBLISHED = {"films listed": 7_470}

LABELS = (
    *SIX, "Emphysema", "Fibrosis", "Fracture", "Hernia", "Infiltration", "Lung Opacity", "Mass", "Nodule",
    "Pneumonia", "Pneumothorax",
)  # fmt: skip

_NAME = re.compile(r"CXR(\d+)_(?:\1_)?(.+)")  # CXR1_1_IM-0001-3001, CXR2_IM-0652-1001
_NOTHING = ("", "no indexing")
_FRONTAL = {"Frontal": True, "Lateral": False}


def listing(path: str) -> Listing:
    """The frontal films of a folder with the reports and, below it, the films; laterals are skipped.

    Reports are the XML files (ecgen-radiology/) or indiana_reports.csv. Views come from
    indiana_projections.csv or, for DICOM films, from the header; the XML files have none.
    """
    folder = Path(path)
    films = {_key(name): film for name, film in by_name(folder, [".png", ".jpg", ".dcm"]).items()}
    reports = _tabled(folder) if list(folder.glob("indiana_reports.csv*")) else _coded(folder)
    views = _views(folder, films)
    samples, missing, laterals, unsaid = [], [], 0, 0
    listed = {film: uid for uid, (names, _) in reports.items() for film in names}
    for name, uid in listed.items():
        if views.get(name) is False:
            laterals += 1
        elif name not in films:
            missing.append(name)
        elif name not in views:
            unsaid += 1
        else:
            samples.append(
                Sample(
                    id=f"{SITE}:{name}",
                    patient=f"{SITE}:{uid}",
                    image=films[name],
                    labels=reports[uid][1],
                    site=SITE,
                    published=True,
                )
            )
    return Listing(
        samples=tuple(samples),
        missing=tuple(missing),
        unlisted=tuple(sorted(films.keys() - listed.keys())),
        passed_over={"lateral": laterals, "view unknown": unsaid},
        published=PUBLISHED,
    )


def _key(name: str) -> str:
    """A film's name, the same in every form of the data set: 1_IM-0001-3001."""
    stem = re.sub(r"(\.dcm)?\.\w+$", "", name)
    match = _NAME.fullmatch(stem)
    return f"{match[1]}_{match[2]}" if match else stem


def _tabled(folder: Path) -> dict[str, tuple[list[str], dict[str, float]]]:
    """Report -> its films and labels, from the two csv files."""
    films: dict[str, list[str]] = {}
    file = table(folder, "indiana_projections.csv", whose="Open-I")
    for _, row in rows(file, ("uid", "filename"), whose="Open-I"):
        films.setdefault(row["uid"], []).append(_key(row["filename"]))
    file = table(folder, "indiana_reports.csv", whose="Open-I")
    return {
        row["uid"]: (films.get(row["uid"], []), _labels(row["MeSH"].split(";")))
        for _, row in rows(file, ("uid", "MeSH"), whose="Open-I")
    }


def _coded(folder: Path) -> dict[str, tuple[list[str], dict[str, float]]]:
    """Report -> its films and labels, from the XML files."""
    files = by_name(folder, [".xml"])
    if not files:
        raise DataError(f"{folder}: no indiana_reports.csv and no XML; put Open-I's reports there")
    found = {}
    for _, file in sorted(files.items()):
        root = _report(file)
        uid = root.find(".//uId")
        number = (uid.get("id") or "") if uid is not None else ""
        films = [_key(f"{one.get('id')}.png") for one in root.iter("parentImage") if one.get("id")]
        terms = [one.text or "" for one in root.findall(".//MeSH/major")]
        found[number.removeprefix("CXR") or file.stem] = films, _labels(terms)
    return found


class _Bare(ET.TreeBuilder):
    """Build a report; refuse a DOCTYPE, which no report has: its entities may grow without limit."""

    def doctype(self, *_: object) -> None:
        raise ValueError("it has a DOCTYPE")


def _report(file: Path) -> ET.Element:
    try:
        return ET.fromstring(file.read_bytes(), ET.XMLParser(target=_Bare()))  # noqa: S314 - no entities
    except (OSError, ET.ParseError, LookupError, ValueError) as error:  # LookupError of an unknown encoding
        raise DataError(f"{file}: no XML ({error}); unpack Open-I's reports again") from None


def _labels(terms: Iterable[str]) -> dict[str, float]:
    """Labels of a report's MeSH terms; only the part before "/" counts, as in "Cardiomegaly/mild"."""
    found = {term.split("/")[0].strip() for term in terms}
    said = {canonical(term) for term in found if term.lower() not in _NOTHING}
    if not said:
        return dict.fromkeys(LABELS, math.nan)
    labels = {name: float(name in said) for name in LABELS}
    labels[NO_FINDING] = float(said == {NO_FINDING})
    return labels


def _views(folder: Path, films: dict[str, Path]) -> dict[str, bool]:
    """Film -> whether it is frontal, for films with a known view."""
    found = {}
    if list(folder.glob("indiana_projections.csv*")):
        file = table(folder, "indiana_projections.csv", whose="Open-I")
        for line, row in rows(file, ("filename", "projection"), whose="Open-I"):
            if row["projection"] not in _FRONTAL:
                raise DataError(
                    f"{file}, line {line}: projection {row['projection']!r}, not Frontal or Lateral; "
                    "download it again"
                )
            found[_key(row["filename"])] = _FRONTAL[row["projection"]]
        return found
    dicom = {name: film for name, film in films.items() if film.suffix.lower() == ".dcm"}
    if films and not dicom:
        raise DataError(
            f"{folder}: no indiana_projections.csv; put it there, because the reports do not say which film "
            "is frontal"
        )
    for name, header in zip(dicom, headers(list(dicom.values())), strict=True):
        if header and header.stated_view:
            found[name] = header.view is not None
    return found
