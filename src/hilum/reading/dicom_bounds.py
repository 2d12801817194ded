"""Limits on the cost of a DICOM header: a small file can hold millions of elements or items."""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO, TypeAlias, cast

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from hilum.reading.grey import AGAIN, Refused

HEADER = 2**22  # bytes; more than any header of a single film
_PIECES = 100_000  # an element takes two reads or three; the header of a film has a few hundred elements
LONGEST = 2**20  # bytes of an element that is not the pixels; the largest lookup table has 2**17

Deflated: TypeAlias = tuple[FileMetaDataset, Any, bytes]
"""The meta of a deflated file, the object that inflates the rest, and the first HEADER bytes of that."""


def sparing(file: BinaryIO) -> BinaryIO:
    """The file, from which pydicom can read at most _PIECES pieces; after that it raises Refused.

    pydicom makes objects of hundreds of bytes from an element or item of eight bytes.
    """
    return cast(BinaryIO, _Sparing(file))


class _Sparing:
    """The methods of a file that pydicom uses."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _PIECES
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Read as from any file."""
        self._left -= 1
        if self._left < 0:
            raise Refused("a header of more elements than any film's", AGAIN)
        return self._file.read(size)


def deflated(file: BinaryIO) -> Deflated | None:
    """The start of a deflated file; None for a file of another transfer syntax.

    pydicom would inflate the whole file, whatever its size.
    """
    read_preamble(file, force=True)
    stream = sparing(file)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return None
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)  # no zlib header (PS3.5 section A.5)
    return FileMetaDataset(meta), inflater, inflater.decompress(stream.read(), HEADER)


def lighten(dataset: Dataset) -> int:
    """Remove the elements longer than LONGEST, except the pixels; returns how many those were.

    pydicom converts an element at its first use, and makes an object of each number or item in it.
    """
    tags = list(dataset.keys())
    heavy = [tag for tag in tags if tag.group != 0x7FE0 and _length(dataset, tag) > LONGEST]
    for tag in heavy:
        del dataset[tag]
    return len(heavy)


def _length(dataset: Dataset, tag: BaseTag) -> int:
    value = dataset.get_item(tag).value
    return len(value) if isinstance(value, bytes) else 0
