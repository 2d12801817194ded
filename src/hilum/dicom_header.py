"""A DICOM file's header without its pixels: shared by all that ask for one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hilum.read import hushed

if TYPE_CHECKING:
    from pydicom import Dataset


def header_of(source: Path | BinaryIO, tags: Sequence[str]) -> Dataset | None:
    """The elements `tags` of a file; None where it is no DICOM file, or is damaged before its pixels."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                return header_of(file, tags)
        start = source.read(2)
        source.seek(0)
        # Without preamble, a data set starts with the number of a low, even group, in either byte order.
        bare = len(start) == 2 and min(start) == 0 and max(start) in range(0x02, 0x2A, 2)
        with hushed():  # what pydicom warns of would quote the patient's header
            return dcmread(source, stop_before_pixels=True, specific_tags=list(tags), force=bare)
    except (
        InvalidDicomError,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        EOFError,
        zlib.error,
    ):
        return None
