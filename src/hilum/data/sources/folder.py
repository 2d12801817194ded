"""One folder a class: ``films/10. PLEURAL EFFUSION/case.png``; numbers and case are ignored."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hilum.errors import DataError
from hilum.labels import canonical
from hilum.reading.files import FILMS, beside, film_paths
from hilum.types import Listing, Sample

_PARTS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))
_MASKS = frozenset(("mask", "masks", "segmentation", "segmentations"))


def listing(path: str) -> Listing:
    """One sample a film; the class of its sub-folder is 1, the others 0. Each film counts as a patient.

    Folders without films, and folders of masks within a class, are skipped. Raises DataError for films
    outside the classes, for folders that are parts of a split or masks, and for two folders of one class.
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
    labels = _labels(folder, [entry for entry, films in classes.items() if films])
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


def _labels(folder: Path, classes: list[Path]) -> list[str]:
    """The labels of the classes' folders; raises DataError for other folders, and for two of one label."""
    if parts := [entry for entry in classes if entry.name.lower() in _PARTS]:
        each = [f"folder:{entry}" for entry in parts]
        raise DataError(
            f"{folder}: {_named(parts)}: parts of a split, not classes; give "
            + (f"{each[0]}, or {'+'.join(each)}" if len(each) > 1 else each[0])
        )
    if masks := [entry for entry in classes if entry.name.lower() in _MASKS]:
        raise DataError(
            f"{folder}: {_named(masks)}: masks, not a class; give masks:{folder}, or move them away"
        )
    found: dict[str, Path] = {}
    for entry in classes:
        if other := found.get(canonical(entry.name)):
            raise DataError(
                f"{folder}: {_named([other, entry])} are both {canonical(entry.name)}: leading numbers, "
                "case and spelling are ignored; join or rename them"
            )
        found[canonical(entry.name)] = entry
    return sorted(found)


def _named(entries: list[Path]) -> str:
    return " and ".join(entry.name for entry in entries)


def _may_be(path: Path) -> bool:
    return path.suffix.lower() in FILMS and not beside(path.name)


def _films(entry: Path, passed_over: Counter[str]) -> list[Path]:
    """The films in a class's folder; other files are counted."""
    films = []
    for path in film_paths(entry):
        if beside(path.name):
            passed_over["no film by its ending"] += 1
        elif _MASKS.intersection(part.lower() for part in path.relative_to(entry).parts[:-1]):
            passed_over["in a folder of masks"] += 1
        else:
            films.append(path)
    return films
