"""The audit log: who did what to which result, and when. Each line holds the SHA-256 of the line before it.

A changed, missing or inserted line breaks the chain. Lines removed from the end do not: record the last hash
elsewhere from time to time. Nothing in the log names a patient.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import ConfigError
from hilum.types import now

START = "0" * 64  # the hash in the first line
_LONGEST = 2**16  # longest line in bytes; the service writes far shorter ones


class Audit:
    """One log file, open for appending by one process. Any thread may append."""

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
        if torn:  # power or disk failed while the line was written: its action did not happen
            self.append("dropped a torn line", bytes=torn)

    def append(self, what: str, **about: str | int) -> None:
        """Add a line and hand it to the operating system. Raises OSError if that fails."""
        with self._lock:
            entry = {"previous": self._last, "time": now(), "what": what, **about}
            line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
            written = os.write(self._file, line)
            if written != len(line):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError(errno.ENOSPC, "the audit log cannot be written; free some disk space")
            self._last = hashlib.sha256(line).hexdigest()

    def close(self) -> None:
        """Flush the file to disk and close it."""
        with self._lock:
            os.fsync(self._file)
            os.close(self._file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result of `verify`."""

    lines: int  # valid lines, counted from the first
    last: str  # SHA-256 of the last of them
    broken: int | None = None  # number of the first invalid line, from 1
    why: str = ""


def verify(path: Path) -> Verdict:
    """Check the chain of a log up to its end or its first invalid line. Raises ConfigError."""
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
    """What is wrong with a line; empty if it is valid."""
    if not line.endswith(b"\n"):
        return "it is incomplete"
    try:
        entry = json.loads(line)
    except ValueError:
        return "it is not JSON"
    if not isinstance(entry, dict) or entry.get("previous") != previous:
        return "its hash is not that of the line before it, which was changed, or lines are missing between"
    return ""


def _tail(file: int) -> tuple[bytes, int]:
    """The last whole line, and the number of bytes of a torn line after it."""
    size = os.fstat(file).st_size
    tail = os.pread(file, 2 * _LONGEST, max(0, size - 2 * _LONGEST))
    whole = tail[: tail.rfind(b"\n") + 1]
    last = whole[whole.rfind(b"\n", 0, -1) + 1 :]
    return last, len(tail) - len(whole)
