"""A folder a class: ``films/10. PLEURAL EFFUSION/case.png``; numbering and case are ignored."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hilum.errors import DataError
from hilum.files import FILMS, beside, film_paths
from hilum.labels import canonical
from hilum.types import Listing, Sample

_PARTS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))
_MASKS = frozenset(("mask", "masks", "segmentation", "segmentations"))


def listing(path: str) -> Listing:
    """One sample a film; the class of its sub-folder is 1, the others 0. Each film counts as a patient.

    Passed over are folders without films, and folders of masks within a class. Raises DataError for films
    that lie in no class, and for folders that are parts of a split.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder with one sub-folder a class")
    within = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    if loose := [entry for entry in within if entry.is_file() and _may_be(entry)]:
        lie = f"{len(loose)} films lie beside its classes' folders, as {loose[0].name}"
        raise DataError(f"{folder}: {lie}; move each into its class's folder, or away")
    passed_over: Counter[str] = Counter()
    classes = {entry: _films(entry, passed_over) for entry in within if entry.is_dir()}
    passed_over["folder without films"] = sum(not films for films in classes.values())
    labels = sorted({canonical(entry.name) for entry, films in classes.items() if films})
    if labels and _PARTS.issuperset(map(str.lower, labels)):
        parts = [f"folder:{entry}" for entry, films in classes.items() if films]
        raise DataError(
            f"{folder}: its folders are parts of a split, not classes; give "
            + (f"{parts[0]}, or {'+'.join(parts)}" if len(parts) > 1 else parts[0])
        )
    if len(labels) < 2:
        raise DataError(f"{folder}: {len(labels)} classes; make a sub-folder for each class, at least two")
    site = folder.resolve().name
    samples = tuple(
        Sample(
            id=f"{site}:{film.relative_to(folder).as_posix()}",
            patient=f"{site}:{film.relative_to(folder).as_posix()}",
            image=film,
            labels={name: float(name == canonical(entry.name)) for name in labels},
            site=site,
        )
        for entry, films in classes.items()
        for film in films
    )
    return Listing(samples=samples, passed_over=+passed_over)


def _may_be(path: Path) -> bool:
    return path.suffix.lower() in FILMS and not beside(path.name)


def _films(entry: Path, passed_over: Counter[str]) -> list[Path]:
    """What a class's folder holds; what is no film is counted."""
    films = []
    for path in film_paths(entry):
        if beside(path.name):
            passed_over["no film by its ending"] += 1
        elif _MASKS.intersection(part.lower() for part in path.relative_to(entry).parts[:-1]):
            passed_over["in a folder of masks"] += 1
        else:
            films.append(path)
    return films
