"""Many films through the pipeline, results on disk as they come."""

from __future__ import annotations

import csv
import errno
import os
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from hilum.errors import HilumError, ReadError
from hilum.pipeline import HELD, Pipeline
from hilum.report import columns, row, segmentation_columns
from hilum.report_files import write
from hilum.types import Report

_WAITING = 6  # results held while they are being written


def run(
    pipeline: Pipeline,
    named: dict[str, Path],
    out: Path,
    forms: Collection[str],
    *,
    done: Callable[[str, Report | HilumError], None],
) -> bool:
    """Analyse `named` files (as `hilum.files.inputs` gives them) and write results of the given forms.

    Beside each film's own files, ``predictions.csv`` (``segmentation.csv`` without a classifier) gets a row a
    film, in order and once its files are written, so that an interrupted run loses nothing. `done` is called
    with each film's name and result. Returns whether every film was analysed.
    """
    out.mkdir(parents=True, exist_ok=True)
    header = columns(pipeline.labels) if pipeline.labels else segmentation_columns()
    table = out / ("predictions.csv" if pipeline.labels else "segmentation.csv")
    everything = True
    with ExitStack() as stack:
        writer = None
        if "csv" in forms:
            file = stack.enter_context(table.open("w", newline="", encoding="utf-8", buffering=1))
            writer = csv.DictWriter(file, header)
            writer.writeheader()
        pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count()))
        waiting: deque[tuple[str, Report | HilumError, Future[None]]] = deque()

        def settle() -> bool:
            """Whether the film that waited longest was analysed, its files and then its row being written."""
            name, result, written = waiting.popleft()
            if (fault := written.exception()) is not None:
                result = _unwritten(name, fault)
            if writer:
                writer.writerow(row(name, result, pipeline.labels))
            done(name, result)
            return isinstance(result, Report) and result.status == "ok"

        for name, result in zip(named, pipeline.stream(named.values()), strict=True):
            waiting.append((name, result, pool.submit(write, name, result, out, forms)))
            while len(waiting) > _WAITING or _pixels(waiting) > HELD:
                everything &= settle()
        while waiting:
            everything &= settle()
    return everything


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
