"""Find the bits of a decoded word that hold the pixel, if the header describes the words wrongly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hilum.reading.dicom_layout import Layout
from hilum.types import Array

_LINES = 256  # rows, and columns, that are compared to measure roughness


class Coded(NamedTuple):
    """Bits and sign that the codestream declares; for uncompressed pixels, those of their words."""

    bits: int
    signed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """One interpretation of the words; a step of 1 in `pixels` is a step of `scale` in the words."""

    pixels: Array
    stored: int  # bits
    note: str = ""
    scale: int = 1


def with_actual_bits(
    words: Array, layout: Layout, coded: Coded, padding: tuple[int, int] | None, notes: list[str]
) -> tuple[Array, int]:
    """The pixels of decoded words (H, W), and their number of bits.

    `padding` is the range of words that mark padding, in the words' type. Bits above BitsStored extend the
    sign, or are unused (PS3.5 section 8.1.1). If they are set all the same, they hold an old overlay, pixels
    of more bits than BitsStored, pixels stored higher, or a sign that the header denies. The smoothest of
    these interpretations is right: a wrong one breaks the grey levels at powers of two.
    """
    stored = min(layout.stored, coded.bits) if layout.signed else layout.stored
    low = _cell(words, stored, stored - 1)
    bare = words.view(f"u{words.itemsize}")
    if layout.signed and not (bare >> stored).any():  # the sign was not extended into the unused bits
        return low, stored
    pads = np.zeros(words.shape, bool)
    if padding:
        pads = (words >= padding[0]) & (words <= padding[1])
    beyond = bool(((low != words) & ~pads).any())
    denied = coded.signed and not layout.signed and bool((bare >> (coded.bits - 1)).any())
    if not beyond and not denied:
        if layout.high != layout.stored - 1:
            notes.append(
                f"HighBit {layout.high} disagrees with BitsStored {layout.stored}, which is followed"
            )
        return words, stored
    moved = _moved(words, layout, stored)
    if moved and not (words & (moved.scale - 1)).any():
        notes.append(moved.note)
        return moved.pixels, stored
    note = f"bits above the {stored} of BitsStored ignored" if beyond else ""
    readings = [_Reading(pixels=np.where(pads, words, low), stored=stored, note=note)]
    if moved:
        readings.append(moved)
    if not moved or (words >> layout.high >> 1).any():
        more = 8 * words.itemsize if layout.signed else int(words.max()).bit_length()
        note = f"pixels of {more} bits, BitsStored says {stored}; all used"
        readings.append(_Reading(pixels=words, stored=more, note=note))
    extended = coded.bits if denied else stored
    signed = _cell(words.view(f"i{words.itemsize}"), extended, extended - 1)
    if not layout.signed and (denied or np.array_equal(signed.view(bare.dtype), bare)):
        denies = "PixelRepresentation 0, but the pixels are signed"
        readings.append(_Reading(pixels=signed, stored=extended, note=denies))
    best = min(readings, key=lambda one: _roughness(one, pads))
    notes += [best.note] if best.note else []
    return best.pixels, best.stored


def _moved(words: Array, layout: Layout, stored: int) -> _Reading | None:
    """The interpretation in which pixels end at HighBit, if that lies above the lowest possible place."""
    if not stored <= layout.high < 8 * words.itemsize:
        return None
    up = layout.high + 1 - stored
    note = f"BitsStored {stored} below HighBit {layout.high}: pixels lie {up} bits higher"
    return _Reading(pixels=_cell(words, stored, layout.high), stored=stored, note=note, scale=2**up)


def _cell(words: Array, stored: int, high: int) -> Array:
    """The number in `stored` bits of each word, the highest of which is bit `high`."""
    width = 8 * words.itemsize
    return np.asarray((words << (width - 1 - high)) >> (width - stored))


def _roughness(reading: _Reading, pads: Array) -> float:
    """Sum of the steps between neighbours in some rows and columns, without padding."""
    total = 0.0
    for pixels, without in ((reading.pixels, pads), (reading.pixels.T, pads.T)):
        every = max(1, len(pixels) // _LINES)
        lines, left_out = pixels[::every].astype(np.int64), without[::every]
        total += float(np.abs(np.diff(lines))[~(left_out[:, 1:] | left_out[:, :-1])].sum())
    return total * reading.scale
