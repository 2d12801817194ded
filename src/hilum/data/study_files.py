"""The files of studies, named only by a keyed hash, and the mapping back to them."""

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
    """One file; its path must not appear in results."""

    path: Path
    id: str  # hash of the path
    token: str  # hash of path, size and time
    why: str = ""  # why it cannot be opened, or ""


def find(places: Sequence[Path], out: Path, key: Key) -> list[Found]:
    """Every file at or below the places, sorted by path, except hidden ones and those in `out`.

    Raises ConfigError for a place that does not exist; it shows its number, as a path may hold a name.
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
    """Path -> "", or why it cannot be opened."""
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
    """The patient's pseudonym; without a PatientID each study counts as a patient, without that each film."""
    return pseudonym(key, "patient", header.patient or header.study or film)


def check_outside(file: Path, out: Path, option: str) -> None:
    """Raises ConfigError for a secret file in the folder of the data set, which may be shared."""
    if file.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"{option}: lies inside --out, and would be shared with it; name a place elsewhere")


def check_mapping(file: Path) -> None:
    """Raises ConfigError if a mapping would overwrite something else."""
    if file.exists() and not (file.is_file() and tuple(read_csv(file)[0]) == _HEADING):
        raise ConfigError("--mapping: holds something other than a mapping; name another file")


def write_mapping(file: Path, places: Sequence[Path], out: Path, key: Key) -> None:
    """Write which pseudonyms stand for which file, patient and study, readable by the owner only.

    Rows of earlier imports stay.
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
        path = os.fsencode(found.path).decode("utf-8", "backslashreplace")  # the table must be UTF-8
        cells = (found.id, film, patient, path, *said)
        rows[found.id, said[2]] = dict(zip(_HEADING, cells, strict=True))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, as_csv(_HEADING, rows.values()), mode=0o600)
