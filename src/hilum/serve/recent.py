"""The reports made last, kept in bounded memory: a viewer asks for the parts of one, one after the other."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from hilum.classify import Evidence
from hilum.types import Report


@dataclass(slots=True)
class Kept:
    """A report, and every label's evidence once it was asked for."""

    report: Report
    evidence: Mapping[str, Evidence] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def size(self) -> int:
        """Bytes that it takes, its small parts not counted."""
        mask = self.report.anatomy.mask.nbytes if self.report.anatomy else 0
        maps = sum(heatmap.values.nbytes for heatmap in self.report.heatmaps)
        return self.report.radiograph.pixels.nbytes + mask + maps


class Recent:
    """Result id -> Kept, of at most so many bytes; the one not asked for longest goes first."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, result: str) -> Kept | None:
        """What is kept of a result."""
        with self._lock:
            if result in self._kept:
                self._kept.move_to_end(result)
            return self._kept.get(result)

    def put(self, result: str, report: Report) -> Kept:
        """Keep a report, unless it alone is too large."""
        kept = Kept(report)
        with self._lock:
            self._drop(result)
            if kept.size <= self._most:
                self._kept[result] = kept
                self._size += kept.size
            while self._size > self._most:
                self._drop(next(iter(self._kept)))
        return kept

    def drop(self, result: str) -> None:
        """Forget a result."""
        with self._lock:
            self._drop(result)

    def _drop(self, result: str) -> None:
        if kept := self._kept.pop(result, None):
            self._size -= kept.size
