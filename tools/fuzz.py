"""Fuzzing of `hilum.read` (`make faults`): damaged films of every format and transfer syntax, one by one.

Each input goes to a child process with limits on time and memory. Failures are a child that crashes, hangs or
runs out of memory, and a returned film that is invalid; their inputs are kept as files. Inputs that are read
or refused in a new way are damaged further, so the search gets past the first check that fails.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pydicom.data
from PIL import Image
from pydicom import dcmread, dcmwrite, uid

from hilum.data.phantom import draw
from hilum.errors import ReadError
from hilum.reading.guarded import Decoder
from hilum.selftest import GOLDEN
from hilum.types import Radiograph

SECONDS, MEMORY = 10, 2**30  # limits for one input, enough for a film of 100 million pixels
_CORPUS = 2000  # at most so many inputs are damaged further
_LARGEST = 2**18  # bytes of an input: small inputs are faster, so more damage can be tried
_PNG = b"\x89PNG\r\n\x1a\n"
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_SYNTAXES = [syntax.encode() for syntax in uid.UID_dictionary if uid.UID(syntax).is_transfer_syntax]


def seeds() -> list[bytes]:
    """Valid films and unusual files of pydicom: every supported transfer syntax, PNG, JPEG and TIFF."""
    found = [path.read_bytes() for path in sorted(GOLDEN.glob("*.dcm"))]
    odd = Path(pydicom.data.__file__).parent / "test_files"
    found += [path.read_bytes() for path in sorted(odd.glob("*.dcm"))]
    grey = draw(3, size=96).pixels
    deep = grey.astype(np.uint16) * 200
    found += [_coded(deep, uid.JPEGLSNearLossless, jls_error=2), _coded(deep, uid.JPEG2000, j2k_cr=[4])]
    for image, kinds in (
        (grey, "PNG TIFF JPEG"),
        (np.dstack([grey] * 3), "PNG TIFF JPEG"),
        (deep, "PNG TIFF"),
    ):
        found += [_saved(Image.fromarray(image), kind) for kind in kinds.split()]
    film = Image.fromarray(grey)
    found += [_saved(film, "JPEG", progressive=True), _saved(film.convert("P"), "PNG")]
    found += [
        _saved(film, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")
    ]
    colour = np.dstack([deep] * 3)
    found += [cv2.imencode(ending, colour)[1].tobytes() for ending in (".png", ".tif")]
    return [data for data in found if len(data) <= _LARGEST]


def _coded(pixels: np.ndarray, syntax: uid.UID, **options: object) -> bytes:
    dataset = dcmread(GOLDEN / "ExplicitVRLittleEndian.dcm")
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsStored, dataset.HighBit = 16, 15
    dataset.compress(syntax, pixels, generate_instance_uid=False, **options)
    stream = BytesIO()
    dcmwrite(stream, dataset)
    return stream.getvalue()


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def damaged(data: bytes, other: bytes, chance: Random) -> bytes:
    """`data` with one to eight changes, some with parts of `other`; compressed parts are changed inside."""
    if data.startswith(_PNG) and chance.random() < 0.7:
        return _within_png(data, chance)
    if uid.DeflatedExplicitVRLittleEndian.encode() in data and chance.random() < 0.7:
        return _within_deflated(data, chance)
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        change = chance.choice(_CHANGES)
        change(found, other, chance)
    return bytes(found[:_LARGEST])


def _place(found: bytearray, chance: Random) -> int:
    """A random position; half of the time among the headers."""
    reach = len(found) if chance.random() < 0.5 else min(len(found), 2000)
    return chance.randrange(max(reach, 1))


def _flip(found: bytearray, _: bytes, chance: Random) -> None:
    if found:
        found[_place(found, chance)] ^= 1 << chance.randrange(8)


def _number(found: bytearray, _: bytes, chance: Random) -> None:
    """A number of one, two or four bytes, often an extreme value."""
    width, order = chance.choice((1, 2, 2, 4)), chance.choice(("little", "big"))
    value = chance.choice((chance.choice(_EDGES), chance.getrandbits(32))) % 256**width
    at = _place(found, chance)
    found[at : at + width] = value.to_bytes(width, order)  # type: ignore[arg-type]


def _cut(found: bytearray, _: bytes, chance: Random) -> None:
    at = _place(found, chance)
    del found[
        at : None if chance.random() < 0.3 else at + chance.choice((1, 2, 4, 8, chance.randrange(1, 512)))
    ]


def _copy(found: bytearray, other: bytes, chance: Random) -> None:
    """A piece of this or another input, inserted or written over other bytes."""
    source = chance.choice((bytes(found), other)) or b"\0"
    start = chance.randrange(len(source))
    piece = source[start : start + chance.choice((2, 4, 8, 64, 512))] * chance.choice((1, 1, 1, 2, 50))
    at = _place(found, chance)
    found[at : at + chance.choice((0, len(piece)))] = piece


def _syntax(found: bytearray, _: bytes, chance: Random) -> None:
    """A transfer syntax that does not fit the pixels."""
    if known := re.search(rb"1\.2\.840\.10008\.1\.2[.0-9]*", found):
        start, end = known.span()
        found[start:end] = chance.choice(_SYNTAXES)[: end - start].ljust(end - start, b"\0")


def _marker(found: bytearray, _: bytes, chance: Random) -> None:
    """A byte after a marker of a compressed frame, or after an element that describes the image."""
    places = [
        match.end() for match in re.finditer(rb"\xff[\xc0-\xfe\x4f-\x64]|\x28\0[\0-\x11]\0", found[:4000])
    ]
    if places:
        at = chance.choice(places) + chance.randrange(12)
        found[at : at + 1] = bytes([chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))])


_CHANGES: list[Callable[[bytearray, bytes, Random], None]] = [
    _flip, _flip, _number, _number, _number, _cut, _copy, _syntax, _marker, _marker,
]  # fmt: skip


def _within_png(data: bytes, chance: Random) -> bytes:
    """A PNG damaged in one chunk, with correct length and check sum; pixels are changed before deflating."""
    chunks, at = [], len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], bytearray(data[at + 8 : at + 8 + length])))
        at += 12 + length
    if not chunks:
        return data
    index = chance.randrange(len(chunks))
    kind, body = chunks[index]
    if kind == b"IDAT" and chance.random() < 0.5:
        try:
            body = bytearray(zlib.decompressobj().decompress(bytes(body), _LARGEST))
            _change(body, chance)
            body = bytearray(zlib.compress(bytes(body)))
        except zlib.error:
            _change(body, chance)
    else:
        _change(body, chance)
    chunks[index] = kind, body
    if chance.random() < 0.2:
        chunks.insert(chance.randrange(len(chunks)), chance.choice(chunks))
    return (
        _PNG
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )[:_LARGEST]
    )


def _within_deflated(data: bytes, chance: Random) -> bytes:
    """A deflated DICOM file, damaged before deflating."""
    length = int.from_bytes(data[140:144], "little")  # of the file meta: the value of its first element
    start = 144 + length
    try:
        body = bytearray(zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], _LARGEST))
    except zlib.error:
        return data[: chance.randrange(1, len(data))]
    _change(body, chance)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return data[:start] + deflater.compress(bytes(body)) + deflater.flush()


def _change(body: bytearray, chance: Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 4))):
        chance.choice(_CHANGES)(body, b"", chance)


@dataclass
class Tally:
    """The results of a run."""

    counts: Counter[str] = field(default_factory=Counter)
    worst: float = 0.0  # seconds of one input
    kept: list[Path] = field(default_factory=list)

    def line(self) -> str:
        """The results in one line."""
        names = ("read", "refused", "crashed", "hung", "out of memory", "wrong")
        said = ", ".join(f"{self.counts[name]} {name}" for name in names)
        # The largest among the children that have ended.
        rss = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        return f"{self.counts.total()} inputs: {said}; worst time {self.worst:.2f} s, worst RSS {rss:.0f} MB"

    @property
    def failed(self) -> int:
        """Inputs that were neither read nor refused."""
        return self.counts.total() - self.counts["read"] - self.counts["refused"]


def inputs(chance: Random, corpus: list[bytes]) -> Iterator[bytes]:
    """Every seed unchanged, then damaged inputs from a corpus that may grow meanwhile."""
    yield from tuple(corpus)
    while True:
        yield damaged(chance.choice(corpus), chance.choice(corpus), chance)


def outcome(decoder: Decoder, data: bytes) -> tuple[str, str]:
    """The outcome of one input, and a text that distinguishes it from others with the same outcome."""
    before = decoder.deaths
    try:
        film = decoder.read(data)
    except ReadError as error:
        if decoder.deaths > before:
            return ("hung" if "took more than" in error.reason else "crashed"), error.reason
        return ("out of memory" if "not enough memory" in error.reason else "refused"), error.reason
    sign = " ".join((film.origin.format, *film.notes))
    return ("read" if sound(film) else "wrong"), sign


def sound(film: Radiograph) -> bool:
    """Whether the film keeps the guarantees of `hilum.read`."""
    pixels, steps = film.pixels, film.spacing or ()
    right = pixels.dtype == np.float32 and pixels.ndim == 2 and 0 <= pixels.min() < pixels.max() <= 1
    return bool(right) and all(0 < step < float("inf") for step in steps)


def fuzz(seconds: float, seed: int, keep: Path, *, tell: Callable[[str], None]) -> Tally:
    """Read damaged films for that time; keep the inputs of failures in the folder `keep`."""
    chance, corpus, seen, tally = Random(seed), seeds(), set[str](), Tally()
    start, told = time.monotonic(), 0.0
    with Decoder(memory=MEMORY, seconds=SECONDS) as decoder:
        for data in inputs(chance, corpus):
            began = time.monotonic()
            if began - start > seconds:
                break
            what, sign = outcome(decoder, data)
            took = time.monotonic() - began
            tally.counts[what] += 1
            if decoder.deaths == tally.counts["crashed"] + tally.counts["hung"] and what in (
                "read",
                "refused",
            ):
                tally.worst = max(tally.worst, took)
            if what not in ("read", "refused"):
                keep.mkdir(parents=True, exist_ok=True)
                path = keep / f"{what.replace(' ', '-')}-{hashlib.sha256(data).hexdigest()[:16]}"
                path.write_bytes(data)
                tally.kept.append(path)
                tell(f"{what}: {sign}: {path}")
            new = what + re.sub(r"[\d.]+", "#", sign)
            if new not in seen and len(corpus) < _CORPUS:
                seen.add(new)
                corpus.append(data)
            if began - told > 30:
                told = began
                tell(f"{(began - start) / 60:.1f} min, {len(corpus)} in the corpus: {tally.line()}")
    return tally


def main() -> None:
    """Fuzz for the given minutes; exit code 1 if an input failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/faults"), help="folder for failing inputs")
    given = parser.parse_args()
    tally = fuzz(given.minutes * 60, given.seed, given.keep, tell=lambda line: print(line, flush=True))
    print(f"{given.minutes:g} minutes, seed {given.seed}: {tally.line()}")
    sys.exit(1 if tally.failed else 0)


if __name__ == "__main__":
    main()
