"""Many films through the pipeline, results on disk as they come."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from hilum.errors import HilumError
from hilum.pipeline import Pipeline
from hilum.report import columns, row, segmentation_columns, write
from hilum.types import Report

_WAITING = 8  # results held while they are being written


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
    film, in order and as soon as it is known, so that an interrupted run loses nothing. `done` is called
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
        waiting: list[Future[None]] = []
        for name, result in zip(named, pipeline.stream(named.values()), strict=True):
            waiting.append(pool.submit(write, name, result, out, forms))
            if writer:
                writer.writerow(row(name, result, pipeline.labels))
            everything &= isinstance(result, Report) and result.status == "ok"
            done(name, result)
            while len(waiting) > _WAITING:
                waiting.pop(0).result()
        for future in waiting:
            future.result()
    return everything
