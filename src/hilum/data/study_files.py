"""The files of studies, named by a keyed hash alone, and the one table that leads back to them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hilum.data.pseudonyms import Key, pseudonym
from hilum.data.study_header import StudyHeader, study_header
from hilum.errors import ConfigError
from hilum.reading.files import LINKED, read_csv
from hilum.store import as_csv, write_whole

_HEADING = ("file_id", "film", "patient", "path", "patient_id", "study_uid", "sop_uid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One file; its path must not leave the import."""

    path: Path
    id: str  # hash of the path
    token: str  # likewise, of the file as it now is
    why: str = ""  # it cannot be opened


def find(places: Sequence[Path], out: Path, key: Key) -> list[Found]:
    """Every file at or below the places, in the order of their paths, but what is hidden or in `out`.

    Raises ConfigError for a place that is not there, by its number: a path may hold a patient's name.
    """
    paths: dict[Path, str] = {}
    for number, place in enumerate(places, 1):
        try:
            paths |= _below(place.resolve(strict=True))
        except OSError:
            raise ConfigError(f"DICOM_DIR, number {number}: no such file or folder; check the path") from None
    inner = out.resolve()
    return [_found(path, why, key) for path, why in sorted(paths.items()) if not path.is_relative_to(inner)]


def _below(place: Path) -> dict[Path, str]:
    """Path -> "", or why it is not opened."""
    if place.is_file():
        return {place: ""}
    paths: dict[Path, str] = {}

    def closed(error: OSError) -> None:
        paths[Path(error.filename)] = "cannot be opened: a folder"

    for folder, folders, files in os.walk(place, onerror=closed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths |= {Path(folder, name): LINKED for name in folders if Path(folder, name).is_symlink()}
        paths |= {Path(folder, name): "" for name in files if not name.startswith(".")}
    return paths


def _found(path: Path, why: str, key: Key) -> Found:
    try:
        info = path.stat()
        state = f"{info.st_size}|{info.st_mtime_ns}"
        if not why and not path.is_file():  # reading a pipe might never end
            why = "not a regular file"
    except OSError:
        state, why = "", "cannot be opened"
    return Found(
        path=path,
        id=pseudonym(key, "path", str(path)),
        token=pseudonym(key, "file", f"{path}|{state}"),
        why=why,
    )


def patient_of(key: Key, header: StudyHeader, film: str) -> str:
    """The patient's pseudonym; without a number, a study is a patient of its own, and without that a film."""
    return pseudonym(key, "patient", header.patient or header.study or film)


def check_outside(file: Path, out: Path, option: str) -> None:
    """Raises ConfigError for a secret file that would go wherever the data set goes."""
    if file.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"{option}: lies inside --out, and would be shared with it; name a place elsewhere")


def check_mapping(file: Path) -> None:
    """Raises ConfigError where a mapping would be written over something else."""
    if file.exists() and not (file.is_file() and tuple(read_csv(file)[0]) == _HEADING):
        raise ConfigError("--mapping: holds something else than a mapping; name another file")


def write_mapping(file: Path, places: Sequence[Path], out: Path, key: Key) -> None:
    """Write, for its owner alone to read, which pseudonyms stand for which file, patient and study.

    What an earlier import has written there stays.
    """
    earlier = [row for _, row in read_csv(file)[1]] if file.exists() else []
    rows = {(row["file_id"], row["sop_uid"]): row for row in earlier}
    for found in find(places, out, key):
        header = None
        if not found.why:
            try:
                with found.path.open("rb") as opened:
                    header = study_header(opened)
            except OSError:
                header = None
        said = (header.patient, header.study, header.uid) if header else ("", "", "")
        film = pseudonym(key, "film", said[2]) if said[2] else ""
        patient = patient_of(key, header, film) if header else ""
        path = os.fsencode(found.path).decode("utf-8", "backslashreplace")  # or the table would be no UTF-8
        cells = (found.id, film, patient, path, *said)
        rows[found.id, said[2]] = dict(zip(_HEADING, cells, strict=True))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, as_csv(_HEADING, rows.values()), mode=0o600)
