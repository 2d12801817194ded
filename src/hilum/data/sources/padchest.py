"""PadChest: films of a Spanish hospital with labels from a tree of 174 findings and 19 diagnoses.

Source: Bustos et al., Med Image Anal 2020 (160,868 films of 67,625 patients; the distributed table, of 1
February 2019, has 160,861 rows). The reports are in Spanish, their labels in English; physicians labelled a
quarter, a network the rest (column MethodLabel).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from hilum.data.sources.rows import by_name, rows, sex_of, table, years_of
from hilum.errors import DataError
from hilum.labels import NO_FINDING
from hilum.types import Listing, Sample

SITE = "padchest"

PUBLISHED = {"films listed": 160_861}  # the makers publish the number of patients only for the paper's films

# Finding -> the terms that count as it, by the makers' tree of terms. Other terms make a film not normal, but
# have no label here.
TREE: dict[str, tuple[str, ...]] = {
    "Atelectasis": (
        "atelectasis", "total atelectasis", "lobar atelectasis", "segmental atelectasis",
        "laminar atelectasis", "round atelectasis", "atelectasis basal",
    ),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": ("consolidation", "air bronchogram"),
    "Edema": ("pulmonary edema",),
    "Pleural Effusion": (
        "pleural effusion", "loculated pleural effusion", "loculated fissural effusion", "hydropneumothorax",
        "empyema", "hemothorax",
    ),
    "Emphysema": ("emphysema",),
    "Fibrosis": ("pulmonary fibrosis", "post radiotherapy changes", "asbestosis signs"),
    "Fracture": (
        "fracture", "clavicle fracture", "humeral fracture", "vertebral fracture", "rib fracture",
        "callus rib fracture",
    ),
    "Hernia": ("hiatal hernia",),
    "Infiltration": (
        "infiltrates", "interstitial pattern", "ground glass pattern", "reticular interstitial pattern",
        "reticulonodular interstitial pattern", "miliary opacities", "alveolar pattern", "consolidation",
        "air bronchogram",
    ),
    "Mass": (
        "mass", "mediastinal mass", "breast mass", "pleural mass", "pulmonary mass", "soft tissue mass",
    ),
    "Nodule": ("nodule", "multiple nodules"),
    "Pleural Thickening": ("pleural thickening", "apical pleural thickening", "calcified pleural thickening"),
    "Pneumonia": ("pneumonia", "atypical pneumonia"),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "Tuberculosis": ("tuberculosis", "tuberculosis sequelae"),
}  # fmt: skip

# Films that are truncated or empty in the makers' own archives. Source: TorchXRayVision's list.
BROKEN = frozenset(
    f"216840111366964{rest}.png"
    for rest in (
        "012819207061112010307142602253_04-014-084", "012989926673512011074122523403_00-163-058",
        "012959786098432011033083840143_00-176-115", "012558082906712009327122220177_00-102-064",
        "012339356563862009072111404053_00-043-192", "013076187734852011291090445391_00-196-188",
        "012373310883942009117084022290_00-064-025", "012283393834152009033102258826_00-059-087",
        "012373310883942009170084120009_00-097-074", "012819207061112010315104455352_04-024-184",
        "012819207061112010306085429121_04-020-102", "012989926673512011083134050913_00-168-009",
        "012373310883942009152114636712_00-102-045", "012819207061112010281134410801_00-129-131",
        "012487858717522009280135853083_00-075-001", "012989926673512011151082430686_00-157-045",
        "013686042548532013208193054515_02-026-007", "013590140476722013058110301622_02-056-111",
        "013590140476722013043111952381_02-065-198", "013829543166512013353113303615_02-092-190",
        "013962490064942014134093945580_01-178-104",
    )
)  # fmt: skip

_VIEWS = {"PA": "PA", "AP": "AP", "AP_horizontal": "AP"}  # the last is supine
_SILENT = {"unchanged", "suboptimal study"}  # such reports do not mention all findings
_COLUMNS = ("ImageID", "PatientID", "Projection", "Labels")
_ALSO = (
    "StudyID", "PatientBirth", "PatientSex_DICOM", "StudyDate_DICOM", "Pediatric",
    "PhotometricInterpretation_DICOM",
)  # fmt: skip
_TERM = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_FINDINGS = {term: [name for name in TREE if term in TREE[name]] for terms in TREE.values() for term in terms}
_UNKNOWN = dict.fromkeys([*TREE, NO_FINDING], float("nan"))


def listing(path: str) -> Listing:
    """The PA and AP films that the csv lists, wherever they lie below the folder.

    Other projections, films known to be broken, and films without labels or labelled "exclude" are skipped.
    No Finding is 1 if "normal" is the only label, and 0 if there is any other. If a report says "unchanged"
    or "suboptimal study", findings that it does not name stay unknown.

    Notes count children's films, and films whose DICOM originals stored air bright. The makers do not say
    whether the PNG still do; nothing is inverted here.
    """
    folder = Path(path)
    file = table(folder, "PADCHEST_*.csv", "*adchest*.csv", whose="PadChest")
    films = by_name(folder, [".png", ".jpg", ".dcm"])
    copies: dict[str, list[Path]] = defaultdict(list)
    for found in films.values():
        copies[found.stem].append(found)
    samples, missing, listed = [], [], set()
    passed_over: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    for line, row in rows(file, _COLUMNS, _ALSO, whose="PadChest"):
        name, terms = Path(row["ImageID"]).stem, _terms(row["Labels"], file, line)
        listed.add(name)
        if reason := _reason(row, name, terms):
            passed_over[reason] += 1
        elif (film := films.get(row["ImageID"]) or _copy(copies[name])) is None:
            missing.append(row["ImageID"])
        else:
            notes.update(_notes(row))
            samples.append(
                Sample(
                    id=f"{SITE}:{name}",
                    patient=f"{SITE}:{row['PatientID']}",
                    image=film,
                    labels=_labels(terms),
                    study=f"{SITE}:{row['StudyID']}" if row.get("StudyID") else None,
                    site=SITE,
                    published=True,
                    sex=sex_of(row.get("PatientSex_DICOM")),
                    age=_age(row),
                    view=_VIEWS[row["Projection"]],
                )
            )
    return Listing(
        samples=tuple(samples),
        missing=tuple(missing),
        unlisted=tuple(sorted(name for name in films if Path(name).stem not in listed)),
        passed_over=passed_over,
        notes=notes,
        published=PUBLISHED,
    )


def _copy(found: Sequence[Path]) -> Path | None:
    """A film with another ending, such as a JPEG copy."""
    if len(found) > 1:
        raise DataError(f"{found[1]}: {found[0]} has the same name; keep one of them")
    return found[0] if found else None


def _reason(row: dict[str, str], name: str, terms: set[str]) -> str | None:
    """Why a film is skipped, or None."""
    if row["Projection"] not in _VIEWS:
        return f"projection {row['Projection'] or 'unknown'}"
    if f"{name}.png" in BROKEN:
        return "known to be broken"
    if not terms:
        return "no labels"
    return 'labelled "exclude"' if "exclude" in terms else None


def _notes(row: dict[str, str]) -> list[str]:
    """Notes about a film that is read."""
    said = {
        "of children": row.get("Pediatric") == "PED",
        "MONOCHROME1 in DICOM, perhaps with air bright": row.get("PhotometricInterpretation_DICOM")
        == "MONOCHROME1",
    }
    return [what for what, true in said.items() if true]


def _terms(text: str, file: Path, line: int) -> set[str]:
    """The terms of a list in Python's notation."""
    if text in ("", "nan", "[]"):
        return set()
    if not (text.startswith("[") and text.endswith("]")):
        raise DataError(
            f"{file}, line {line}, column 'Labels': {text!r} is no list such as ['normal']; "
            "give PadChest's own table"
        )
    return {(one or other).strip().lower() for one, other in _TERM.findall(text)} - {""}


def _labels(terms: Iterable[str]) -> dict[str, float]:
    found = set(terms)
    silent = bool(found & _SILENT)
    labels = _UNKNOWN.copy() if silent else dict.fromkeys(_UNKNOWN, 0.0)
    for term in found:
        for name in _FINDINGS.get(term, ()):
            labels[name] = 1.0
    if found - _SILENT - {"normal"}:
        labels[NO_FINDING] = 0.0
    elif not silent:
        labels[NO_FINDING] = 1.0
    return labels


def _age(row: dict[str, str]) -> float | None:
    """Years from the year of birth to the year of the study."""
    born, seen = row.get("PatientBirth", "")[:4], row.get("StudyDate_DICOM", "")[:4]
    return years_of(str(int(seen) - int(born))) if born.isdecimal() and seen.isdecimal() else None
