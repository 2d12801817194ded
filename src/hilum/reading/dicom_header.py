"""A DICOM file's header without its pixels: shared by all that ask for one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hilum.reading.reader import hushed

if TYPE_CHECKING:
    from pydicom import Dataset


_HEADER = 2**22  # bytes; more than any header of a single film


def header_of(source: Path | BinaryIO, tags: Sequence[str]) -> Dataset | None:
    """The elements `tags` of a file; None where it is no DICOM file, or is damaged before its pixels."""
    from pydicom import dcmread

    from hilum.reading.dicom_bounds import lighten, sparing

    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                return header_of(file, tags)
        start = source.read(2)
        source.seek(0)
        # Without preamble, a data set starts with the number of a low, even group, in either byte order.
        bare = len(start) == 2 and min(start) == 0 and max(start) in range(0x02, 0x2A, 2)
        with hushed():  # what pydicom warns of would quote the patient's header
            found = _deflated(source, tags) or dcmread(
                sparing(source), stop_before_pixels=True, specific_tags=list(tags), force=bare
            )
            lighten(found)
            return _understood(found)
    except Exception:  # of damaged content pydicom raises whatever its conversions raise
        return None


def _understood(found: Dataset) -> Dataset:
    """Those of its elements that can be converted, which pydicom does when an element is asked for."""
    for tag in list(found.keys()):
        try:
            found[tag]
        except Exception:  # as above
            del found[tag]
    return found


def _deflated(source: BinaryIO, tags: Sequence[str]) -> Dataset | None:
    """The elements of a deflated file; None, and the file at its start, where it is another.

    pydicom would inflate the whole file, to whatever size it unfolds.
    """
    from pydicom import uid as uids
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.tag import Tag

    from hilum.reading.dicom_bounds import sparing

    read_preamble(source, force=True)
    meta = read_dataset(sparing(source), False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != uids.DeflatedExplicitVRLittleEndian:
        source.seek(0)
        return None
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)  # no zlib header (PS3.5 section A.5)
    plain = inflater.decompress(source.read(), _HEADER)
    if len(plain) < _HEADER and not inflater.eof:
        raise EOFError
    return read_dataset(
        sparing(BytesIO(plain)),
        False,
        True,
        stop_when=lambda tag, *_: tag >> 16 >= 0x7FE0,
        specific_tags=[Tag(tag) for tag in tags],
    )
