"""Shared code of the two tuberculosis sets of the U.S. National Library of Medicine.

Source: Jaeger et al., Quant Imaging Med Surg 2014. A film's name ends in _0 if it is normal, and in _1
if it shows tuberculosis; beside it lies a text with sex, age and the reading. All views are PA.
"""

from __future__ import annotations

import re
from pathlib import Path

from hilum.errors import DataError
from hilum.reading.files import by_stem
from hilum.types import Pixels, Sample

SITES = {"MCUCXR": "montgomery", "CHNCXR": "shenzhen"}
_NAME = re.compile(r"(MCUCXR|CHNCXR)_\d{4}_([01])")
_SEX = re.compile(r"\b(?:sex:\s*([fm])|(fe)?mal)", re.IGNORECASE)  # "Patient's Sex: F", "male", "femal"
_AGE = re.compile(r"(\d+)\s*(y|m|d)", re.IGNORECASE)  # "027Y", "45yrs", "16month", "64days"
_YEARS = {"y": 1.0, "m": 1 / 12, "d": 1 / 365.25}


def films(folder: Path, prefix: str = "") -> dict[str, Path]:
    """File stem -> film of ``CXR_png/``, those whose name starts with `prefix`; raises DataError."""
    found = by_stem(folder / "CXR_png", [".png"])
    if wrong := [stem for stem in found if not _NAME.fullmatch(stem)]:
        raise DataError(
            f"{found[wrong[0]]}: not named as these films are (MCUCXR_0001_0.png); move it elsewhere"
        )
    return {stem: path for stem, path in sorted(found.items()) if stem.startswith(prefix)}


def sample(stem: str, film: Path, readings: Path, masks: Pixels | None, structures: frozenset[str]) -> Sample:
    """The sample of one film; `readings` is the folder of the texts, which need not exist."""
    match = _NAME.fullmatch(stem)
    assert match is not None  # noqa: S101 - checked by `films`
    site, ill = SITES[match[1]], match[2] == "1"
    text = readings / f"{stem}.txt"
    said = text.read_text(encoding="utf-8", errors="replace") if text.is_file() else ""
    return Sample(
        id=f"{site}:{stem}",
        patient=f"{site}:{stem}",
        image=film,
        labels={"Tuberculosis": float(ill), "No Finding": float(not ill)},
        masks=masks,
        structures=structures if masks is not None else frozenset(),
        site=site,
        published=True,
        sex=_sex(said),
        age=_age(said),
        view="PA",
    )


def _sex(said: str) -> str | None:
    match = _SEX.search(said)
    if match is None:
        return None
    return match[1].upper() if match[1] else "F" if match[2] else "M"


def _age(said: str) -> float | None:
    match = _AGE.search(said)
    return int(match[1]) * _YEARS[match[2].lower()] if match else None
