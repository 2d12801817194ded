"""Bounds on what a DICOM header may cost: a small file can hold millions of elements or items."""

from __future__ import annotations

from typing import BinaryIO, cast

from pydicom import Dataset
from pydicom.tag import BaseTag

from hilum.reading.grey import Refused

_PIECES = 100_000  # an element takes two reads or three; the header of a film has a few hundred elements
LONGEST = 2**20  # bytes of an element that is not the pixels; the largest lookup table has 2**17


def sparing(file: BinaryIO) -> BinaryIO:
    """The file, to be read by pydicom in so many pieces and no more; then it raises Refused.

    pydicom makes objects of hundreds of bytes from an element or item of eight.
    """
    return cast(BinaryIO, _Sparing(file))


class _Sparing:
    """What pydicom asks of a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _PIECES
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """As of any file."""
        self._left -= 1
        if self._left < 0:
            raise Refused(
                "a header of more elements than any film's", "export the film again from its source"
            )
        return self._file.read(size)


def lighten(dataset: Dataset) -> int:
    """Take out whatever is longer than LONGEST and not the pixels; returns how many elements those were.

    pydicom converts an element when it is asked for, a number or item of two bytes into an object.
    """
    tags = list(dataset.keys())
    heavy = [tag for tag in tags if tag.group != 0x7FE0 and _length(dataset, tag) > LONGEST]
    for tag in heavy:
        del dataset[tag]
    return len(heavy)


def _length(dataset: Dataset, tag: BaseTag) -> int:
    value = dataset.get_item(tag).value
    return len(value) if isinstance(value, bytes) else 0
