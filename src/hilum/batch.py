"""Many films through the pipeline, results on disk as they come."""

from __future__ import annotations

import csv
import errno
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hilum.engines import cores
from hilum.errors import HilumError, ReadError
from hilum.pipeline import Opener, Pipeline, Source, held
from hilum.report import columns, row, segmentation_columns
from hilum.report_files import sweep, write
from hilum.store import alone
from hilum.types import Report

_WAITING = 3  # results for each worker that are held while they are being written


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one film, in few words."""

    cells: Mapping[str, str]  # its row, as of `hilum.report.row`
    reasons: tuple[str, ...] = ()  # codes, each once
    flags: tuple[str, ...] = ()  # likewise
    format: str = ""  # of its file; "" where it could not be read
    message: str = ""  # what to tell of a film that was not analysed


def outcome(name: str, result: Report | HilumError, labels: Sequence[str]) -> Outcome:
    """What came of the film of that name; `labels` are the classifier's."""
    cells = row(name, result, labels)
    if isinstance(result, HilumError):
        return Outcome(cells=cells, message=f"error: {result}")
    why = "; ".join(reason.sentence for reason in result.reasons)
    return Outcome(
        cells=cells,
        reasons=tuple(sorted({reason.code for reason in result.reasons})),
        flags=tuple(sorted({flag.code for flag in result.flags})),
        format=result.radiograph.origin.format,
        message=f"rejected: {result.radiograph.origin.path}: {why}" if result.status == "rejected" else "",
    )


def run(
    pipeline: Pipeline,
    named: Mapping[str, Source | Opener],
    out: Path,
    forms: Collection[str],
    *,
    done: Callable[[Outcome], None],
) -> bool:
    """Analyse `named` films and write results of the given forms.

    Beside each film's own files, ``predictions.csv`` (``segmentation.csv`` without a classifier) gets a row a
    film, in order and once its files are written, so that an interrupted run loses nothing. `done` is told
    what came of each. Returns whether every film was analysed.

    Raises ConfigError where another process writes that table.
    """
    out.mkdir(parents=True, exist_ok=True)
    header = columns(pipeline.labels) if pipeline.labels else segmentation_columns()
    table = out / ("predictions.csv" if pipeline.labels else "segmentation.csv")
    everything = True
    with ExitStack() as stack:
        writer = None
        if "csv" in forms:
            stack.enter_context(alone(out, "writes its results"))
            sweep(out)
            file = stack.enter_context(table.open("w", newline="", encoding="utf-8", buffering=1))
            writer = csv.DictWriter(file, header)
            writer.writeheader()
        for name, result in results(pipeline, named, out, forms):
            came = outcome(name, result, pipeline.labels)
            if writer:
                writer.writerow(came.cells)
            everything &= came.cells["status"] == "ok"
            done(came)
    return everything


def results(
    pipeline: Pipeline,
    named: Mapping[str, Source | Opener],
    out: Path,
    forms: Collection[str],
    *,
    workers: int = 0,
) -> Iterator[tuple[str, Report | HilumError]]:
    """Each film's name and result, in order and once its own files are written.

    `workers` films are analysed at a time, and as many written; 0: as many as there are cores.
    Raises ConfigError where the disk is full.
    """
    many = workers or cores()
    with ThreadPoolExecutor(many) as pool:
        waiting: deque[tuple[str, Report | HilumError, Future[None]]] = deque()

        def settled() -> tuple[str, Report | HilumError]:
            """The film that waited longest, its files being written."""
            name, result, written = waiting.popleft()
            fault = written.exception()
            return name, result if fault is None else _unwritten(name, fault)

        for name, result in zip(named, pipeline.stream(named.values(), workers=workers), strict=True):
            waiting.append((name, result, pool.submit(write, name, result, out, forms)))
            while len(waiting) > _WAITING * many or _pixels(waiting) > held(many):
                yield settled()
        while waiting:
            yield settled()


def _unwritten(name: str, fault: BaseException) -> HilumError:
    """The error of a film whose files could not be written; what fails for every film alike is raised."""
    full = isinstance(fault.__cause__, OSError) and fault.__cause__.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or not isinstance(fault, Exception):
        raise fault
    return (
        fault
        if isinstance(fault, HilumError)
        else ReadError(
            name,
            f"its results could not be made ({type(fault).__name__})",
            "report this with the film's kind",
        )
    )


def _pixels(waiting: Collection[tuple[str, Report | HilumError, Future[None]]]) -> int:
    """Pixels of the films whose results wait, the last one not counted."""
    reports = [result for _, result, _ in waiting if isinstance(result, Report)]
    return sum(report.radiograph.pixels.size for report in reports[:-1])
