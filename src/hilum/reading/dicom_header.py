"""Read a DICOM file's header without its pixels."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hilum.reading.reader import hushed, is_bare

if TYPE_CHECKING:
    from pydicom import Dataset

# Of an OSError that damaged content causes: pydicom's own has no number, a seek out of the file has these.
_OF_CONTENT = (None, errno.EINVAL, errno.EOVERFLOW)


def header_of(source: Path | BinaryIO, tags: Sequence[str]) -> Dataset | None:
    """The elements `tags` of a file; None if it is no DICOM file, or damaged before its pixels.

    Raises OSError where the disk or the network fails, or the file may not be opened.
    """
    from pydicom import dcmread

    from hilum.reading.dicom_bounds import lighten, sparing

    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                return header_of(file, tags)
        start = source.read(2)
        source.seek(0)
        with hushed():  # pydicom's warnings would quote the patient's header
            found = _deflated(source, tags) or dcmread(
                sparing(source), stop_before_pixels=True, specific_tags=list(tags), force=is_bare(start)
            )
            lighten(found)
            return _understood(found)
    except Exception as error:  # of damaged content pydicom raises whatever its conversions raise
        if isinstance(error, OSError) and error.errno not in _OF_CONTENT:
            raise
        return None


def _understood(found: Dataset) -> Dataset:
    """The header without elements that pydicom cannot convert, which it does at their first use."""
    for tag in list(found.keys()):
        try:
            found[tag]
        except Exception:  # as above
            del found[tag]
    return found


def _deflated(source: BinaryIO, tags: Sequence[str]) -> Dataset | None:
    """The elements of a deflated file; None for another file, which is then rewound."""
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag

    from hilum.reading.dicom_bounds import HEADER, deflated, sparing

    found = deflated(source)
    if found is None:
        source.seek(0)
        return None
    _, inflater, plain = found
    if len(plain) < HEADER and not inflater.eof:
        raise EOFError
    return read_dataset(
        sparing(BytesIO(plain)),
        False,
        True,
        stop_when=lambda tag, *_: tag >> 16 >= 0x7FE0,
        specific_tags=[Tag(tag) for tag in tags],
    )
