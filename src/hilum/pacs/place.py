"""Where the worker keeps its place: a queue in SQLite that outlives a kill at any point."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from hilum.errors import ConfigError
from hilum.pacs.records import STATES, Film, Result

_VERSION = 1
_LONGEST = (
    3600.0  # seconds a film is put off at most; further away is a turn only where the clock was set back
)

_SCHEMA = """
CREATE TABLE films (
    sop TEXT PRIMARY KEY,
    study TEXT NOT NULL,
    series TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    pardons INTEGER NOT NULL DEFAULT 0,  -- attempts that were taken back
    due REAL NOT NULL,           -- seconds since 1970, when a queued film's turn comes
    reason TEXT NOT NULL DEFAULT '',
    seen REAL NOT NULL,          -- when it was found
    settled REAL                 -- when it was done, refused or given up
);
CREATE INDEX films_due ON films (state, due);
CREATE TABLE results (
    sop TEXT PRIMARY KEY,
    film TEXT NOT NULL REFERENCES films (sop),
    form TEXT NOT NULL,
    stored REAL NOT NULL
);
CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A film as the status tells it."""

    sop: str
    state: str  # one of STATES
    attempts: int
    reason: str
    due: float
    settled: float | None


class Place:
    """The queue: films with state, attempts and reason; results; how far each feed has been read.

    Every method is one transaction. One worker at a time may open it (`own`); any number may look.
    Raises ConfigError where the file is no such queue, belongs to another archive or another worker has it.
    """

    def __init__(self, path: Path, *, own: bool = False) -> None:
        if not own and not path.exists():
            raise ConfigError(f"{path}: no such file; give the --place that the worker was started with")
        self._path = path
        self._lock = _lock(path) if own else None
        try:
            if own:
                # It holds UIDs, which lead to patients: for this user alone.
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
        except (sqlite3.Error, OSError) as error:
            self._unlock()
            raise self._unusable(error) from None
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise self._unusable(error) from None
        except ConfigError:
            self.close()
            raise

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        mine = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        new = version == 0 and not mine and self._lock is not None
        if not new and (version != _VERSION or not mine >= {"films", "results", "marks"}):
            raise ConfigError(f"{self._path}: not a worker's place of this version; give another --place")
        # Only now, for it stays with the file, which until here could be another program's.
        self._db.execute("PRAGMA journal_mode = WAL")
        # In WAL mode a power cut can undo the last transactions whole, which only means doing them again.
        self._db.execute("PRAGMA synchronous = NORMAL")
        if new:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")

    def _unusable(self, error: Exception) -> ConfigError:
        what = f"{type(error).__name__}: {error}"
        return ConfigError(f"{self._path}: cannot be the worker's place ({what}); give another --place")

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and leave it to others."""
        self._db.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def belong(self, url: str) -> None:
        """Tie the place to one archive, or check that it is tied to that one."""
        with self._db:
            self._db.execute("INSERT OR IGNORE INTO marks VALUES ('archive', ?)", (url,))
        if (known := self.marks()["archive"]) != url:
            raise ConfigError(f"{self._path}: is of the archive {known}; give another --place for {url}")

    def marks(self) -> dict[str, str]:
        """How far each feed has been read."""
        return dict(self._db.execute("SELECT name, value FROM marks"))

    def offer(self, films: Iterable[Film], marks: Mapping[str, str]) -> int:
        """Take films that are not known yet, and the feed's place; how many were new."""
        now, before = time.time(), self._db.total_changes
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT OR IGNORE INTO films (sop, study, series, state, due, reason, seen, settled)"
                " SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE ?1 NOT IN (SELECT sop FROM results)",
                (
                    (
                        *(film.sop, film.study, film.series, "refused" if film.refusal else "queued"),
                        *(now, film.refusal, now, now if film.refusal else None),
                    )
                    for film in films
                ),
            )
            new = self._db.total_changes - before
            self._db.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?)", marks.items())
        return new

    def due(self, limit: int, but: Collection[str] = ()) -> list[Film]:
        """Up to `limit` films whose turn it is, those that waited longest first, without those of `but`."""
        now = time.time()
        rows = self._db.execute(
            "SELECT study, series, sop FROM films WHERE state = 'queued' AND (due <= ? OR due > ?)"
            " ORDER BY due, rowid LIMIT ?",
            (now, now + _LONGEST, limit + len(but)),
        )
        films = [Film(study=study, series=series, sop=sop) for study, series, sop in rows]
        return [film for film in films if film.sop not in but][:limit]

    def next_due(self) -> float | None:
        """When the next film's turn is, in seconds since 1970; None where none is queued."""
        found: float | None = self._db.execute(
            "SELECT min(due) FROM films WHERE state = 'queued'"
        ).fetchone()[0]
        return found

    def begin(self, sop: str) -> int:
        """Count an attempt before it is made, so that a film that ends the worker is counted too."""
        with self._db:
            self._db.execute("UPDATE films SET attempts = attempts + 1 WHERE sop = ?", (sop,))
        count: int = self._db.execute("SELECT attempts FROM films WHERE sop = ?", (sop,)).fetchone()[0]
        return count

    def forgive(self, sop: str, most: int) -> bool:
        """Take an attempt back that the film had no part in, and let others go before it.

        False where that was done `most` times already: a film at which the archive falls over each time is
        no bystander.
        """
        with self._db:
            done = self._db.execute(
                "UPDATE films SET attempts = max(attempts - 1, 0), pardons = pardons + 1, due = ?"
                " WHERE sop = ? AND pardons < ?",
                (time.time(), sop, most),
            )
        return done.rowcount > 0

    def later(self, sop: str, seconds: float, reason: str) -> None:
        """Put a film off, for an hour at most."""
        with self._db:
            changed = (time.time() + min(seconds, _LONGEST), reason, sop)
            self._db.execute("UPDATE films SET due = ?, reason = ? WHERE sop = ?", changed)

    def settle(self, sop: str, state: str, reason: str = "") -> None:
        """Close a film's case as done, refused or failed."""
        with self._db:
            changed = (state, reason, time.time(), sop)
            self._db.execute("UPDATE films SET state = ?, reason = ?, settled = ? WHERE sop = ?", changed)

    def stored(self, film: str, results: Sequence[Result]) -> None:
        """Note that a film's results are in the archive."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            rows = ((result.sop, film, result.form, time.time()) for result in results)
            self._db.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?)", rows)

    def again(self) -> int:
        """Queue the films that were given up once more, with all their attempts; how many."""
        with self._db:
            return self._db.execute(
                "UPDATE films SET state = 'queued', attempts = 0, pardons = 0, due = ?, settled = NULL"
                " WHERE state = 'failed'",
                (time.time(),),
            ).rowcount

    def counts(self) -> dict[str, int]:
        """Films by state, in the order of STATES."""
        found = dict(self._db.execute("SELECT state, count(*) FROM films GROUP BY state"))
        return {state: found.get(state, 0) for state in STATES}

    def rejected(self) -> int:
        """Films that are done and were rejected, as their results tell."""
        found: int = self._db.execute(
            "SELECT count(*) FROM films WHERE state = 'done' AND reason != ''"
        ).fetchone()[0]
        return found

    def troubled(self, limit: int) -> list[Row]:
        """The films that have a reason, given up, refused and waiting for another attempt, newest first."""
        rows = self._db.execute(
            "SELECT sop, state, attempts, reason, due, settled FROM films"
            " WHERE reason != '' AND state != 'done' ORDER BY coalesce(settled, due) DESC LIMIT ?",
            (limit,),
        )
        names = ("sop", "state", "attempts", "reason", "due", "settled")
        return [Row(**dict(zip(names, row, strict=True))) for row in rows]


def _lock(path: Path) -> sqlite3.Connection:
    """Hold a file beside the place until the process ends, however it ends; ConfigError if another does.

    SQLite's own lock is used: the system frees it with the process on every platform, kill -9 included.
    """
    beside = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = sqlite3.connect(beside, isolation_level=None, timeout=0)
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise ConfigError(f"{path}: another worker has this place; stop it, or give another") from None
        raise ConfigError(f"{path}: cannot be used as the worker's place ({error})") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be used as the worker's place ({error.strerror})") from None
    return lock
