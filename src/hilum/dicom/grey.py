"""How a presentation state turns the film's stored values into grey: as the film's own header says."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset, uid

from hilum.dicom.common import decimal
from hilum.dicom.values import value_of
from hilum.reading.dicom_grey import inverted, numbers, table_entries, text


def grey_levels(header: Dataset) -> Dataset:
    """Modality, VOI and presentation LUT: without them a presentation state undoes the film's own."""
    levels = Dataset()
    levels.update(_modality(header))
    window = _voi(header)
    if window:
        levels.SoftcopyVOILUTSequence = [window]
    # A presentation state does not look at the film's polarity but at its own (PS3.3 C.11.6.1.2).
    bright_air = inverted(header, text(header, "PhotometricInterpretation"), [])
    levels.PresentationLUTShape = "INVERSE" if bright_air else "IDENTITY"
    return levels


def _modality(header: Dataset) -> Dataset:
    levels = Dataset()
    tables = header.get("ModalityLUTSequence")
    if tables:
        table = _table(header, tables[0], spread=False)
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
    """The film's first window, or first table, the same that its pixels were read through."""
    window = Dataset()
    tables = header.get("VOILUTSequence")
    if tables:
        window.VOILUTSequence = [_table(header, tables[0], spread=True)]
        return window
    centres, widths = numbers(header, "WindowCenter", []), numbers(header, "WindowWidth", [])
    function = text(header, "VOILUTFunction") or "LINEAR"
    known = function in ("LINEAR_EXACT", "SIGMOID")
    if centres and widths and (widths[0] > 0 if known else widths[0] >= 1):
        window.WindowCenter, window.WindowWidth = decimal(centres[0]), decimal(widths[0])
        if known:
            window.VOILUTFunction = function
    return window


def _table(header: Dataset, item: Dataset, *, spread: bool) -> Dataset:
    """A lookup table of the film's, written anew in little endian words (PS3.3 C.11.1.1).

    A presentation state has tables of 8 or 16 bits alone: others become 16, and where only the grey counts,
    not the value, they are `spread` over them.
    """
    size, first, bits = (int(one) for one in item["LUTDescriptor"].value)
    size &= 0xFFFF
    signed = numbers(header, "PixelRepresentation", [])[:1] == (1,)
    if first >= 2**15 and signed:  # the sign was lost where the VR was ambiguous
        first -= 2**16
    meta = getattr(header, "file_meta", {})
    little = str(meta.get("TransferSyntaxUID", "")) != uid.ExplicitVRBigEndian
    words = table_entries(item["LUTData"].value, size or 2**16, little, segmented=False)
    if words.max() >= 2**bits:  # the film's pixels were read as of 16 bits, too
        bits = 16
    elif bits not in (8, 16):
        words = words.astype(np.uint32) * 0xFFFF // (2**bits - 1) if spread else words
        bits = 16
    table = Dataset()
    if first < 0:
        table.add_new("LUTDescriptor", "SS", [size if size < 2**15 else size - 2**16, first, bits])
    else:
        table.add_new("LUTDescriptor", "US", [size, first, bits])
    table.add_new("LUTData", "OW", words.astype("<u2").tobytes())
    return table
