"""The original films on disk, named by the id of their result and deleted after some days."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Collection
from pathlib import Path

from hilum.serve.faults import ServiceError, full

_ORPHANED = 3600.0  # seconds until a film without a result or job is deleted
_DAY = 86_400.0
_SPARE = 2**28  # bytes of disk reserved for database and logs


class Films:
    """A folder with access for this user alone."""

    def __init__(self, folder: Path) -> None:
        self._kept, self._incoming = folder / "films", folder / "incoming"
        shutil.rmtree(self._incoming, ignore_errors=True)  # uploads of a killed process
        for path in (self._kept, self._incoming):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)

    def check(self) -> None:
        """Raise ServiceError if the disk is full."""
        if shutil.disk_usage(self._incoming).free < _SPARE:
            raise full()

    def draft(self) -> Path:
        """A new, empty file for an upload; adopt or delete it. Raises ServiceError if the disk is full."""
        self.check()
        path = self._incoming / uuid.uuid4().hex
        path.touch(mode=0o600, exist_ok=False)
        return path

    def adopt(self, draft: Path, result: str) -> None:
        """Keep an upload as the film of a result."""
        draft.replace(self._kept / result)

    def path(self, result: str) -> Path:
        """The film of a result. Raises ServiceError if it is no longer kept."""
        path = self._kept / result
        if not path.is_file():
            raise ServiceError(410, "expired", "the film is no longer kept", "send the film again")
        return path

    def discard(self, result: str) -> None:
        """Delete the film of a result, if it is there."""
        (self._kept / result).unlink(missing_ok=True)

    def sweep(self, days: float, known: Collection[str], waiting: Collection[str] = ()) -> list[str]:
        """Delete films that are older than `days` or not `known`; the ids of the deleted films.

        Films that are `waiting` for analysis stay, whatever their age.
        """
        now, gone = time.time(), []
        for path in self._kept.iterdir():
            try:
                age = now - path.stat().st_mtime
            except FileNotFoundError:  # deleted meanwhile
                continue
            if path.name in waiting:
                continue
            if age > days * _DAY or (age > _ORPHANED and path.name not in known):
                path.unlink(missing_ok=True)
                gone.append(path.name)
        return gone
