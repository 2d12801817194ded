"""Grey levels and geometry from a DICOM header, in the order of PS3.4 N.2.

The order is modality, VOI, polarity. Notes quote values of the header only if they are numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue

from hilum.reading.grey import AGAIN, LUMA, Refused, count, stretch, values_of
from hilum.reading.views import FRONTAL, view_in
from hilum.types import Array

_VIEW_CODES = {
    "399348003": "AP",
    "R-10206": "AP",
    "272479007": "PA",
    "R-10214": "PA",
    "399067008": "LATERAL",
}
"""Codes of PS3.16 CID 4010: SNOMED CT, and the older ones."""

_FINEST, _COARSEST = 0.01, 20.0  # mm; a chest is 300 mm wide


def numbers(dataset: Dataset, keyword: str, notes: list[str]) -> tuple[float, ...]:
    """The finite numbers of an element; none, with a note, if any of them is malformed."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return ()
        found = tuple(float(one) for one in (value if isinstance(value, MultiValue | list) else [value]))
    except Exception:  # pydicom converts on access, and raises whatever the conversion raises
        found = (math.nan,)
    if not all(math.isfinite(one) for one in found):
        notes.append(f"{keyword} is malformed and ignored")
        return ()
    return found


def text(dataset: Dataset, keyword: str) -> str:
    """An element as upper-case text; empty if it is missing or malformed."""
    try:
        return str(dataset.get(keyword) or "").strip().upper()
    except Exception:  # as in numbers
        return ""


def spacing_of(dataset: Dataset, notes: list[str]) -> tuple[float, float] | None:
    """Millimetres between rows and between columns, or None."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        found = numbers(dataset, keyword, notes)
        if len(found) == 2 and _FINEST <= min(found) <= max(found) <= _COARSEST:
            notes.append(f"spacing: {keyword}")
            return found[0], found[1]
        if found:
            notes.append(f"{keyword} is zero, implausible or malformed and ignored")
    return None


def view_of(dataset: Dataset, notes: list[str]) -> str | None:
    """The view, as a word of VIEWS; None if the header states none.

    ViewPosition counts first, then ViewCodeSequence, which DX films must have (PS3.3 C.8.11.5).
    """
    said = text(dataset, "ViewPosition")
    if view := view_in(said):
        return view
    notes += ["ViewPosition is unknown and ignored"] if said else []
    if view := coded_view(dataset):
        notes.append("view: ViewCodeSequence")
    return view or None


def coded_view(dataset: Dataset) -> str:
    """The view of ViewCodeSequence: AP, PA, LATERAL or OBLIQUE; "" for anything else.

    CodeMeaning counts first, because the code for one view differs between coding schemes.
    """
    try:
        item = dataset.ViewCodeSequence[0]
    except Exception:  # missing, empty or malformed
        return ""
    meaning = text(item, "CodeMeaning").replace(" ", "-")
    for word in ("OBLIQUE", "LATERAL"):
        if word in meaning and "BILATERAL" not in meaning:
            return word
    return FRONTAL.get(meaning) or _VIEW_CODES.get(text(item, "CodeValue"), "")


def sides_of(dataset: Dataset) -> str:
    """The side of the patient towards which image rows run (PS3.3 C.7.6.1.1.1), as a letter, or "".

    L: the usual orientation; R: mirrored; A, P, H or F: lateral or turned.
    """
    value = text(dataset, "PatientOrientation").strip("[]'\" ")
    return value[:1] if value[:1] in ("L", "R", "A", "P", "H", "F") else ""


def levels_of(
    dataset: Dataset, grey: Array, bits: int, photometric: str, little: bool, notes: list[str]
) -> Array:
    """The level in [0, 1], air dark, of every value a pixel can hold, in the order of `values_of`.

    `grey` is (H, W) stored values of `bits` bits; `little` says whether the file is little-endian.
    """
    stored = values_of(grey.dtype)
    if photometric == "PALETTE COLOR":
        return _palette(dataset, stored, little, notes)
    values = _modality(dataset, stored, little, notes)
    levels = _voi(dataset, values, little, notes)
    if levels is None and bits <= 8:
        low = -(2 ** (bits - 1)) if grey.dtype.kind == "i" else 0
        full = values[(stored >= low) & (stored < low + 2**bits)]
        span = full.max() - full.min()
        levels = np.clip((values - full.min()) / (span or 1), 0, 1)
        notes.append(f"grey levels: {bits} bits divided by {2**bits - 1}")
    if levels is None:
        seen = count(grey)
        if padding := padding_of(dataset, grey.dtype, notes):
            notes.append("pixel padding left out of the grey levels")
            seen[(stored >= padding[0]) & (stored <= padding[1])] = 0
        levels = stretch(values, seen, notes)
    return 1 - levels if inverted(dataset, photometric, notes) else levels


def _modality(dataset: Dataset, stored: Array, little: bool, notes: list[str]) -> Array:
    items = dataset.get("ModalityLUTSequence")
    if items:
        notes.append("modality LUT applied")
        return _look_up(items[0], "LUT", "LUTData", stored, little)[0]
    slope = numbers(dataset, "RescaleSlope", notes) or (1.0,)
    intercept = numbers(dataset, "RescaleIntercept", notes) or (0.0,)
    if slope[0] == 0:
        notes.append("RescaleSlope is zero and ignored")
        return stored
    if (slope[0], intercept[0]) != (1, 0):
        notes.append(f"rescaled by {slope[0]:g} and {intercept[0]:g}")
    return stored * slope[0] + intercept[0]


def _voi(dataset: Dataset, values: Array, little: bool, notes: list[str]) -> Array | None:
    items = dataset.get("VOILUTSequence")
    if items:
        notes.append("grey levels: VOI LUT" + _first_of(len(items)))
        entries, top = _look_up(items[0], "LUT", "LUTData", values, little)
        return entries / top
    centres, widths = numbers(dataset, "WindowCenter", notes), numbers(dataset, "WindowWidth", notes)
    if not (centres and widths):
        return None
    centre, width = centres[0], widths[0]
    function = text(dataset, "VOILUTFunction") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        notes.append("VOILUTFunction is unknown; LINEAR is used")
        function = "LINEAR"
    if width < 1 if function == "LINEAR" else width <= 0:
        notes.append(f"window of width {width:g} ignored")
        return None
    notes.append(
        f"grey levels: {function} window, centre {centre:g}, width {width:g}" + _first_of(len(centres))
    )
    # PS3.3 C.11.2.1.2 and C.11.2.1.3
    if function == "SIGMOID":
        return cast(Array, 0.5 + 0.5 * np.tanh(2 * (values - centre) / width))
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-9)
    return np.clip((values - centre) / width + 0.5, 0, 1)


def _first_of(number: int) -> str:
    return f", the first of {number}" if number > 1 else ""


def padding_of(dataset: Dataset, dtype: np.dtype[Any], notes: list[str]) -> tuple[int, int] | None:
    """The lowest and the highest stored value that mean "no pixel here" (PS3.3 C.7.5.1.1.2), or None.

    Headers state them signed or unsigned, independent of the pixels; both are converted to the pixels' type.
    """
    value = numbers(dataset, "PixelPaddingValue", notes)
    if not value:
        return None
    limit = numbers(dataset, "PixelPaddingRangeLimit", notes) or value
    stated = np.array([value[0], limit[0]])
    if np.abs(stated).max() < 2**31:
        one, other = stated.astype(np.int64).astype(dtype).tolist()
        if one <= other or stated[0] > stated[1]:  # still a range after the conversion
            return min(one, other), max(one, other)
    notes.append("PixelPaddingValue is malformed and ignored")
    return None


def inverted(dataset: Dataset, photometric: str, notes: list[str]) -> bool:
    """Whether low values are shown bright, as the photometric interpretation or the LUT shape says."""
    bright_air = photometric == "MONOCHROME1"  # the lowest value is shown white (PS3.3 C.7.6.3.1.2)
    shape = text(dataset, "PresentationLUTShape")
    if shape in ("IDENTITY", "INVERSE") and bright_air != (shape == "INVERSE"):
        notes.append(f"PresentationLUTShape {shape} disagrees with {photometric}")
    if not (bright_air or shape == "INVERSE"):
        return False
    notes.append("inverted once: " + (photometric if bright_air else "PresentationLUTShape INVERSE"))
    return True


def _palette(dataset: Dataset, stored: Array, little: bool, notes: list[str]) -> Array:
    notes.append("palette colour turned to grey")
    grey = np.zeros(stored.shape)
    for colour, weight in zip(("Red", "Green", "Blue"), LUMA, strict=True):
        name = f"{colour}PaletteColorLookupTable"
        data = f"{name}Data" if f"{name}Data" in dataset else f"Segmented{name}Data"
        entries, top = _look_up(dataset, name, data, stored, little)
        grey += weight * entries / top
    return grey


def _look_up(item: Dataset, name: str, data: str, values: Array, little: bool) -> tuple[Array, int]:
    """Each value's entry in a table of the header, and the largest entry possible (PS3.3 C.11.1.1)."""
    if f"{name}Descriptor" not in item or data not in item:
        raise Refused("an empty lookup table", AGAIN)
    size, first, bits = descriptor(item[f"{name}Descriptor"].value, signed=bool(values.min() < 0))
    entries = table_entries(item[data].value, size, little, segmented=data.startswith("Segmented"))
    top = 2**bits - 1 if entries.max() < 2**bits else 2**16 - 1
    return entries[np.clip(np.rint(values) - first, 0, size - 1).astype(np.intp)].astype(np.float64), top


def descriptor(value: Sequence[int], *, signed: bool) -> tuple[int, int, int]:
    """Entries of a lookup table, the first value it maps, and bits of an entry (PS3.3 C.11.1.1).

    `signed` is whether the table's input can be negative: the VR in a header, US or SS, is ambiguous.
    """
    size, first, bits = (int(one) for one in value)
    first &= 0xFFFF
    return size & 0xFFFF or 2**16, first - 2**16 if signed and first >= 2**15 else first, bits


def table_entries(value: bytes | Sequence[int] | int, size: int, little: bool, *, segmented: bool) -> Array:
    """The `size` entries of a table stored as words, or as bytes, two in a word."""
    if isinstance(value, bytes):
        words = np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little else ">u2").astype("<u2")
    else:
        words = np.asarray(value).astype("<u2").reshape(-1)
    if segmented:
        words = _expand(words, size)
    entries = words if words.size >= size else words.view(np.uint8)
    if entries.size < size:
        raise Refused(f"a lookup table of {entries.size} entries, its descriptor says {size}", AGAIN)
    return entries[:size]


def _expand(words: Array, size: int) -> Array:
    """The first `size` entries of a segmented palette: runs of entries and straight lines (PS3.3 C.7.9.2)."""
    entries: list[int] = []
    at = 0
    while at + 2 < words.size and len(entries) < size:
        kind, length = int(words[at]), int(words[at + 1])
        if kind == 0:
            entries.extend(words[at + 2 : at + 2 + length])
            at += 2 + length
        elif kind == 1 and entries:
            entries.extend(np.rint(np.linspace(entries[-1], int(words[at + 2]), length + 1)[1:]))
            at += 3
        else:
            raise Refused("a palette of indirect segments", "convert it to MONOCHROME2")
    return np.asarray(entries[:size], "<u2")
