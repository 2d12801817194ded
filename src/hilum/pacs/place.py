"""The worker's state file: a queue in SQLite that survives a kill at any point."""

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
_LONGEST = 3600.0  # longest delay of a film in seconds; a due time further ahead means the clock was set back

_SCHEMA = """
CREATE TABLE films (
    sop TEXT PRIMARY KEY,
    study TEXT NOT NULL,
    series TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    pardons INTEGER NOT NULL DEFAULT 0,  -- attempts that were not counted
    due REAL NOT NULL,           -- next attempt, in seconds since 1970
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
    """A film as `hilum pacs --status` prints it."""

    sop: str
    state: str  # one of STATES
    attempts: int
    reason: str
    due: float
    settled: float | None


class Place:
    """The queue: films with state, attempts and reason; results; how far each feed has been read.

    Every method is one transaction. One worker at a time may open it as `own`; any number may read it.
    Raises ConfigError if the file is not such a queue, belongs to another PACS, or another worker uses it.
    """

    def __init__(self, path: Path, *, own: bool = False) -> None:
        if not own and not path.exists():
            raise ConfigError(f"{path}: no such file; give the --place of the worker")
        self._path = path
        self._lock = _lock(path) if own else None
        try:
            if own:
                # It holds UIDs, which identify patients: readable by this user alone.
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
            raise ConfigError(
                f"{self._path}: not a worker's state file of this version; give another --place"
            )
        # Only now: the mode stays with the file, and until here the file could belong to another program.
        self._db.execute("PRAGMA journal_mode = WAL")
        # In WAL mode a power cut can only undo the last transactions as a whole; their work is repeated.
        self._db.execute("PRAGMA synchronous = NORMAL")
        if new:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")

    def _unusable(self, error: Exception) -> ConfigError:
        what = f"{type(error).__name__}: {error}"
        return ConfigError(f"{self._path}: cannot be used as the state file ({what}); give another --place")

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release its lock."""
        self._db.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def belong(self, url: str) -> None:
        """Tie the file to one PACS, or check that it is tied to this one. Raises ConfigError."""
        with self._db:
            self._db.execute("INSERT OR IGNORE INTO marks VALUES ('archive', ?)", (url,))
        if (known := self.marks()["archive"]) != url:
            raise ConfigError(f"{self._path}: belongs to the PACS {known}; give another --place for {url}")

    def marks(self) -> dict[str, str]:
        """How far each feed has been read."""
        return dict(self._db.execute("SELECT name, value FROM marks"))

    def offer(self, films: Iterable[Film], marks: Mapping[str, str]) -> int:
        """Queue unknown films and save the feed's marks, together; the number of new films."""
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
        """Up to `limit` films that are due, without the UIDs in `but`, the longest waiting first."""
        now = time.time()
        rows = self._db.execute(
            "SELECT study, series, sop FROM films WHERE state = 'queued' AND (due <= ? OR due > ?)"
            " ORDER BY due, rowid LIMIT ?",
            (now, now + _LONGEST, limit + len(but)),
        )
        films = [Film(study=study, series=series, sop=sop) for study, series, sop in rows]
        return [film for film in films if film.sop not in but][:limit]

    def next_due(self) -> float | None:
        """When the next queued film is due, in seconds since 1970; None if none is queued."""
        found: float | None = self._db.execute(
            "SELECT min(due) FROM films WHERE state = 'queued'"
        ).fetchone()[0]
        return found

    def begin(self, sop: str) -> int:
        """Count an attempt before it is made, so that a film that kills the worker is counted too."""
        with self._db:
            self._db.execute("UPDATE films SET attempts = attempts + 1 WHERE sop = ?", (sop,))
        count: int = self._db.execute("SELECT attempts FROM films WHERE sop = ?", (sop,)).fetchone()[0]
        return count

    def forgive(self, sop: str, most: int) -> bool:
        """Take back an attempt that failed through no fault of the film, and queue the film last.

        False if that was done `most` times already: a film that crashes the PACS each time is the cause.
        """
        with self._db:
            done = self._db.execute(
                "UPDATE films SET attempts = max(attempts - 1, 0), pardons = pardons + 1, due = ?"
                " WHERE sop = ? AND pardons < ?",
                (time.time(), sop, most),
            )
        return done.rowcount > 0

    def later(self, sop: str, seconds: float, reason: str) -> None:
        """Delay a film, for an hour at most."""
        with self._db:
            changed = (time.time() + min(seconds, _LONGEST), reason, sop)
            self._db.execute("UPDATE films SET due = ?, reason = ? WHERE sop = ?", changed)

    def settle(self, sop: str, state: str, reason: str = "") -> None:
        """Set a film's final state: done, refused or failed."""
        with self._db:
            changed = (state, reason, time.time(), sop)
            self._db.execute("UPDATE films SET state = ?, reason = ?, settled = ? WHERE sop = ?", changed)

    def stored(self, film: str, results: Sequence[Result]) -> None:
        """Record that a film's results are in the PACS."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            rows = ((result.sop, film, result.form, time.time()) for result in results)
            self._db.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?)", rows)

    def again(self) -> int:
        """Queue the failed films again, with no attempts used; the number of films."""
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
        """The number of films that are done and were rejected."""
        found: int = self._db.execute(
            "SELECT count(*) FROM films WHERE state = 'done' AND reason != ''"
        ).fetchone()[0]
        return found

    def troubled(self, limit: int) -> list[Row]:
        """Films with a reason (failed, refused, or waiting for another attempt), newest first."""
        rows = self._db.execute(
            "SELECT sop, state, attempts, reason, due, settled FROM films"
            " WHERE reason != '' AND state != 'done' ORDER BY coalesce(settled, due) DESC LIMIT ?",
            (limit,),
        )
        names = ("sop", "state", "attempts", "reason", "due", "settled")
        return [Row(**dict(zip(names, row, strict=True))) for row in rows]


def _lock(path: Path) -> sqlite3.Connection:
    """Lock a file beside the state file until the process ends. Raises ConfigError if it is locked.

    The lock is SQLite's own: the system releases it with the process on every platform, even after kill -9.
    """
    beside = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = sqlite3.connect(beside, isolation_level=None, timeout=0)
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise ConfigError(
                f"{path}: another worker uses this state file; stop it, or give another --place"
            ) from None
        raise ConfigError(
            f"{path}: cannot be used as the state file ({error}); give another --place"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be used as the state file ({error.strerror}); give another --place"
        ) from None
    return lock
