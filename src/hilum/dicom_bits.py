"""Which bits of a stored word hold the pixel, where the words are not what the header says of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hilum.types import Array

_LINES = 256  # looked at each way to tell how rough a reading is


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """One way to read the words; `scale` is how many of the word's units its own unit is."""

    pixels: Array
    stored: int  # bits
    note: str
    scale: int = 1


def settled(
    grey: Array, stored: int, high: int, padding: int | None, notes: list[str], *, denied: bool = False
) -> tuple[Array, int]:
    """The pixels of (H, W) words as they were decoded, and how many bits they have.

    `stored` and `high` are BitsStored and HighBit, `padding` is PixelPaddingValue; `denied`: a codestream
    says that its pixels are signed, and the header that they are not. Bits beyond those stored are the
    sign's, or unused (PS3.5 section 8.1.1). Where they are used all the same, films hold old overlays there,
    or more than BitsStored admits, or lie higher, or have a sign that is denied. Of such readings the
    smoothest is right: a wrong one breaks a film's shades wherever they pass a power of two.
    """
    width = 8 * grey.itemsize
    low = _cell(grey, stored, stored - 1)
    higher = high + 1 - stored if stored <= high < width else 0
    moved = _Reading(
        pixels=_cell(grey, stored, high) if higher else low,
        stored=stored,
        note=f"BitsStored {stored} below HighBit {high}: pixels lie {higher} bits higher",
        scale=2**higher,
    )
    if higher and not (grey & (2**higher - 1)).any():
        notes.append(moved.note)
        return moved.pixels, stored
    pads = np.zeros(grey.shape, bool) if padding is None else grey == np.int64(padding).astype(grey.dtype)
    signed = grey.view(f"i{grey.itemsize}")
    if not (denied and signed.min() < 0) and not ((low != grey) & ~pads).any():
        if high != stored - 1:
            notes.append(f"HighBit {high} disagrees with BitsStored {stored}, which is followed")
        return grey, stored
    readings = [_Reading(pixels=low, stored=stored, note=f"bits above the {stored} of BitsStored ignored")]
    if higher:
        readings.append(moved)
    if not higher or (grey >> high >> 1).any():
        more = width if grey.dtype.kind == "i" else int(grey.max()).bit_length()
        note = f"pixels of {more} bits, BitsStored says {stored}; all used"
        readings.append(_Reading(pixels=grey, stored=more, note=note))
    if grey.dtype.kind == "u" and np.array_equal(_cell(signed, stored, stored - 1), signed):
        denies = "PixelRepresentation 0, but the pixels are signed"
        readings.append(_Reading(pixels=signed, stored=stored, note=denies))
    best = min(readings, key=lambda one: _roughness(one, pads))
    notes.append(best.note)
    return best.pixels, best.stored


def _cell(grey: Array, stored: int, high: int) -> Array:
    """The number that so many bits of each word make, the highest of them being `high`."""
    width = 8 * grey.itemsize
    return np.asarray((grey << (width - 1 - high)) >> (width - stored))


def _roughness(reading: _Reading, pads: Array) -> float:
    """Sum of the steps between neighbours in some rows and columns, padding left out.

    Endless where nothing is shown.
    """
    total = 0.0
    for pixels, without in ((reading.pixels, pads), (reading.pixels.T, pads.T)):
        every = max(1, len(pixels) // _LINES)
        lines, left_out = pixels[::every].astype(np.int64), without[::every]
        total += float(np.abs(np.diff(lines))[~(left_out[:, 1:] | left_out[:, :-1])].sum())
    return total * reading.scale or np.inf
