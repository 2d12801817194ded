"""The films as they were sent, on disk: named by the id of their result, deleted after a while."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Collection
from pathlib import Path

from hilum.serve.faults import ServiceError, full

_ORPHANED = 3600.0  # seconds after which a film that no result and no job knows is deleted
_DAY = 86_400.0
_SPARE = 2**28  # bytes of disk that are left to the database and the logs


class Films:
    """A folder that only this user may open."""

    def __init__(self, folder: Path) -> None:
        self._kept, self._incoming = folder / "films", folder / "incoming"
        shutil.rmtree(self._incoming, ignore_errors=True)  # uploads that a killed process left
        for path in (self._kept, self._incoming):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)

    def draft(self) -> Path:
        """A new, empty file for an upload; `adopt` or delete it. Raises ServiceError if the disk is full."""
        if shutil.disk_usage(self._incoming).free < _SPARE:
            raise full()
        path = self._incoming / uuid.uuid4().hex
        path.touch(mode=0o600, exist_ok=False)
        return path

    def adopt(self, draft: Path, result: str) -> None:
        """Keep an upload as the film of a result."""
        draft.replace(self._kept / result)

    def path(self, result: str) -> Path:
        """The film of a result. Raises ServiceError where it is kept no longer."""
        path = self._kept / result
        if not path.is_file():
            raise ServiceError(410, "expired", "the film is kept no longer", "send the film again")
        return path

    def discard(self, result: str) -> None:
        """Delete the film of a result, if it is there."""
        (self._kept / result).unlink(missing_ok=True)

    def sweep(self, days: float, known: Collection[str], waiting: Collection[str] = ()) -> list[str]:
        """Delete films older than so many days, and those that are not `known`; the ids of them.

        Those that are `waiting` to be analysed stay, however old.
        """
        now, gone = time.time(), []
        for path in self._kept.iterdir():
            try:
                age = now - path.stat().st_mtime
            except FileNotFoundError:  # deleted by somebody meanwhile
                continue
            if path.name in waiting:
                continue
            if age > days * _DAY or (age > _ORPHANED and path.name not in known):
                path.unlink(missing_ok=True)
                gone.append(path.name)
        return gone
