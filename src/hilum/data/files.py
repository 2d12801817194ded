"""Finding the film files in a folder."""

from __future__ import annotations

from pathlib import Path

from hilum.errors import DataError

# Only what lies beside films and is surely none is passed over; whether the rest are films, read() decides.
_NOT_FILMS = {".csv", ".txt", ".md", ".json", ".xml", ".zip", ".gz", ".tar", ".html", ".pdf", ".db", ".toml"}


def film_paths(folder: Path) -> list[Path]:
    """Every file under `folder` that may be a film, sorted; hidden files and folders are passed over."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check the path")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix.lower() not in _NOT_FILMS
        and path.name != "DICOMDIR"
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def films(folder: Path) -> dict[str, Path]:
    """File stem -> path for the films of `folder`; raises DataError where two files share a stem."""
    found: dict[str, Path] = {}
    for path in film_paths(folder):
        if path.stem in found:
            raise DataError(f"{path}: {found[path.stem].name} has the same name; keep one of them")
        found[path.stem] = path
    return found
