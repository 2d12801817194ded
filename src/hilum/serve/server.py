"""The server process: uvicorn, its logs as lines of JSON, and the lock of the data folder."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import uvicorn

from hilum.errors import ConfigError
from hilum.pipeline import Pipeline
from hilum.serve.app import create_app
from hilum.serve.patience import Impatient
from hilum.serve.settings import Settings

_GRACE = 60  # seconds that running requests get after SIGTERM


def run(settings: Settings, pipeline: Pipeline) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises ConfigError if another process serves from the same folder."""
    _log()
    with alone(settings):
        app = create_app(settings, pipeline)
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.port,
            http=Impatient,
            ws="none",
            h11_max_incomplete_event_size=2**14,  # bytes of a request's head
            log_config=None,
            access_log=False,  # it would log raw paths
            server_header=False,
            limit_concurrency=settings.limits.connections,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=_GRACE,
            proxy_headers=False,
        )


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Hold the folder's lock: two processes would break the chain of the audit log."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(settings.data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ConfigError(
            f"{settings.data}: another service uses this folder; choose another --data"
        ) from None
    try:
        yield
    finally:
        os.close(lock)


class Lines(logging.Formatter):
    """A record as one line of JSON. Of an exception only the type: its message may quote a film."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        # asyncio quotes an unhandled error in full.
        message = "" if record.name == "asyncio" else record.getMessage()
        if record.name == "hilum.serve" and message.startswith("{"):
            line |= json.loads(message)
        else:
            line |= {"from": record.name, "message": message}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line)


def _log() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("hilum.serve").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
