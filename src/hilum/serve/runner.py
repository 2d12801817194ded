"""The background work of the service: it analyses the films of jobs and deletes old films."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from hilum.errors import HilumError, ReadError
from hilum.serve.faults import ServiceError
from hilum.serve.jobs import ATTEMPTS, Pending
from hilum.serve.service import Service, stamp

logger = logging.getLogger("hilum.serve")

_TOGETHER = 4  # films of jobs in the engine at a time: few, so that direct requests rarely wait for them
_AGAIN = 5.0  # seconds until a failed step (of the database, most likely) is tried again
_PASSING = (OSError, SQLAlchemyError)  # faults of disk or database, not of the film
_SWEEP = 3600.0  # seconds between two searches for old films


class Runner:
    """Two loops that run while the application does."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._more, self._stopping = asyncio.Event(), False
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._clean())]

    def wake(self) -> None:
        """Announce a new job."""
        self._more.set()

    async def stop(self) -> None:
        """Finish the films being analysed; the others wait for the next start."""
        self._stopping = True
        self._more.set()
        self._tasks[1].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        running: dict[tuple[str, int], asyncio.Task[None]] = {}
        while not self._stopping or running:
            self._more.clear()
            if not self._stopping:
                for film in await self._pending(len(running)):
                    key = film.job, film.position
                    if key not in running:
                        running[key] = asyncio.create_task(self._analyse(film))
            waiting = asyncio.create_task(self._more.wait())
            await asyncio.wait([*running.values(), waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            running = {key: task for key, task in running.items() if not task.done()}

    async def _pending(self, running: int) -> list[Pending]:
        if running >= _TOGETHER:
            return []
        try:
            # Running films are still queued in the table.
            return await run_in_threadpool(self._service.jobs.pending, _TOGETHER)
        except Exception as error:
            self._failed(error)
            return []

    async def _analyse(self, film: Pending) -> None:
        """Analyse one film of a job; repeat it as long as disk or database fail."""
        begun = False
        while not self._stopping:
            try:
                if not begun:
                    await run_in_threadpool(self._service.jobs.begin, film)
                    begun = True
                await self._analysed(film)
            except HilumError:  # already recorded in the job
                return
            except Exception as error:
                self._failed(error)
                await asyncio.sleep(_AGAIN)
            else:
                return

    async def _analysed(self, film: Pending) -> None:
        service, fault = self._service, None
        if film.attempts >= ATTEMPTS:
            fault = ReadError(film.file, "its analysis ended the process several times", "report this film")
        try:
            path = await run_in_threadpool(service.films.path, film.result)
        except ServiceError as gone:
            fault = ReadError(film.file, gone.reason, gone.remedy)
        if fault is None:
            fault = await self._kept(film, path)
        if fault is not None:
            await run_in_threadpool(service.job_failed, film, fault)

    async def _kept(self, film: Pending, path: Path) -> ReadError | None:
        """Analyse a film and store its result; the error to record instead if that can never succeed."""
        try:
            await asyncio.wrap_future(self._service.keep_of_job(film, path))
        except (HilumError, *_PASSING):
            raise
        except Exception as error:  # repeating it would block the other jobs for ever
            self._failed(error)
            return ReadError(film.file, f"could not be kept ({type(error).__name__})", "report this film")
        return None

    def _failed(self, error: Exception) -> None:
        logger.error(json.dumps({"jobs": type(error).__name__}))
        asyncio.get_running_loop().call_later(_AGAIN, self._more.set)

    async def _clean(self) -> None:
        while True:
            try:
                await run_in_threadpool(self._sweep)
            except Exception as error:
                logger.error(json.dumps({"sweep": type(error).__name__}))  # noqa: TRY400 - may quote a path
            await asyncio.sleep(_SWEEP)

    def _sweep(self) -> None:
        service = self._service
        days = service.settings.keep_days
        waiting = service.jobs.waiting()  # read first: a film leaves this set when its result is stored
        gone = service.films.sweep(days, service.results.ids(), waiting)
        for result in gone:
            service.recent.drop(result)
        if gone:
            service.audit.append("deleted old films", films=len(gone))
        service.sessions.sweep()
        # Clients ask for a job's outcome even if films are not kept.
        service.jobs.sweep(stamp(datetime.now(UTC) - timedelta(days=max(days, 1))))
