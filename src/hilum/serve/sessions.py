"""The volumes that 3D Slicer has sent; they are forgotten when the process ends."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from pathlib import Path

from hilum.serve.faults import missing

EXPIRY = 3600  # seconds
_MOST = 8  # sessions at a time; the oldest is removed first


class Sessions:
    """Session id -> file."""

    def __init__(self) -> None:
        self._paths: OrderedDict[str, Path] = OrderedDict()

    def add(self, path: Path) -> str:
        """Keep a file; the id of its session."""
        session = uuid.uuid4().hex
        self._paths[session] = path
        while len(self._paths) > _MOST:
            self.remove(next(iter(self._paths)))
        return session

    def path(self, session: str) -> Path:
        """The file of a session. Raises ServiceError if the session has ended."""
        self.sweep()
        if session not in self._paths:
            raise missing("session")
        return self._paths[session]

    def sweep(self) -> None:
        """End the expired sessions."""
        for session, path in list(self._paths.items()):
            if not path.is_file() or time.time() - path.stat().st_mtime > EXPIRY:
                self.remove(session)

    def remove(self, session: str) -> None:
        """End a session."""
        if path := self._paths.pop(session, None):
            path.unlink(missing_ok=True)
