"""Runs many films through the pipeline and writes results as they come."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

from hilum.engines import cores
from hilum.errors import HilumError, ReadError
from hilum.pipeline import Opener, Pipeline, Source, held
from hilum.report_files import sweep, write
from hilum.reporting.report import columns, file_cell, row
from hilum.store import alone, write_whole
from hilum.types import Report

_FOR_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # faults of the output folder that affect every film
UNFINISHED = (
    ".unfinished"  # file in the output folder while its table is unfinished: a hash of the run's inputs
)
_WAITING = 3  # results per worker that may wait in memory to be written


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one film, in brief."""

    cells: Mapping[str, str]  # its row, as of `hilum.reporting.report.row`
    reasons: tuple[str, ...] = ()  # codes, without repetition
    flags: tuple[str, ...] = ()  # likewise
    format: str = ""  # of its file; "" where it could not be read
    message: str = ""  # line about a film that was not analysed
    earlier: bool = False  # left by an interrupted run; then only its row is known


def outcome(name: str, result: Report | HilumError, labels: Sequence[str]) -> Outcome:
    """The outcome of the film of that name; `labels` are the classifier's."""
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
    mark: str = "",
    done: Callable[[Outcome], None],
) -> bool:
    """Analyse `named` films and write results of the given forms.

    Besides each film's files, ``predictions.csv`` (``segmentation.csv`` without a classifier) gets a row per
    film, in order and after its files are written, so that an interrupted run loses nothing. The next run
    with the same folder, `mark`, models and forms resumes after the last row. `mark` is a text that differs
    for other or changed films; without it every run starts from the beginning. `done` receives each outcome.
    Returns whether every film was analysed.

    Raises ConfigError if another process writes that table.
    """
    out.mkdir(parents=True, exist_ok=True)
    everything, earlier = True, 0
    with ExitStack() as stack:
        writer = None
        if "csv" not in forms:  # without a table no run can be resumed
            (out / UNFINISHED).unlink(missing_ok=True)
        else:
            stack.enter_context(alone(out, "writes its results"))
            sweep(out)
            header = columns(pipeline.labels)
            table = out / ("predictions.csv" if pipeline.labels else "segmentation.csv")
            made_of = digest("\n".join([mark, pipeline.made_of, *sorted(forms)])) if mark else ""
            for cells in (rows := _left(out, table, header, made_of, named)):
                everything &= cells["status"] == "ok"
                done(Outcome(cells=cells, earlier=True))
            earlier = len(rows)
            file = stack.enter_context(table.open("a", newline="", encoding="utf-8", buffering=1))
            writer = csv.DictWriter(file, header)
        rest = dict(islice(named.items(), earlier, None))
        for name, result in results(pipeline, rest, out, forms):
            came = outcome(name, result, pipeline.labels)
            if writer:
                writer.writerow(came.cells)
            everything &= came.cells["status"] == "ok"
            done(came)
        if writer:
            (out / UNFINISHED).unlink(missing_ok=True)
    return everything


def _left(
    out: Path, table: Path, header: Sequence[str], made_of: str, named: Iterable[str]
) -> list[dict[str, str]]:
    """The rows that an unfinished run of the same inputs left, if any; the table is cut to these.

    Only rows that match the first films in `named` count: films that could not be listed then may be now.
    """
    rows: list[dict[str, str]] = []
    begun = out / UNFINISHED
    if made_of and table.is_file() and begun.is_file() and begun.read_bytes() == made_of.encode():
        # The last line may be incomplete; no cell holds a line break.
        text = table.read_text(encoding="utf-8", errors="replace").rpartition("\n")[0]
        reader = csv.DictReader(io.StringIO(text))
        if reader.fieldnames == list(header):
            whole = takewhile(lambda row: None not in row and None not in row.values(), reader)
            pairs = zip(whole, map(file_cell, named), strict=False)
            rows = [row for row, _ in takewhile(lambda pair: pair[0]["file"] == pair[1], pairs)]
    kept = io.StringIO()
    writer = csv.DictWriter(kept, header)
    writer.writeheader()
    writer.writerows(rows)
    if rows:  # the table only loses its end
        with table.open("r+b") as file:
            file.truncate(file.write(kept.getvalue().encode()))
        return rows
    begun.unlink(missing_ok=True)
    table.write_text(kept.getvalue(), encoding="utf-8", newline="")
    if made_of:
        write_whole(begun, made_of)
    return rows


def digest(text: str) -> str:
    """SHA-256 of a text, which may hold file names that are not UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def results(
    pipeline: Pipeline,
    named: Mapping[str, Source | Opener],
    out: Path,
    forms: Collection[str],
    *,
    workers: int = 0,
) -> Iterator[tuple[str, Report | HilumError]]:
    """Each film's name and result, in order and after its files are written.

    `workers` films are analysed at a time, and as many are written; 0: as many as there are cores.
    Raises ConfigError if the disk is full.
    """
    many = workers or cores()
    with ThreadPoolExecutor(many) as pool:
        waiting: deque[tuple[str, Report | HilumError, Future[None]]] = deque()

        def oldest() -> tuple[str, Report | HilumError]:
            """The film that waited longest, after its files are written."""
            name, result, written = waiting.popleft()
            fault = written.exception()
            if fault is None:
                return name, result
            error = _unwritten(name, fault)
            with suppress(HilumError):  # where not even this can be written, the table has the error
                write(name, error, out, forms)
            return name, error

        for name, result in zip(named, pipeline.stream(named.values(), workers=workers), strict=True):
            waiting.append((name, result, pool.submit(write, name, result, out, forms)))
            while len(waiting) > _WAITING * many or _pixels(waiting) > held(many):
                yield oldest()
        while waiting:
            yield oldest()


def _unwritten(name: str, fault: BaseException) -> HilumError:
    """The error of a film whose files could not be written; raises what would fail for every film."""
    full = isinstance(fault.__cause__, OSError) and fault.__cause__.errno in _FOR_ALL
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
    """Pixels of the films whose results wait, except the last one."""
    reports = [result for _, result, _ in waiting if isinstance(result, Report)]
    return sum(report.radiograph.pixels.size for report in reports[:-1])
