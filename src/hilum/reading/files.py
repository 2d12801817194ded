"""Find the files that may be films; `read` decides by their content whether they are."""

from __future__ import annotations

import csv
import errno
import gzip
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedReader, BytesIO, TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any

from hilum.errors import ConfigError, DataError

FILMS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
"""Endings of films; DICOM files may have none."""

BESIDE = (
    *(".txt", ".csv", ".tsv", ".json", ".xml", ".md", ".html", ".pdf", ".docx", ".xlsx", ".db", ".ini"),
    *(".cls", ".npy", ".npz", ".log", ".inf", ".exe", ".dll"),
)
"""Endings of files that lie beside films in collections, but are none."""

RESULTS = (".mask.png", ".overlay.png", ".seg.dcm", ".sr.dcm", ".sc.dcm", ".gsps.dcm")
"""Endings of what `hilum predict` and `hilum segment` add to a film's name, beside those above."""


LINKED = "link to a folder"


def beside(name: str) -> str:
    """The ending by which a file of a folder is no film; "" if it may be one.

    DICOMDIR is the index of a disc of films (PS3.10 section 8.6).
    """
    if name.upper() == "DICOMDIR":
        return "DICOMDIR"
    return next((ending for ending in (*RESULTS, *BESIDE) if name.lower().endswith(ending)), "")


def film_paths(
    folder: Path,
    *,
    barred: Callable[[Path], None] | None = None,
    linked: Callable[[Path], None] = lambda _: None,
    endings: tuple[str, ...] = ("",),
) -> list[Path]:
    """Every file under `folder` that has one of the `endings` (lower case), sorted.

    Broken links are among them, so that no film is lost silently.

    Hidden files and folders are skipped. Links to folders are skipped too; `linked` is called with each.

    Raises DataError if there is no such folder, or if a folder below it cannot be opened. With `barred`, that
    is called with each closed folder instead.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises PermissionError
        raise DataError(f"{folder}: no such folder; check the path")

    def unreadable(error: OSError) -> None:
        if barred and Path(error.filename) != folder:
            return barred(Path(error.filename))
        raise DataError(f"{error.filename}: {error.strerror}; let this user open it, or move it away")

    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if Path(place, name).is_symlink():
                linked(Path(place, name))
        films = [name for name in files if not name.startswith(".") and name.lower().endswith(endings)]
        found += [Path(place, name) for name in films]
    return sorted(path for path in found if _may_be(path))


def _may_be(path: Path) -> bool:
    """Whether a path is a file, a broken link, or of unknown kind: `read` refuses the latter two."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return path.is_symlink()
    except OSError:
        return True


def by_stem(folder: Path, endings: Sequence[str] = ()) -> dict[str, Path]:
    """File stem -> path for the films of `folder`, or for its files that have one of the `endings`.

    Endings are in lower case. Raises DataError where two files share a stem.
    """
    found: dict[str, Path] = {}
    for path in film_paths(folder, endings=tuple(endings) or ("",)):
        if not endings and beside(path.name):
            continue
        if path.stem in found:
            raise DataError(f"{path}: {found[path.stem].name} has the same name; keep one of them")
        found[path.stem] = path
    return found


_LONGEST = 2**24  # characters of a line; csv itself limits a cell to 131,072


@contextmanager
def csv_lines(path: Path, *, remedy: str, data: bytes | None = None) -> Iterator[Iterator[str]]:
    """The lines of a csv in UTF-8, gzipped or not, without a byte-order mark; of `data`, if already read.

    Raises DataError for a line that would fill the memory.
    """
    with ExitStack() as stack:
        packed: Any = path.open("rb") if data is None else BufferedReader(BytesIO(data))
        stack.enter_context(packed)
        if packed.peek(2)[:2] == b"\x1f\x8b":
            packed = stack.enter_context(gzip.GzipFile(fileobj=packed))
        file = stack.enter_context(TextIOWrapper(packed, encoding="utf-8-sig", newline=""))

        def lines() -> Iterator[str]:
            while line := file.readline(_LONGEST + 1):
                if len(line) > _LONGEST:
                    raise DataError(f"{path}: a line of over {_LONGEST:,} characters; {remedy}")
                yield line

        yield lines()


def read_csv(
    path: Path, *, remedy: str = "", data: bytes | None = None
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The heading of a csv, and the line number and cells of each row; of `data`, if already read.

    A byte-order mark, as spreadsheets write it, is skipped. Where decimals have a comma, spreadsheets write
    semicolons between the columns: if the heading has no comma, semicolons or tabs separate them. Raises
    DataError if it is malformed, with the `remedy` for files that Hilum wrote.
    """
    remedy_of_text = remedy or "give a csv in UTF-8 (Excel: save as CSV UTF-8)"
    try:
        with csv_lines(path, remedy=remedy_of_text, data=data) as lines:
            heading = next(lines, "")
            mark = next((one for one in ",;\t" if one in heading), ",")
            reader = csv.DictReader(chain([heading], lines), delimiter=mark)
            columns = list(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{path}: {why}; {remedy_of_text}") from None
    for line, row in rows:
        # An unquoted comma or a cut-off file moves cells under other columns' names.
        if None in row or None in row.values():
            raise DataError(
                f"{path}, line {line}: not {len(columns)} cells as the heading has; "
                f"{remedy or 'correct the row'}"
            )
    return columns, rows


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve raises RuntimeError for links in a circle


def _films(folder: Path, out: Path, passed: Callable[[str], None]) -> list[Path]:
    """The files of a folder that may be films; `passed` as of `inputs`. Raises ConfigError if none is."""
    closed: list[Path] = []  # folders; each is listed as a film that cannot be read
    found = film_paths(folder, barred=closed.append, linked=lambda _: passed(LINKED))
    films = []
    for path in [*found, *closed]:
        if _real(path).is_relative_to(_real(out)):
            continue
        if ending := beside(path.name):
            passed(ending)
        else:
            films.append(path)
    if films:
        return films
    if not found:
        raise ConfigError(
            f"{folder}: holds no files (links to folders are not followed: give those themselves)"
        )
    if _real(folder).is_relative_to(_real(out)):
        raise ConfigError(f"{folder}: all of it lies in the folder for results; choose another --out")
    raise ConfigError(f"{folder}: no file here has an ending that films have; give the films by name")


def _there(path: Path) -> bool:
    """Whether a path exists, or may not be looked at: `read` refuses the latter."""
    try:
        path.stat()
    except ValueError:  # a NUL within the path
        return False
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
    return True


def inputs(
    paths: Sequence[Path], out: Path, *, passed: Callable[[str], None] = lambda _: None
) -> dict[str, Path]:
    """Name -> file for the files and folders that a user gives; results are named after these names.

    A file of a single folder is named by its path in that folder; with several folders, the folder's name
    comes first. A file that is given itself has its own name. Files under `out`, where results go, are
    skipped. Files of folders that are no films by their names (see `beside`) are skipped too; `passed` is
    called with the ending of each. Raises ConfigError for a missing path, a folder without films or two
    inputs of one name.
    """
    named: dict[str, Path] = {}
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises PermissionError
            prefix = "" if len(paths) == 1 else f"{path.resolve().name}/"
            found = {prefix + film.relative_to(path).as_posix(): film for film in _films(path, out, passed)}
        elif _there(path):
            found = {path.name: path}
        else:
            raise ConfigError(f"{path}: no such file or folder; check the path")
        if clash := named.keys() & found.keys():
            name = min(clash)
            raise ConfigError(f"{found[name]} and {named[name]} would write the same files; run them apart")
        named |= found
    return named
