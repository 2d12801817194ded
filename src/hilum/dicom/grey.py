"""How a presentation state turns stored values into grey levels: as the film's own header does."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset, uid

from hilum.dicom.common import decimal
from hilum.dicom.values import value_of
from hilum.reading.dicom_grey import descriptor, inverted, numbers, table_entries, text


def grey_levels(header: Dataset) -> Dataset:
    """Modality, VOI and presentation LUT: a presentation state without them overrides the film's."""
    levels = Dataset()
    levels.update(_modality(header))
    window = _voi(header)
    if window:
        levels.SoftcopyVOILUTSequence = [window]
    # A presentation state uses its own polarity, not the film's (PS3.3 C.11.6.1.2).
    bright_air = inverted(header, text(header, "PhotometricInterpretation"), [])
    levels.PresentationLUTShape = "INVERSE" if bright_air else "IDENTITY"
    return levels


def _modality(header: Dataset) -> Dataset:
    levels = Dataset()
    tables = header.get("ModalityLUTSequence")
    if tables:
        table = _table(header, tables[0], signed=_signed(header), spread=False)
        table.ModalityLUTType = _type(tables[0], "ModalityLUTType")
        levels.ModalityLUTSequence = [table]
        return levels
    slope, intercept = numbers(header, "RescaleSlope", []), numbers(header, "RescaleIntercept", [])
    if (slope or intercept) and slope[:1] != (0,):
        levels.RescaleSlope, levels.RescaleIntercept = decimal((*slope, 1)[0]), decimal((*intercept, 0)[0])
        levels.RescaleType = _type(header, "RescaleType")
    return levels


def _type(item: Dataset, keyword: str) -> str:
    found, valid = value_of(item, keyword)
    return found if found and valid else "US"  # unspecified


def _voi(header: Dataset) -> Dataset:
    """The film's first window or table, the one that its pixels were read with."""
    window = Dataset()
    tables = header.get("VOILUTSequence")
    if tables:
        window.VOILUTSequence = [_table(header, tables[0], signed=_lowest(header) < 0, spread=True)]
        return window
    centres, widths = numbers(header, "WindowCenter", []), numbers(header, "WindowWidth", [])
    function = text(header, "VOILUTFunction") or "LINEAR"
    known = function in ("LINEAR_EXACT", "SIGMOID")
    if centres and widths and (widths[0] > 0 if known else widths[0] >= 1):
        window.WindowCenter, window.WindowWidth = decimal(centres[0]), decimal(widths[0])
        if known:
            window.VOILUTFunction = function
    return window


def _signed(header: Dataset) -> bool:
    """Whether stored values have a sign."""
    return numbers(header, "PixelRepresentation", [])[:1] == (1,)


def _lowest(header: Dataset) -> float:
    """The lowest value that the modality step can give, for any stored value."""
    if header.get("ModalityLUTSequence"):
        return 0
    bits = int((*numbers(header, "BitsAllocated", []), 16)[0])
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if _signed(header) else (0, 2**bits - 1)
    slope = (*numbers(header, "RescaleSlope", []), 1)[0]
    if slope == 0:  # ignored, as above
        return low
    return float(min(slope * low, slope * high) + (*numbers(header, "RescaleIntercept", []), 0)[0])


def _table(header: Dataset, item: Dataset, *, signed: bool, spread: bool) -> Dataset:
    """A lookup table of the film's, rewritten in little endian words (PS3.3 C.11.1.1).

    `signed` is whether its input can be negative. A presentation state has tables of 8 or 16 bits only:
    others become 16, and where only the grey level counts, not the value, they are `spread` over them.
    """
    size, first, bits = descriptor(item["LUTDescriptor"].value, signed=signed)
    meta = getattr(header, "file_meta", {})
    little = str(meta.get("TransferSyntaxUID", "")) != uid.ExplicitVRBigEndian
    words = table_entries(item["LUTData"].value, size, little, segmented=False)
    if words.max() >= 2**bits:  # the reader, too, takes such a table for 16 bits
        bits = 16
    elif bits not in (8, 16):
        words = words.astype(np.uint32) * 0xFFFF // (2**bits - 1) if spread else words
        bits = 16
    table = Dataset()
    size %= 2**16  # 0 stands for 65,536 entries
    if first < 0:
        table.add_new("LUTDescriptor", "SS", [size if size < 2**15 else size - 2**16, first, bits])
    else:
        table.add_new("LUTDescriptor", "US", [size, first, bits])
    table.add_new("LUTData", "OW", words.astype("<u2").tobytes())
    return table
