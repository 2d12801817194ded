"""The worker's loop: find films, fetch one ahead, analyse, store, and record every step."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from hilum import __version__
from hilum.errors import ReadError
from hilum.pacs.archive import Archive
from hilum.pacs.events import key, tell
from hilum.pacs.faults import ArchiveError, AwayError, DeclinedError, HopelessError, TroubleError
from hilum.pacs.place import Place
from hilum.pacs.records import Film, Result, Settings
from hilum.pacs.watch import Watch
from hilum.reading.reader import hushed
from hilum.types import Report

_AHEAD = 2  # films in memory: the current one and the next

# If the header itself names something other than a frontal chest film, no result needs to say so.
_NOT_OURS = frozenset({"not-chest", "not-radiograph", "lateral", "result"})

Analyse: TypeAlias = Callable[[bytes], Report]
"""A film's bytes -> its report. Raises ReadError if it cannot be read, and TroubleError."""

Make: TypeAlias = Callable[[Report], Sequence[Result]]
"""A report -> the objects to store."""


class Worker:
    """Fetches films from the PACS and stores their results there, until `stop` is set or no film is left.

    A film is settled only once the PACS has its results. Film and models determine their UIDs and bytes:
    after a crash, the next worker repeats the films that were not settled, and stores nothing twice.
    """

    def __init__(
        self,
        settings: Settings,
        place: Place,
        analyse: Analyse,
        make: Make,
        *,
        stop: threading.Event,
        rng: random.Random,
    ) -> None:
        self._settings, self._place, self._stop, self._rng = settings, place, stop, rng
        self._analyse, self._make = analyse, make
        # A stop breaks off fetching; the film being analysed is finished, unless the PACS takes too long to
        # store its results: systemd waits two minutes, then kills.
        self._archive = Archive(settings, _since(stop, settings.timeout))
        self._fetcher = Archive(settings, stop.is_set)
        self._watch = Watch(settings, place, stop.is_set)

    def run(self, *, once: bool) -> None:
        """Work until stopped; with `once`, until every film in the PACS is settled.

        With `once`, raises ArchiveError if the PACS does not answer after all attempts.
        """
        tell("started", version=__version__, forms=",".join(self._settings.forms), **self._counts())
        silent = 0
        while not self._stop.is_set():
            try:
                new = self._watch.look(at_once=once)
                self._drain()
                silent = 0
            except AwayError as away:
                if self._stop.is_set():
                    break
                silent += 1
                if once and (away.barred or silent >= self._settings.attempts):
                    remedy = "see --credentials" if away.barred else "check whether it runs, and --url"
                    raise ArchiveError(f"{self._settings.url}: {away}; {remedy}") from None
                pause = self._pause(silent)
                tell("archive-away", level=logging.WARNING, reason=str(away), seconds=pause)
                self._stop.wait(pause)
                continue
            due = self._place.next_due()
            if once and due is None:
                if not new:  # a query after the last film found no other
                    break
            else:
                self._rest(due)
        tell("stopped", **self._counts())

    def _rest(self, due: float | None) -> None:
        """Sleep until the next film or the next query is due."""
        wait = self._watch.wait()
        self._stop.wait(wait if due is None else min(wait, max(due - time.time(), 0.05)))

    def _drain(self) -> None:
        """Process the films that are due, and fetch the next one during each analysis."""
        ahead: deque[tuple[Film, Future[bytes]]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
            try:
                while not self._stop.is_set():
                    waiting = [film.sop for film, _ in ahead]
                    for film in self._place.due(_AHEAD - len(ahead), waiting):
                        ahead.append((film, pool.submit(self._fetcher.fetch, film)))
                    if not ahead:
                        return
                    self._film(*ahead.popleft())
                    self._watch.look()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _film(self, film: Film, fetched: Future[bytes]) -> None:
        """Process one film, until it is settled or delayed. Raises AwayError."""
        attempt, start = self._place.begin(film.sop), time.monotonic()
        if attempt > self._settings.attempts:  # each attempt ended with the worker
            self._close(film, "failed", f"the worker crashed on it {attempt - 1} times", attempt)
            return
        try:
            report = self._report(film, fetched.result())
            self._store(film, self._make(report))
        except DeclinedError as declined:
            self._close(film, "failed", str(declined), attempt)
        except HopelessError as hopeless:
            self._close(film, "refused", str(hopeless), attempt)
        except TroubleError as trouble:
            self._blame(film, trouble, attempt)
        except Exception as error:
            # One film must not stop the others. The error's message may quote the header.
            self._put_off(film, f"could not be analysed ({type(error).__name__})", attempt)
        else:
            outcome = ",".join(reason.code for reason in report.reasons)
            self._place.settle(film.sop, "done", outcome)
            seconds = time.monotonic() - start
            tell("done", film=key(film.sop), status=report.status, seconds=seconds, **self._counts())

    def _report(self, film: Film, data: bytes) -> Report:
        try:
            report = self._analyse(data)
        except ReadError as error:
            raise HopelessError(f"{error.reason}; {error.remedy}") from None
        header = report.radiograph.origin.header
        with hushed():  # pydicom's warnings would quote the header
            uids = (
                [str(header.get(name)) for name in ("StudyInstanceUID", "SOPInstanceUID")] if header else []
            )
        if uids != [film.study, film.sop]:
            raise TroubleError("the PACS answered with another film than requested")
        for reason in report.reasons:
            if reason.code in _NOT_OURS:
                raise HopelessError(reason.sentence)
        return report

    def _store(self, film: Film, made: Sequence[Result]) -> None:
        """Store the results that the PACS lacks. Raises TroubleError and DeclinedError."""
        missing = [result for result in made if not self._archive.has(result.study, result.sop)]
        self._place.stored(film.sop, [result for result in made if result not in missing])
        if not missing:
            return
        said = self._archive.store(missing)
        self._place.stored(film.sop, [result for result in missing if result.sop in said.stored])
        forms = {result.sop: result.form for result in missing}
        if said.unknown:
            told = ", ".join(sorted(forms[uid] for uid in said.unknown))
            raise TroubleError(f"the PACS did not store: {told}")
        if said.refused:
            told = ", ".join(f"{forms[uid]} ({reason:04X}H)" for uid, reason in sorted(said.refused.items()))
            raise DeclinedError(f"the PACS refuses to store: {told}; see its log, then use --retry")

    def _blame(self, film: Film, trouble: TroubleError, attempt: int) -> None:
        """Count the attempt, unless the PACS as a whole does not answer."""
        most = self._settings.attempts
        if self._stop.is_set() and self._place.forgive(film.sop, most):
            return
        try:
            self._archive.ping()
        except TroubleError as general:
            if not self._place.forgive(film.sop, most):
                self._put_off(film, str(trouble), attempt)
            raise AwayError(general) from None
        self._put_off(film, str(trouble), attempt)

    def _put_off(self, film: Film, reason: str, attempt: int) -> None:
        if attempt >= self._settings.attempts:
            self._close(film, "failed", reason, attempt)
            return
        pause = self._pause(attempt)
        self._place.later(film.sop, pause, reason)
        facts: dict[str, str | float] = {
            "film": key(film.sop),
            "attempt": attempt,
            "reason": reason,
            "seconds": pause,
        }
        tell("again", level=logging.WARNING, **facts)

    def _close(self, film: Film, state: str, reason: str, attempt: int) -> None:
        self._place.settle(film.sop, state, reason)
        tell(
            state, level=logging.WARNING, film=key(film.sop), attempt=attempt, reason=reason, **self._counts()
        )

    def _pause(self, attempt: int) -> float:
        """Seconds until the next attempt: doubled each time, with random spread."""
        doubled = 2.0 ** min(attempt - 1, 60)  # a PACS can be off for weeks, and a float ends at 2**1024
        longest = min(self._settings.patience * doubled, self._settings.longest)
        return longest * self._rng.uniform(0.5, 1.0)

    def _counts(self) -> Mapping[str, int]:
        return self._place.counts()


def _since(stop: threading.Event, seconds: float) -> Callable[[], bool]:
    """Whether `stop` has been set for this many seconds, counted from the first call that finds it set."""
    seen: list[float] = []

    def over() -> bool:
        if stop.is_set() and not seen:
            seen.append(time.monotonic())
        return bool(seen) and time.monotonic() > seen[0] + seconds

    return over
