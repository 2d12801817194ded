"""Many films through the pipeline, results on disk as they come."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
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

_FOR_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # faults of the folder of results, whatever the film
UNFINISHED = ".unfinished"  # in the folder of results, as long as its table is: a hash of what it is made of
_WAITING = 3  # results for each worker that are held while they are being written


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one film, in few words."""

    cells: Mapping[str, str]  # its row, as of `hilum.reporting.report.row`
    reasons: tuple[str, ...] = ()  # codes, each once
    flags: tuple[str, ...] = ()  # likewise
    format: str = ""  # of its file; "" where it could not be read
    message: str = ""  # what to tell of a film that was not analysed
    earlier: bool = False  # whether a run that was interrupted left it; then nothing but its row is known


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
    mark: str = "",
    done: Callable[[Outcome], None],
) -> bool:
    """Analyse `named` films and write results of the given forms.

    Beside each film's own files, ``predictions.csv`` (``segmentation.csv`` without a classifier) gets a row a
    film, in order and once its files are written, so that an interrupted run loses nothing. The next one with
    that folder, the same `mark` (what tells the films from others, and from themselves changed; none: begin
    anew), models and forms goes on after the last row. `done` is told what came of each film. Returns whether
    every film was analysed.

    Raises ConfigError where another process writes that table.
    """
    out.mkdir(parents=True, exist_ok=True)
    everything, earlier = True, 0
    with ExitStack() as stack:
        writer = None
        if "csv" not in forms:  # files that no row vouches for
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
    """The rows that an unfinished run of the same left, if there was one; the table holds just these.

    They are those of the first of the films `named` now: what could not be listed then may be more films.
    """
    rows: list[dict[str, str]] = []
    begun = out / UNFINISHED
    if made_of and table.is_file() and begun.is_file() and begun.read_bytes() == made_of.encode():
        # The last line may have been cut off; no cell holds a line break.
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
    """What tells such a text from others, also where it names files that are no UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


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
    """Pixels of the films whose results wait, the last one not counted."""
    reports = [result for _, result, _ in waiting if isinstance(result, Report)]
    return sum(report.radiograph.pixels.size for report in reports[:-1])
