"""A worker for a PACS: it fetches new chest films and stores their results."""

from __future__ import annotations

import random
import sqlite3
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.errors import ConfigError
from hilum.extras import needs

if TYPE_CHECKING:
    from hilum.pacs.records import Settings
    from hilum.pipeline import Pipeline

__all__ = ["run", "status"]

needs("hilum pacs", "pacs", "dicomweb_client", "highdicom", "requests")


def run(
    settings: Settings, pipeline: Pipeline, path: Path, *, once: bool, stop: threading.Event, retry: bool
) -> int:
    """Process the films of a PACS until `stop` is set; with `once`, until all films are settled.

    The state is kept in the SQLite file `path`. With `retry`, failed films are queued again. Returns how many
    films this run refused or gave up. Raises ConfigError, and with `once` ArchiveError.
    """
    from hilum.pacs.analysis import analysis, results
    from hilum.pacs.place import Place
    from hilum.pacs.worker import Worker
    from hilum.reading.guarded import Decoder

    try:
        with Place(path, own=True) as place, Decoder() as decoder:
            place.belong(settings.url)
            if retry:
                place.again()
            before = place.counts()
            analyse, make = analysis(decoder, pipeline), partial(results, forms=settings.forms)
            Worker(settings, place, analyse, make, stop=stop, rng=random.Random()).run(once=once)
            after = place.counts()
    except sqlite3.Error as error:
        raise ConfigError(f"{path}: cannot be written ({error}); check the disk and start again") from None
    return sum(after[state] - before[state] for state in ("refused", "failed"))


def status(path: Path) -> str:
    """The table of `hilum pacs --status`; works while a worker runs. Raises ConfigError."""
    from hilum.pacs.place import Place
    from hilum.pacs.table import table

    with Place(path) as place:
        return table(place)
