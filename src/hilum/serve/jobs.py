"""Jobs in the database: the films of each job and their status.

A film's result and its status in the job change in one transaction, so that a killed process neither loses a
film nor stores a result twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from hilum.serve.faults import ServiceError, missing
from hilum.serve.results import Document, insert
from hilum.serve.tables import JOB_FILMS, JOBS

ATTEMPTS = 5  # analyses of a film that ended with the process; then it is given up


@dataclass(frozen=True, slots=True)
class Pending:
    """A waiting film of a job."""

    job: str
    position: int
    result: str  # id of its future result
    file: str
    attempts: int  # attempts begun so far


class Jobs:
    """The tables of jobs and their films."""

    def __init__(self, engine: sql.Engine, *, most: int) -> None:
        self._engine, self._most = engine, most

    def add(self, job: str, files: Sequence[tuple[str, str]], received: str) -> None:
        """Add a job with films, given as (result id, file name). Raises ServiceError like `room`."""
        with self._engine.begin() as connection:
            self._check(connection)
            connection.execute(JOBS.insert().values(id=job, received=received, status="queued"))
            rows = [
                {
                    "job": job,
                    "position": position,
                    "result": result,
                    "file": file,
                    "status": "queued",
                    "error": "",
                    "attempts": 0,
                }
                for position, (result, file) in enumerate(files)
            ]
            connection.execute(JOB_FILMS.insert(), rows)

    def room(self) -> None:
        """Raise ServiceError if too many jobs are waiting."""
        with self._engine.connect() as connection:
            self._check(connection)

    def _check(self, connection: sql.Connection) -> None:
        wanted = sql.select(sql.func.count()).where(JOBS.c.status.in_(("queued", "running")))
        if (connection.scalar(wanted) or 0) >= self._most:
            raise ServiceError(
                503, "busy", "too many jobs are waiting", "try again later", {"Retry-After": "60"}
            )

    def get(self, job: str) -> Document:
        """A job's document. Raises ServiceError if there is none."""
        with self._engine.connect() as connection:
            status = connection.scalar(sql.select(JOBS.c.status).where(JOBS.c.id == job))
            if status is None:
                raise missing("job")
            films = connection.execute(
                sql.select(JOB_FILMS).where(JOB_FILMS.c.job == job).order_by(JOB_FILMS.c.position)
            ).all()
        ended = [film for film in films if film.status != "queued"]
        return {
            "id": job,
            "status": status,
            "total": len(films),
            "done": len(ended),
            "results": [_told(film) for film in ended],
        }

    def pending(self, most: int) -> list[Pending]:
        """The next films to analyse, those of the oldest job first."""
        query = (
            sql.select(JOB_FILMS)
            .join(JOBS, JOBS.c.id == JOB_FILMS.c.job)
            .where(JOB_FILMS.c.status == "queued")
            .order_by(JOBS.c.received, JOBS.c.id, JOB_FILMS.c.position)
            .limit(most)
        )
        with self._engine.connect() as connection:
            return [
                Pending(film.job, film.position, film.result, film.file, film.attempts)
                for film in connection.execute(query)
            ]

    def waiting(self) -> set[str]:
        """The result ids of all waiting films."""
        with self._engine.connect() as connection:
            return set(
                connection.scalars(sql.select(JOB_FILMS.c.result).where(JOB_FILMS.c.status == "queued"))
            )

    def begin(self, film: Pending) -> None:
        """Record that a film's analysis begins."""
        with self._engine.begin() as connection:
            _alone(connection, film.job)
            connection.execute(
                JOB_FILMS.update()
                .where(JOB_FILMS.c.job == film.job, JOB_FILMS.c.position == film.position)
                .values(attempts=JOB_FILMS.c.attempts + 1)
            )
            connection.execute(
                JOBS.update().where(JOBS.c.id == film.job, JOBS.c.status == "queued").values(status="running")
            )

    def done(self, film: Pending, outcome: Document) -> bool:
        """Store a film's result or error document; False if the job was cancelled meanwhile."""
        failed = outcome["status"] == "error"
        with self._engine.begin() as connection:
            _alone(connection, film.job)
            changed = connection.execute(
                JOB_FILMS.update()
                .where(
                    JOB_FILMS.c.job == film.job,
                    JOB_FILMS.c.position == film.position,
                    JOB_FILMS.c.status == "queued",
                )
                .values(status=outcome["status"], error=json.dumps(outcome["error"]) if failed else "")
            ).rowcount
            if not changed:
                return False
            if not failed:
                insert(connection, outcome)
            waiting = sql.exists().where(JOB_FILMS.c.job == film.job, JOB_FILMS.c.status == "queued")
            connection.execute(JOBS.update().where(JOBS.c.id == film.job, ~waiting).values(status="done"))
        return True

    def cancel(self, job: str) -> list[str]:
        """Cancel a job; the result ids of its waiting films. Raises ServiceError if there is no such job."""
        with self._engine.begin() as connection:
            if _alone(connection, job) is None:
                raise missing("job")
            left = connection.scalars(
                JOB_FILMS.update()
                .where(JOB_FILMS.c.job == job, JOB_FILMS.c.status == "queued")
                .values(status="cancelled")
                .returning(JOB_FILMS.c.result)
            ).all()
            connection.execute(
                JOBS.update()
                .where(JOBS.c.id == job, JOBS.c.status.in_(("queued", "running")))
                .values(status="cancelled")
            )
        return list(left)

    def sweep(self, before: str) -> None:
        """Delete the finished jobs received before a time; their results stay."""
        with self._engine.begin() as connection:
            connection.execute(
                JOBS.delete().where(JOBS.c.received < before, JOBS.c.status.in_(("done", "cancelled")))
            )


def _alone(connection: sql.Connection, job: str) -> str | None:
    """A job's status, or None. Locks its row until the transaction ends, if the database has row locks.

    Without the lock, two films that end at the same time would each see the other as waiting.
    """
    status: str | None = connection.scalar(
        sql.select(JOBS.c.status).where(JOBS.c.id == job).with_for_update()
    )
    return status


def _told(film: Any) -> Document:
    told = {"file": film.file, "status": film.status}
    if film.status in ("ok", "rejected"):
        told["id"] = film.result
    if film.error:
        told["error"] = json.loads(film.error)
    return told
