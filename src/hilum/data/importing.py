"""DICOM studies -> a de-identified csv data set, and a list of the files left out with the reasons.

Only header fields that `hilum.data.study_header` allows are kept, and every name is a keyed hash. A film's
files are written before its line of the journal, so that a killed import can resume.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hilum import __version__
from hilum.data import dicom_copy
from hilum.data.burnt_in import words
from hilum.data.journal import appending, entries_of
from hilum.data.opened import patiently
from hilum.data.png import png, sized
from hilum.data.pseudonyms import Key, pseudonym
from hilum.data.study_files import Found, find, patient_of
from hilum.data.study_header import StudyHeader, study_header
from hilum.engines import cores
from hilum.errors import ConfigError, ReadError
from hilum.gate import admit
from hilum.pipeline import GATE, SEGMENTER, Pipeline
from hilum.reading.reader import read
from hilum.runtime import Runtime
from hilum.runtime import find as model
from hilum.store import alone, as_csv, write_whole
from hilum.types import Radiograph, Tick

TABLE, LEFT_OUT, ABOUT, _JOURNAL = "films.csv", "left-out.csv", "import.json", ".journal.jsonl"
_COLUMNS = (
    "path", "id", "patient", "study", "sex", "age", "view", "modality", "laterality", "position", "row_mm",
    "column_mm",
)  # fmt: skip
_FORMAT = 2  # in format 1, 16-bit PNG lack the mark that their grey levels are final

_THREADS = min(4, cores())

UNREADABLE = "cannot be read: truncated, damaged, or coded in a way that has no decoder"
BURNT_IN = "burnt-in words: "
REFUSED = "not taken for a frontal chest film: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an import keeps; to resume an import, give the same options."""

    size: int = 0  # pixels, the longest side; 0: as it is
    keep_flagged: bool = False
    keep_dicom: bool = False
    device: bool = False  # manufacturer and model, which are free text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One file, read and examined; `why` says why it is left out, if it is."""

    why: str = ""
    header: StudyHeader | None = None
    film: Radiograph | None = None
    flagged: str = ""


def import_studies(
    places: Sequence[Path], out: Path, key: Key, options: Options, *, tick: Tick | None = None
) -> dict[str, Any]:
    """Write ``films.csv``, ``films/``, ``left-out.csv`` and ``import.json``; returns the content of the last.

    Films that an earlier import wrote to the same folder stay, and are not read again. Files that could not
    be read are tried again, because a disk may have been away. Raises ConfigError if that import had another
    key or other options, and for a place that does not exist.
    """
    if options.keep_dicom:
        dicom_copy.check_installed()
    files = find(places, out, key)
    _room(out)
    with alone(out, "imports"):
        return _import(files, out, key, options, tick)


def _import(
    files: Sequence[Found], out: Path, key: Key, options: Options, tick: Tick | None
) -> dict[str, Any]:
    """The work of `import_studies`, while no other process imports there."""
    head = {"format": _FORMAT, "key": pseudonym(key, "key", ""), "options": asdict(options)}
    anew = {file.token for file in files if not file.why}  # files to try again if they could not be read
    begun = _begun(out, head)
    entries = [one for one in begun if not (one["file"] in anew and one["why"].startswith(UNREADABLE))]
    seen = {entry["file"] for entry in entries}
    todo = [file for file in files if file.token not in seen]
    kept = set(_traces(entries))
    pipeline = Pipeline(Runtime(model(SEGMENTER)), None, gate=Runtime(model(GATE)))
    films = sum(1 for entry in entries if entry["row"])
    with appending(out / _JOURNAL, head, entries) as add:
        for folder in ("films", "dicom") if options.keep_dicom else ("films",):
            (out / folder).mkdir(exist_ok=True)
        for done, (file, look) in enumerate(_read_ahead(todo), 1):
            entry = _settled(file, look, out, key, options, kept, pipeline)
            kept.update(_traces([entry]))
            entries.append(entry)
            add(entry)
            films += bool(entry["row"])
            if tick:
                tick(len(files) - len(todo) + done, len(files), f"{films} films")
    return _told(out, key, options, entries)


def rejected(why: str) -> bool:
    """Whether a reason stands for a film that the user may have wanted."""
    return why.startswith(("cannot be", BURNT_IN, REFUSED))


def _room(out: Path) -> None:
    """Make the folder; raises ConfigError if it holds something other than an import."""
    used = out.exists() and (not out.is_dir() or any(out.glob("[!.]*")))
    if used and not (out / _JOURNAL).is_file():
        raise ConfigError("--out: holds something other than an import; give an empty or a new folder")
    out.mkdir(parents=True, exist_ok=True)


def _begun(out: Path, head: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The journal's entries so far; none in a new folder."""
    begun, entries = entries_of(out / _JOURNAL)
    if begun is None:
        return []
    if begun["format"] != _FORMAT:
        raise ConfigError(
            "--out: was made by an older Hilum, whose films are read with other grey levels; import all "
            "into another folder"
        )
    for what in ("key", "options"):
        if begun[what] != head[what]:
            raise ConfigError(f"--out: was made with another {what}; give the same again, or another folder")
    return entries


def _traces(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Hashes by which another copy of a kept film is recognised."""
    return [entry[trace] for entry in entries if entry["row"] for trace in ("film", "pixels")]


def _read_ahead(files: Sequence[Found]) -> Iterator[tuple[Found, _Look]]:
    """Every file in order; a few are read ahead."""
    with ThreadPoolExecutor(_THREADS) as pool:
        rest = iter(files)
        ahead: deque[tuple[Found, Future[_Look]]] = deque()
        while True:
            more = islice(rest, max(0, _THREADS + 1 - len(ahead)))
            ahead.extend((file, pool.submit(_look_at, file)) for file in more)
            if not ahead:
                return
            file, future = ahead.popleft()
            yield file, future.result()
            del future  # which would keep the film until the next one is read


def _look_at(file: Found) -> _Look:
    """Read one file; its faults are reported in fixed words, because errors may quote the header."""
    if file.why:
        return _Look(why=file.why)
    try:
        with file.path.open("rb") as handle:
            header = study_header(handle)
        if header is None:
            return _Look(why="no DICOM file")
        if header.left_out:
            return _Look(why=header.left_out, header=header)
        film = patiently(partial(read, file.path))
        flagged = header.flagged or ("letters in the picture" if words(film.pixels) else "")
    except ReadError:
        return _Look(why=UNREADABLE)
    except Exception as error:  # one bad file must not stop the rest
        return _Look(why=f"{UNREADABLE} ({type(error).__name__})")
    return _Look(header=header, film=film, flagged=flagged)


def _settled(
    file: Found,
    look: _Look,
    out: Path,
    key: Key,
    options: Options,
    kept: Collection[str],
    pipeline: Pipeline,
) -> dict[str, Any]:
    """The file's journal entry; its film is written if it is kept."""
    header, film = look.header, look.film
    entry: dict[str, Any] = {"file": file.token, "id": file.id, "why": look.why, "row": None}
    if header is None or film is None:
        return entry
    shape = str(film.pixels.shape).encode()
    pixels = pseudonym(key, "pixels", hashlib.sha256(shape + film.pixels.tobytes()).hexdigest())
    name = pseudonym(key, "film", header.uid or pixels)
    entry |= {"film": name, "pixels": pixels}
    if name in kept or pixels in kept:
        return entry | {"why": f"the same {'object' if name in kept else 'pixels'} as another film"}
    if look.flagged and not options.keep_flagged:
        return entry | {"why": BURNT_IN + look.flagged}
    try:
        reasons = admit(film) if header.told else pipeline.analyse(film).reasons
        if reasons:
            return entry | {"why": REFUSED + reasons[0].code}
        row = _row(header, film, name, key, options) | {"flagged": look.flagged}
        files = _files(file.path, look, row, key, options)
    except Exception as error:  # as in _look_at
        return entry | {"why": f"{UNREADABLE} ({type(error).__name__})"}
    for path, content in files.items():
        write_whole(out / path, content)
    return entry | {"row": row}


def _row(header: StudyHeader, film: Radiograph, name: str, key: Key, options: Options) -> dict[str, str]:
    """The film's row of the table."""
    shrunk = max(1.0, max(film.pixels.shape) / options.size) if options.size else 1.0
    spacing = [f"{one * shrunk:.4f}" for one in film.spacing] if film.spacing else ["", ""]
    return {
        "path": f"films/{name}.png",
        "id": name,
        "patient": patient_of(key, header, name),
        "study": pseudonym(key, "study", header.study or name),
        **header.kept,
        "row_mm": spacing[0],
        "column_mm": spacing[1],
        **(header.device if options.device else {}),
    }


def _files(source: Path, look: _Look, row: Mapping[str, str], key: Key, options: Options) -> dict[str, bytes]:
    """Path -> content: a PNG, of 16 bits where the source has more than 8, and the DICOM copy."""
    header, film = look.header, look.film
    if header is None or film is None:
        raise TypeError("a film that was not opened")
    kind = np.uint16 if header.bits > 8 else np.uint8
    grey = np.rint(sized(film.pixels, options.size) * np.iinfo(kind).max).astype(kind)
    files = {row["path"]: png(grey)}
    if options.keep_dicom:
        files[f"dicom/{row['id']}.dcm"] = dicom_copy.deidentified(
            source.read_bytes(),
            key,
            header,
            film=row["id"],
            patient=row["patient"],
            rendered=film.pixels,
            flagged=bool(look.flagged),
        )
    return files


def _told(out: Path, key: Key, options: Options, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write the tables and the summary."""
    latest: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        # A changed file has two entries; if the first one's film was kept, that one counts.
        if entry["row"] or not latest.get(entry["id"], {}).get("row"):
            latest[entry["id"]] = entry
    # All films written: a path may now hold another film, as in a disc drive.
    rows = [entry["row"] for entry in entries if entry["row"]]
    lost = [{"id": entry["id"], "why": entry["why"]} for entry in latest.values() if not entry["row"]]
    columns = [*_COLUMNS, *(("manufacturer", "model") if options.device else ())]
    columns += ["flagged"] if options.keep_flagged else []
    write_whole(out / TABLE, as_csv(columns, [{name: row[name] for name in columns} for row in rows]))
    write_whole(out / LEFT_OUT, as_csv(["id", "why"], lost))
    counts = {
        "files": len(rows) + len(lost),
        "films": len(rows),
        "patients": len({row["patient"] for row in rows}),
        "studies": len({row["study"] for row in rows}),
        "flagged": sum(bool(row["flagged"]) for row in rows),
        "left_out": dict(Counter(one["why"] for one in lost).most_common()),
    }
    about = {"hilum": __version__, "key": pseudonym(key, "key", ""), "options": asdict(options), **counts}
    write_whole(out / ABOUT, json.dumps(about, indent=2) + "\n")
    return about
