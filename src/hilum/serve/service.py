"""The service behind all protocols: it analyses films, keeps their results and opens them again."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import sqlalchemy as sql
from starlette.concurrency import run_in_threadpool

from hilum.errors import HilumError
from hilum.pipeline import Pipeline
from hilum.reading.guarded import Decoders
from hilum.reporting.report import error_json, identity, to_json
from hilum.runtime import Runtime
from hilum.serve.audit import Audit
from hilum.serve.engine import Engine, Places
from hilum.serve.faults import ServiceError, missing, unreachable
from hilum.serve.films import Films
from hilum.serve.jobs import Jobs, Pending
from hilum.serve.metrics import Metrics
from hilum.serve.patient import patient_of, study_of
from hilum.serve.recent import Kept, Recent
from hilum.serve.results import Document, Results
from hilum.serve.sessions import Sessions
from hilum.serve.settings import Settings
from hilum.serve.tables import connect
from hilum.types import Report

T = TypeVar("T")
P = ParamSpec("P")


class Service:
    """Everything that one service process holds."""

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        limits = settings.limits
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.settings, self.pipeline = settings, pipeline
        self.films = Films(settings.data)
        self.audit = Audit(settings.data / "audit.jsonl")
        self.database = connect(settings.database, settings.data)
        self.results = Results(self.database)
        self.jobs = Jobs(self.database, most=limits.jobs)
        self.recent = Recent(limits.recent_bytes)
        decoders = Decoders(
            settings.decoders,
            memory=limits.decode_bytes,
            seconds=limits.decode_seconds,
            pixel_budget=limits.pixels,
        )
        self.engine = Engine(pipeline, decoders, count=settings.decoders, capacity=limits.queue)
        self._aside = ThreadPoolExecutor(2, "aside")  # few: pictures of a large film take much memory
        self.metrics = Metrics(waiting=lambda: self.engine.waiting, deaths=lambda: decoders.deaths)
        self.sessions = Sessions()
        self._opening: dict[str, asyncio.Task[Kept]] = {}
        self.audit.append("started")

    def close(self) -> None:
        """Finish the films being analysed and release everything."""
        self.engine.close()
        self._aside.shutdown()
        self.audit.append("stopped")
        self.audit.close()
        self.database.dispose()

    def check(self) -> None:
        """Raise ServiceError if no film can be taken now: full queue, full disk, or no database."""
        self.engine.check()
        self.films.check()
        try:
            with self.database.connect() as connection:
                connection.execute(sql.text("SELECT 1"))
        except sql.exc.SQLAlchemyError:
            raise unreachable() from None

    def keep(self, draft: Path, file: str, who: str, places: Places) -> Future[Document]:
        """Analyse an upload and keep it; the future holds the result document or raises the film's ReadError.

        If it fails, nothing is kept, and the caller deletes the upload if it still exists.
        """
        return self.engine.submit(draft, file, partial(self._keep, draft, file, who), places)

    def _keep(self, draft: Path, file: str, who: str, report: Report | HilumError) -> Document:
        if isinstance(report, HilumError):
            self.metrics.films.labels("error").inc()
            self.audit.append("refused a film", who=who)
            raise report
        result = uuid.uuid4().hex
        document = described(report, file, result)
        self.films.adopt(draft, result)
        self.audit.append("analysed", who=who, result=result)
        self.recent.put(result, report)  # first: a result that is not listed yet cannot be deleted meanwhile
        try:
            self.results.add(document)
        except BaseException:
            self.recent.drop(result)
            self.films.discard(result)
            raise
        self.metrics.films.labels(report.status).inc()
        return document

    def keep_of_job(self, film: Pending, path: Path) -> Future[None]:
        """Analyse a film of a job and store its result or error; the future raises the error."""
        return self.engine.submit(path, film.file, partial(self._keep_of_job, film), None)

    def _keep_of_job(self, film: Pending, report: Report | HilumError) -> None:
        if isinstance(report, HilumError):
            self.job_failed(film, report)
            raise report
        self.audit.append("analysed", job=film.job, result=film.result)
        done = self.jobs.done(film, described(report, film.file, film.result))
        # If not done, it was cancelled, or an earlier commit succeeded and only its confirmation was lost.
        if not done and not self.results.exists(film.result):
            self.films.discard(film.result)
        self.metrics.films.labels(report.status).inc()

    def job_failed(self, film: Pending, error: HilumError) -> None:
        """Store the error of a job's film and delete the film."""
        self.audit.append("refused a film", job=film.job)
        self.jobs.done(film, error_document(film.file, error))
        self.films.discard(film.result)
        self.metrics.films.labels("error").inc()

    def forget(self, result: str, who: str) -> None:
        """Delete a result, its film and its report in memory. Raises ServiceError if there is none."""
        if not self.results.exists(result):
            raise missing()
        self.audit.append(
            "deleted", who=who, result=result
        )  # first: an action that cannot be audited is not done
        self.results.delete(result)
        self.films.discard(result)
        self.recent.drop(result)

    async def opened(self, result: str) -> Kept:
        """The report of a result, computed again from its film if it is not in memory.

        Raises ServiceError if there is no such result, its film is gone, other models made it, or the queue
        is full.
        """
        if kept := self.recent.get(result):
            return kept
        if result not in self._opening:
            task = asyncio.create_task(self._open(result))
            self._opening[result] = task
            task.add_done_callback(lambda _: self._opening.pop(result, None))
        # Shielded: several requests may wait for it, and one of them may be cancelled.
        return await asyncio.shield(self._opening[result])

    async def _open(self, result: str) -> Kept:
        document = await run_in_threadpool(self.results.get, result)
        self._same_models(document)
        path = await run_in_threadpool(self.films.path, result)
        report = await self.analysed(path, document["file"])
        if _thresholds(to_json(report)) != _thresholds(document):
            raise _other_models()
        kept = self.recent.put(result, report)
        if not await run_in_threadpool(self.results.exists, result):
            self.recent.drop(result)
            raise missing()  # deleted meanwhile
        return kept

    async def analysed(self, path: Path, file: str) -> Report:
        """Analyse a file and keep nothing. Raises its ReadError, or ServiceError if the queue is full."""
        with self.engine.places() as places:
            report: Report = await asyncio.wrap_future(self.engine.submit(path, file, _itself, places))
        return report

    async def aside(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Run a slow function outside the engine and the event loop, two at a time."""
        return await asyncio.wrap_future(self._aside.submit(function, *arguments, **named))

    @property
    def runtimes(self) -> dict[str, Runtime]:
        """Task -> its network."""
        pipeline = self.pipeline
        loaded = {
            "gate": pipeline.gate,
            "segment": pipeline.segmenter,
            "classify": pipeline.classifier,
            "specialist": pipeline.specialist,
        }
        return {task: runtime for task, runtime in loaded.items() if runtime is not None}

    def _same_models(self, document: Document) -> None:
        own = {task: identity(runtime.card) for task, runtime in self.runtimes.items()}
        if any(own.get(task) != made for task, made in document["models"].items()):
            raise _other_models()


def _other_models() -> ServiceError:
    return ServiceError(
        409,
        "other-model",
        "the result was made with other models or thresholds than the current ones",
        "send the film again, or start the service with the models named in the result",
    )


def _thresholds(document: Document) -> dict[str, float]:
    """The threshold of each label: two cards of the same network may differ in it."""
    return {label: score["threshold"] for label, score in (document["prediction"] or {}).items()}


def described(report: Report, file: str, result: str) -> Document:
    """The document that is stored for a report."""
    header = report.radiograph.origin.header
    return to_json(report) | {
        "id": result,
        "file": file,
        "received": stamp(datetime.now(UTC)),
        "patient": patient_of(header),
        "study": study_of(header),
    }


def error_document(file: str, error: HilumError) -> Document:
    """The error document of a film that could not be read."""
    document = error_json(file, error)
    document["error"] = {"code": "unreadable", "remedy": "send another film", **document["error"]}
    return document


def stamp(time: datetime) -> str:
    """A UTC time as stored in the database: ISO 8601 with microseconds, sortable as text."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _itself(report: Report | HilumError) -> Report:
    """The report; an error is raised."""
    if isinstance(report, HilumError):
        raise report
    return report
