"""A folder a class: ``films/10. PLEURAL EFFUSION/case.png``; numbering and case are ignored."""

from __future__ import annotations

from pathlib import Path

from hilum.errors import DataError
from hilum.files import film_paths
from hilum.labels import canonical
from hilum.types import Sample


def samples(path: str) -> list[Sample]:
    """One sample a film; the class of its sub-folder is 1, the others 0. Each film counts as a patient."""
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
    site = folder.resolve().name
    return [
        Sample(
            id=f"{site}:{film.relative_to(folder).as_posix()}",
            patient=f"{site}:{film.relative_to(folder).as_posix()}",
            image=film,
            labels={name: float(name == label) for name in labels},
            site=site,
        )
        for entry, label in classes.items()
        for film in film_paths(entry)
    ]
