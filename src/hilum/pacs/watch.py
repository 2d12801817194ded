"""When to query which feed, and what to do if one does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date

from hilum.pacs.archive import Archive
from hilum.pacs.events import tell
from hilum.pacs.faults import AwayError, TroubleError
from hilum.pacs.feeds import Changes, Search, orthanc
from hilum.pacs.place import Place
from hilum.pacs.records import Film, Settings

_SEARCH_EVERY = 600.0  # seconds between searches beside Orthanc's list of changes, which can miss films

_SHUT = frozenset({401, 403, 404, 405})  # this user may not read the list: searches replace it


class Watch:
    """The feeds and the times of their next queries."""

    def __init__(self, settings: Settings, place: Place, over: Callable[[], bool]) -> None:
        self._settings, self._place, self._over = settings, place, over
        self._search = Search(Archive(settings, over), settings.days)
        self._changes: Changes | None = None
        self._asked = False  # whether the PACS was asked if it is an Orthanc
        self._next_look = self._next_search = 0.0
        self._new = 0

    def wait(self) -> float:
        """Seconds until the next query."""
        return max(self._next_look - time.monotonic(), 0.0)

    def look(self, *, at_once: bool = False) -> int:
        """Queue new films, if a query is due or `at_once`; their number. Raises AwayError."""
        if self.wait() > 0 and not at_once:
            return 0
        self._new = 0
        try:
            self._ask()
            self._feeds()
        except TroubleError as trouble:
            raise AwayError(trouble) from None
        self._next_look = time.monotonic() + self._settings.every
        if self._new:
            tell("found", films=self._new, **self._place.counts())
        return self._new

    def _ask(self) -> None:
        """Find out, once, whether the PACS is an Orthanc."""
        if self._asked:
            return
        url = orthanc(self._settings, self._over)
        self._changes = Changes(self._settings, url, self._over) if url else None
        self._asked = True
        tell("watching", feed="changes" if url else "search")

    def _feeds(self) -> None:
        if self._changes is not None:
            try:
                whole = self._changes.look(self._offer, self._place.marks(), date.today())
            except TroubleError as trouble:
                if not self._over():  # a stop is no trouble
                    tell("no-changes", level=logging.WARNING, reason=str(trouble))
                whole = False
                if trouble.status in _SHUT:
                    self._changes = None
            if whole and time.monotonic() < self._next_search:
                return
        self._search.look(self._offer, self._place.marks(), date.today())
        self._next_search = time.monotonic() + _SEARCH_EVERY

    def _offer(self, films: Sequence[Film], marks: Mapping[str, str]) -> None:
        self._new += self._place.offer(films, marks)
