"""The audit log: who did what, when, to which result; each line holds the SHA-256 of the line before it.

A line changed, left out or put in breaks the chain there. Lines cut off the end do not: note the last hash
elsewhere from time to time. Nothing in it names a patient.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import ConfigError
from hilum.types import now

START = "0" * 64  # stands where the first line would name the one before it
_LONGEST = 2**16  # bytes of a line; the service writes far shorter ones


class Audit:
    """One log file, open for appending. For one process; any thread may append."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            last, torn = _tail(self._file)
            if torn:
                os.ftruncate(self._file, os.fstat(self._file).st_size - torn)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}; choose another --data") from None
        self._last = hashlib.sha256(last).hexdigest() if last else START
        if torn:  # power or disk failed within the line: what it told did not happen
            self.append("dropped a torn line", bytes=torn)

    def append(self, what: str, **about: str | int) -> None:
        """Add a line; it has reached the system when this returns. Raises OSError where it cannot."""
        with self._lock:
            entry = {"previous": self._last, "time": now(), "what": what, **about}
            line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
            written = os.write(self._file, line)
            if written != len(line):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError("the audit log takes no more; free some disk")
            self._last = hashlib.sha256(line).hexdigest()

    def close(self) -> None:
        """Write what the system still holds to the disk, and close the file."""
        with self._lock:
            os.fsync(self._file)
            os.close(self._file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `verify` found."""

    lines: int  # that are sound, from the first
    last: str  # SHA-256 of the last of them
    broken: int | None = None  # number of the first line that is not, from 1
    why: str = ""


def verify(path: Path) -> Verdict:
    """Follow the chain of a log to its end, or to the first line that breaks it."""
    previous, count = START, 0
    try:
        with path.open("rb") as file:
            while line := file.readline(_LONGEST):
                if why := _why(line, previous):
                    return Verdict(lines=count, last=previous, broken=count + 1, why=why)
                previous, count = hashlib.sha256(line).hexdigest(), count + 1
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give an audit log") from None
    return Verdict(lines=count, last=previous)


def _why(line: bytes, previous: str) -> str:
    """What is wrong with a line; empty where nothing is."""
    if not line.endswith(b"\n"):
        return "it is not whole"
    try:
        entry = json.loads(line)
    except ValueError:
        return "it is no JSON"
    if not isinstance(entry, dict) or entry.get("previous") != previous:
        return "it does not name the line before it, which was changed, or lines are missing between them"
    return ""


def _tail(file: int) -> tuple[bytes, int]:
    """The last whole line, and how many bytes of a torn one follow it."""
    size = os.fstat(file).st_size
    tail = os.pread(file, 2 * _LONGEST, max(0, size - 2 * _LONGEST))
    whole = tail[: tail.rfind(b"\n") + 1]
    last = whole[whole.rfind(b"\n", 0, -1) + 1 :]
    return last, len(tail) - len(whole)
