"""The volumes that 3D Slicer has sent and will ask about; they do not outlive the process."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from pathlib import Path

from hilum.serve.faults import missing

EXPIRY = 3600  # seconds
_MOST = 8  # sessions at a time; the oldest goes first


class Sessions:
    """Session id -> file."""

    def __init__(self) -> None:
        self._paths: OrderedDict[str, Path] = OrderedDict()

    def add(self, path: Path) -> str:
        """Keep a file; its session's id."""
        session = uuid.uuid4().hex
        self._paths[session] = path
        while len(self._paths) > _MOST:
            self.remove(next(iter(self._paths)))
        return session

    def path(self, session: str) -> Path:
        """The file of a session. Raises ServiceError where there is none any more."""
        path = self._paths.get(session)
        if path is None or not path.is_file() or time.time() - path.stat().st_mtime > EXPIRY:
            self.remove(session)
            raise missing("session")
        return path

    def remove(self, session: str) -> None:
        """End a session."""
        if path := self._paths.pop(session, None):
            path.unlink(missing_ok=True)
