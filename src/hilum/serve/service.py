"""What the service does, whatever the protocol that asks for it: films in, results kept, results opened."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

from hilum.card import Card
from hilum.errors import HilumError
from hilum.guarded import Decoders
from hilum.pipeline import Pipeline
from hilum.report import to_json
from hilum.serve.audit import Audit
from hilum.serve.engine import Engine
from hilum.serve.faults import ServiceError
from hilum.serve.films import Films
from hilum.serve.metrics import Metrics
from hilum.serve.patient import patient_of, study_of
from hilum.serve.recent import Kept, Recent
from hilum.serve.results import Document, Results
from hilum.serve.settings import Settings
from hilum.serve.tables import connect
from hilum.types import Report

T = TypeVar("T")


class Service:
    """Everything that one process of the service holds."""

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        limits = settings.limits
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.settings, self.pipeline = settings, pipeline
        self.films = Films(settings.data)
        self.audit = Audit(settings.data / "audit.jsonl")
        self.database = connect(settings.database, settings.data)
        self.results = Results(self.database)
        self.recent = Recent(limits.recent_bytes)
        decoders = Decoders(
            settings.decoders,
            memory=limits.decode_bytes,
            seconds=limits.decode_seconds,
            pixel_budget=limits.pixels,
        )
        self.engine = Engine(pipeline, decoders, count=settings.decoders, capacity=limits.queue)
        self.metrics = Metrics(waiting=lambda: self.engine.waiting, deaths=lambda: decoders.deaths)
        self._opening: dict[str, asyncio.Task[Kept]] = {}
        self.audit.append("started")

    def close(self) -> None:
        """Finish what is being analysed, and let go of everything."""
        self.engine.close()
        self.audit.append("stopped")
        self.audit.close()
        self.database.dispose()

    def keep(self, draft: Path, file: str, *, who: str, result: str = "") -> Future[Document]:
        """Analyse an upload and keep it; the future is its result document, or raises its ReadError.

        A place in the engine's queue must be reserved. The upload stays the caller's where it fails.
        """
        finish = partial(self._keep, draft, file, result or uuid.uuid4().hex, who)
        return self.engine.submit(draft, file, finish)

    def _keep(self, draft: Path, file: str, result: str, who: str, report: Report | HilumError) -> Document:
        if isinstance(report, HilumError):
            self.metrics.films.labels("error").inc()
            self.audit.append("refused a film", who=who)
            raise report
        document = self.described(report, file, result)
        self.films.adopt(draft, result)
        self.audit.append("analysed", who=who, result=result)
        self.results.add(document)
        self.recent.put(result, report)
        self.metrics.films.labels(report.status).inc()
        return document

    def forget(self, result: str, who: str) -> None:
        """Delete a result, its film and what is at hand of it. Raises ServiceError where there is none."""
        self.results.delete(result)
        self.films.discard(result)
        self.recent.drop(result)
        self.audit.append("deleted", who=who, result=result)

    @staticmethod
    def described(report: Report, file: str, result: str) -> Document:
        """The document that is kept of a report."""
        header = report.radiograph.origin.header
        received = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return to_json(report) | {
            "id": result,
            "file": file,
            "received": received,
            "patient": patient_of(header),
            "study": study_of(header),
        }

    async def opened(self, result: str) -> Kept:
        """The report of a result, made anew from its film where it is not at hand.

        Raises ServiceError where there is no such result, its film is gone, other models made it, or too many
        films wait.
        """
        if kept := self.recent.get(result):
            return kept
        if result not in self._opening:
            task = asyncio.create_task(self._open(result))
            self._opening[result] = task
            task.add_done_callback(lambda _: self._opening.pop(result, None))
        # Shielded: several requests may wait for it, and one of them may go away.
        return await asyncio.shield(self._opening[result])

    async def _open(self, result: str) -> Kept:
        document = await run_in_threadpool(self.results.get, result)
        self._same_models(document)
        path = await run_in_threadpool(self.films.path, result)
        report = await self.analysed(path, document["file"], _itself)
        return self.recent.put(result, report)

    async def analysed(self, path: Path, file: str, finish: Callable[[Report | HilumError], T]) -> T:
        """Analyse a file without keeping anything. Raises ServiceError where too many films wait."""
        self.engine.reserve()
        done: T = await asyncio.wrap_future(self.engine.submit(path, file, finish))
        return done

    @property
    def cards(self) -> dict[str, Card]:
        """Task -> card of the models that run."""
        pipeline = self.pipeline
        loaded = {
            "gate": pipeline.gate,
            "segment": pipeline.segmenter,
            "classify": pipeline.classifier,
            "specialist": pipeline.specialist,
        }
        return {task: runtime.card for task, runtime in loaded.items() if runtime is not None}

    def _same_models(self, document: Document) -> None:
        own = {task: card.sha256 for task, card in self.cards.items()}
        if any(own.get(task) != made["sha256"] for task, made in document["models"].items()):
            raise ServiceError(
                409,
                "other-model",
                "the result was made by other models than those that run now",
                "send the film again, or start the service with the models named in the result",
            )


def _itself(report: Report | HilumError) -> Any:
    if isinstance(report, HilumError):
        raise report
    return report
