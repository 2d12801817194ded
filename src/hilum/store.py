"""Folders and files that appear whole or not at all, and locks for output folders."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from hilum.errors import ConfigError


def publish(draft: Path, folder: Path) -> None:
    """Put the finished draft in place; an older folder of that name is kept aside until that is done."""
    for path in draft.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
        path.chmod(0o644)  # files of safetensors and mkdtemp are readable by their owner only
    draft.chmod(0o755)
    old = folder.with_name(f".{folder.name}-old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    try:
        draft.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def drafted(folder: Path) -> Iterator[Path]:
    """A draft folder to fill; it replaces `folder` at the end if nothing failed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield draft
        publish(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def surviving(folder: Path) -> Path:
    """The folder, or the older one kept aside if `publish` was killed between its two renames."""
    old = folder.with_name(f".{folder.name}-old")
    return old if old.is_dir() and not folder.exists() else folder


def sha256(path: Path) -> str:
    """Lower-case hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A table with a header line. Raises ValueError for a row with a key that is not a column."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@contextmanager
def whole(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A draft file to write; it replaces `path` at the end if nothing failed."""
    draft = path.with_name(f".{path.name}-draft")
    draft.unlink(missing_ok=True)
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes | str, *, mode: int = 0o644) -> None:
    """Write a file that appears whole or not at all; text as UTF-8, with file names in it unchanged."""
    with whole(path, mode=mode) as file:
        file.write(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)


@contextmanager
def alone(folder: Path, does: str, *, patience: float = 0.0) -> Iterator[None]:
    """Lock an output folder, so that two processes do not mix their results.

    Raises ConfigError if another process still holds it after `patience` seconds; `does` says what that
    process does. There is no lock on Windows, or on network disks that have none.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    lock = os.open(folder, os.O_RDONLY)
    until = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    why = f"another process {does} there; wait for it, or choose another out"
                    raise ConfigError(f"{folder}: {why}") from None
                time.sleep(0.2)
            except OSError:
                break
            else:
                break
        yield
    finally:
        os.close(lock)
