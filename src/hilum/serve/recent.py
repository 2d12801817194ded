"""The latest reports in bounded memory: a viewer asks for the parts of one report in turn."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement

from hilum.classify import Evidence
from hilum.types import Report

_ELEMENT = 500  # bytes of a header element without its value


@dataclass(slots=True)
class Kept:
    """A report, and every label's evidence after the first request for it."""

    report: Report
    evidence: Mapping[str, Evidence] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    size: int = field(init=False)  # bytes in memory, without small parts

    def __post_init__(self) -> None:
        film, anatomy = self.report.radiograph, self.report.anatomy
        mask = anatomy.mask.nbytes if anatomy else 0
        maps = sum(heatmap.cells.nbytes for heatmap in self.report.heatmaps)
        self.size = film.pixels.nbytes + mask + maps + _length(film.origin.header)


class Recent:
    """Result id -> Kept, up to `most` bytes; the least recently used one is dropped first."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, result: str) -> Kept | None:
        """The report of a result, if it is kept."""
        with self._lock:
            if result in self._kept:
                self._kept.move_to_end(result)
            return self._kept.get(result)

    def put(self, result: str, report: Report) -> Kept:
        """Keep a report, unless it alone exceeds the limit."""
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


def _length(header: Dataset | None) -> int:
    """The approximate size of a header in bytes: a small film may have a large one."""
    return sum(_ELEMENT + _value(element) for element in header.values()) if header else 0


def _value(element: DataElement | RawDataElement) -> int:
    value = element.value
    if isinstance(value, str | bytes):
        return len(value)
    return sum(map(_length, value)) if element.VR == "SQ" and value else 0
