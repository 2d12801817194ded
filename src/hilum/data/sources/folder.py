"""A folder a class: ``films/10. PLEURAL EFFUSION/case.png``; numbering and case are ignored."""

from __future__ import annotations

from pathlib import Path

from hilum.errors import DataError
from hilum.files import FILMS, beside, film_paths
from hilum.labels import canonical
from hilum.types import Listing, Sample


def listing(path: str) -> Listing:
    """One sample a film; the class of its sub-folder is 1, the others 0. Each film counts as a patient.

    Raises DataError for films that lie in no class.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder with one sub-folder a class")
    classes = {
        entry: canonical(entry.name)
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    }
    labels = sorted(set(classes.values()))
    if len(labels) < 2:
        raise DataError(f"{folder}: {len(labels)} classes; make a sub-folder for each class, at least two")
    loose = [
        entry for entry in sorted(folder.iterdir()) if entry.is_file() and not entry.name.startswith(".")
    ]
    films = [entry for entry in loose if entry.suffix.lower() in FILMS and not beside(entry.name)]
    if films:
        lie = f"{len(films)} films lie beside its classes' folders, as {films[0].name}"
        raise DataError(f"{folder}: {lie}; move each into its class's folder, or away")
    found = [(film, label) for entry, label in classes.items() for film in film_paths(entry)]
    others = [film for film, _ in found if beside(film.name)]
    site = folder.resolve().name
    samples = tuple(
        Sample(
            id=f"{site}:{film.relative_to(folder).as_posix()}",
            patient=f"{site}:{film.relative_to(folder).as_posix()}",
            image=film,
            labels={name: float(name == label) for name in labels},
            site=site,
        )
        for film, label in found
        if not beside(film.name)
    )
    return Listing(samples=samples, passed_over={"no film by its ending": len(others)} if others else {})
