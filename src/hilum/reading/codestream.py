"""Check a compressed frame against the DICOM header before a decoder trusts it.

Decoders allocate the size that the frame declares. GDCM, the only decoder of lossless JPEG here, ends the
whole process at a segment that it does not expect.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from hilum.reading.grey import AGAIN, Refused

_JPEG_2000 = b"\xff\x4f\xff\x51"  # SOC and SIZ
_FRAME, _TABLES, _RESTART, _SCAN = 0xFFC3, 0xFFC4, 0xFFDD, 0xFFDA  # markers of a lossless JPEG
_FRAMES = {*range(0xFFC0, 0xFFD0), 0xFFF7} - {0xFFC4, 0xFFC8, 0xFFCC}
_COMMENTS = {*range(0xFFE0, 0xFFF0), 0xFFFE}
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")  # neither a stuffed byte nor a restart (T.81 B.1.1.2)
_SCANS = 200  # each takes 0.04 s for a film of 100 million pixels, even with few bytes


def check_scans(frame: bytes) -> None:
    """Refuse a JPEG with thousands of scans: a scan of a few bytes can take as long as a whole image."""
    scans, place = 0, 2
    while found := _MARKER.search(frame, place):
        marker, place = found[1][0], found.end()
        if marker not in (0x01, 0xD8, 0xD9):
            place += int.from_bytes(frame[place : place + 2], "big")
        scans += marker == 0xDA
        if scans > _SCANS:
            raise Refused(f"a JPEG of more than {_SCANS} scans", AGAIN)


def checked(frame: bytes, size: tuple[int, int, int], *, lossless: bool) -> tuple[bytes, int, bool]:
    """The frame without its container, its bits per sample, and whether it declares them signed.

    `size` is the expected rows, columns and samples. For JPEG, JPEG-LS and JPEG 2000 (ITU-T T.81, T.87 and
    T.800). Comments of a lossless JPEG are removed too.
    """
    try:
        start = frame.find(_JPEG_2000, 0, 4096)  # the boxes of a JP2 file may come first
        if start >= 0:
            frame = frame[start:]
            right, bottom, left, top = struct.unpack_from(">4I", frame, 8)
            samples, bits = struct.unpack_from(">HB", frame, 40)
            bits, signed = (bits & 0x7F) + 1, bits > 0x7F
            found = bottom - top, right - left, samples
        else:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", _only_frame(frame), 4)
            found, signed = (rows, columns, samples), False
        if found != size:
            declared, expected = (" x ".join(map(str, one)) for one in (found, size))
            raise Refused(f"the compressed frame is {declared}, the header says {expected}", AGAIN)
        return (_bare(frame, size[2], bits) if lossless else frame), bits, signed
    except struct.error:
        raise Refused("no image in the compressed pixel data, or it ends too early", AGAIN) from None


def _segments(frame: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of a JPEG frame's segments, up to the start of its first scan (T.81 B.1.1)."""
    marker, start = 0, 2
    while marker != _SCAN:
        marker, length = struct.unpack_from(">HH", frame, start)
        yield marker, frame[start : start + 2 + length]
        start += 2 + length


def _only_frame(frame: bytes) -> bytes:
    headers = [segment for marker, segment in _segments(frame) if marker in _FRAMES]
    if len(headers) != 1:
        raise Refused(f"{len(headers)} frame headers in the compressed pixel data", AGAIN)
    return headers[0]


def _bare(frame: bytes, samples: int, bits: int) -> bytes:
    """The lossless frame without comments; malformed segments are refused."""
    segments = [(marker, segment) for marker, segment in _segments(frame) if marker not in _COMMENTS]
    end = 2 + sum(len(segment) for _, segment in _segments(frame))
    tables: set[int] = set()
    components: list[int] = []
    for marker, segment in segments:
        if marker == _FRAME and 2 <= bits <= 16 and len(segment) == 10 + 3 * samples:
            components = list(segment[10::3])
            sound = set(segment[11::3]) == {0x11} and len(set(components)) == samples
        elif marker == _TABLES:
            sound = _sound_tables(segment[4:], tables)
        elif marker == _SCAN:
            sound = _sound_scan(segment[4:], components, tables, bits)
        else:
            sound = marker == _RESTART and len(segment) == 6
        if not sound:
            raise Refused(f"the lossless JPEG's segment {marker:04X} is malformed", AGAIN)
    return b"\xff\xd8" + b"".join(segment for _, segment in segments) + frame[end:]


def _sound_tables(body: bytes, tables: set[int]) -> bool:
    """Check Huffman tables (T.81 B.2.4.2 and H.1.2.2), and add their numbers to `tables`."""
    while len(body) >= 17:
        number, lengths = body[0], body[1:17]
        entries = body[17 : 17 + sum(lengths)]
        space = sum(count << (15 - place) for place, count in enumerate(lengths))
        if number > 3 or len(entries) != sum(lengths) or not entries or max(entries) > 16 or space > 2**16:
            return False
        tables.add(number)
        body = body[17 + len(entries) :]
    return not body


def _sound_scan(body: bytes, components: list[int], tables: set[int], bits: int) -> bool:
    """Check a scan header (T.81 B.2.3): its components, tables and predictor."""
    number = body[0] if body else 0
    if not number or len(body) != 4 + 2 * number:
        return False
    named, chosen = body[1 : 1 + 2 * number : 2], body[2 : 2 + 2 * number : 2]
    predictor, last, shift = body[-3:]
    return (
        set(named) <= set(components)
        and len(set(named)) == number
        and all(table >> 4 in tables for table in chosen)
        and 1 <= predictor <= 7
        and last == 0
        and shift < bits  # the upper half is always 0
    )
