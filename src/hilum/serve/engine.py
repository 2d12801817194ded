"""The queue: films are decoded ahead in separate processes, then analysed, one film per core."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.engines import cores
from hilum.errors import HilumError
from hilum.pipeline import HELD, Pipeline
from hilum.reading.guarded import Decoders
from hilum.serve.faults import busy
from hilum.types import Radiograph, Report

Finish = Callable[[Report | HilumError], Any]


@dataclass(frozen=True, slots=True)
class _Task:
    path: Path
    name: str
    finish: Finish
    places: int  # in the queue, given back at the end
    future: Future[Any]


class Places:
    """The places in the queue that one request holds."""

    def __init__(self, move: Callable[[int], None]) -> None:
        self._move, self.count = move, 0

    def more(self, films: int) -> None:
        """Take more places, or give some back. Raises ServiceError if the queue is full."""
        self._move(films)
        self.count += films

    def taken(self) -> int:
        """Pass one place on to a film."""
        self.count -= 1
        return 1


class Engine:
    """Films in, futures out. Any thread may submit films; results are finished in the engine's own threads.

    At most `HELD` pixels are in memory at a time, plus one film per decoder.
    """

    def __init__(self, pipeline: Pipeline, decoders: Decoders, *, count: int, capacity: int) -> None:
        self._pipeline, self._decoders, self._capacity = pipeline, decoders, capacity
        self._changed = threading.Condition()
        self._waiting = self._held = 0
        self._decoding = ThreadPoolExecutor(count, "decode")
        self._analysing = ThreadPoolExecutor(cores(), "analyse")
        self._finishing = ThreadPoolExecutor(2, "finish")

    @property
    def waiting(self) -> int:
        """The number of places taken."""
        return self._waiting

    @contextmanager
    def places(self) -> Iterator[Places]:
        """One place in the queue. Places that were not passed on to a film are given back at the end.

        Raises ServiceError if the queue is full.
        """
        places = Places(self.move)
        places.more(1)
        try:
            yield places
        finally:
            places.more(-places.count)

    def move(self, films: int) -> None:
        """Take places (positive) or give them back (negative). Raises ServiceError if the queue is full."""
        with self._changed:
            if films > 0 and self._waiting + films > self._capacity:
                raise busy()
            self._waiting += films

    def check(self) -> None:
        """Raise ServiceError if the queue is full."""
        if self._waiting >= self._capacity:
            raise busy()

    def submit(self, path: Path, name: str, finish: Finish, places: Places | None) -> Future[Any]:
        """Read and analyse a file; the future holds what `finish` returns for the report or the film's error.

        The film takes one of the `places` and gives it back when it is done. With None it is not counted.
        """
        task = _Task(path, name, finish, places.taken() if places else 0, Future())
        self._decoding.submit(self._decode, task)
        return task.future

    def close(self) -> None:
        """Finish what was submitted, then stop."""
        self._decoding.shutdown()
        self._analysing.shutdown()
        self._finishing.shutdown()
        self._decoders.close()

    def _decode(self, task: _Task) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._held < HELD)
        try:
            film = self._decoders.read(task.path.read_bytes(), task.name)
        except Exception as error:
            self._finishing.submit(self._finish, task, error, 0)
        else:
            with self._changed:
                self._held += film.pixels.size
            self._analysing.submit(self._analyse, film, task)

    def _analyse(self, film: Radiograph, task: _Task) -> None:
        report = self._pipeline.analyse_apart(film)
        self._finishing.submit(self._finish, task, report, film.pixels.size)

    def _finish(self, task: _Task, result: Report | Exception, pixels: int) -> None:
        value, fault = None, None
        if isinstance(result, Exception) and not isinstance(result, HilumError):
            fault = result  # a fault of the disk, most likely, not of the film
        else:
            try:
                value = task.finish(result)
            except Exception as error:  # raised again where the future is awaited
                fault = error
        with self._changed:  # before the future resolves, so that the place is free then
            self._held -= pixels
            self._waiting -= task.places
            self._changed.notify_all()
        if fault is None:
            task.future.set_result(value)
        else:
            task.future.set_exception(fault)
