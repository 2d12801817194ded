"""NIfTI-1 for a single grey plane, the format in which 3D Slicer sends films and expects outlines.

Source: the NIfTI-1 header, nifti1.h of the NIfTI Data Format Working Group.
"""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np

from hilum.errors import ReadError
from hilum.types import Array

START = 4096  # bytes that hold the header, gzipped or not
_HEADER = 348
_OFFSET = 352  # where written pixels begin: after the header and four bytes for "no extension"
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_REMEDY = "send NIfTI-1 (.nii.gz) with one grey plane, or DICOM, PNG, JPEG or TIFF"


def is_nifti(data: bytes) -> bool:
    """Whether a file is NIfTI-1, gzipped or not, by its first `START` bytes."""
    start = data
    if data[:2] == b"\x1f\x8b":
        try:
            start = zlib.decompressobj(31).decompress(data[:START], _HEADER)
        except zlib.error:
            return False
    return start[344:348] == b"n+1\0"


def read_nifti(data: bytes, pixel_budget: int) -> tuple[Array, bytes]:
    """One plane (H, W) uint8, uint16 or int16, and the header with its position in space.

    Raises ReadError for anything else. Never unpacks more than the budget allows.
    """
    try:
        return _plane(_unpacked(data, pixel_budget), pixel_budget)
    except (struct.error, zlib.error, ValueError, OverflowError) as error:
        raise _refused(f"truncated or damaged NIfTI ({type(error).__name__})") from None


def write_nifti(mask: Array, header: bytes) -> bytes:
    """A label map (H, W) uint8 at the position given by a header, gzipped."""
    order = _order(header)
    out = bytearray(header)
    struct.pack_into(f"{order}hh", out, 70, 2, 8)  # datatype uint8, bits
    struct.pack_into(f"{order}fff", out, 108, _OFFSET, 1, 0)  # vox_offset, scl_slope, scl_inter
    struct.pack_into(f"{order}ff", out, 124, 0, 0)  # cal_max, cal_min
    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(bytes(out) + b"\0\0\0\0" + mask.tobytes()) + packer.flush()


def header_of(shape: tuple[int, int], spacing: tuple[float, float] | None) -> bytes:
    """The header for a film without one: rows run down, columns to the right."""
    out = bytearray(_HEADER)
    rows, columns = spacing or (1.0, 1.0)
    struct.pack_into("<i", out, 0, _HEADER)
    struct.pack_into("<8h", out, 40, 2, shape[1], shape[0], 1, 1, 1, 1, 1)
    struct.pack_into("<8f", out, 76, 1, columns, rows, 1, 0, 0, 0, 0)
    out[123] = 2  # millimetres
    # Slicer places pictures without a position so that columns run to the patient's left and rows to the
    # back; the axes of NIfTI point the other way.
    struct.pack_into("<hh", out, 252, 0, 2)
    struct.pack_into("<12f", out, 280, -columns, 0, 0, 0, 0, -rows, 0, 0, 0, 0, 1, 0)
    out[344:348] = b"n+1\0"
    return bytes(out)


def _unpacked(data: bytes, pixel_budget: int) -> bytes:
    """The whole file, unpacked up to the size that its header declares."""
    if data[:2] != b"\x1f\x8b":
        return data
    unpacker = zlib.decompressobj(31)
    start = unpacker.decompress(data, _OFFSET + 2**16)
    width, height = struct.unpack_from(f"{_order(start)}2h", start, 42)
    declared = 8 * max(0, min(width * height, pixel_budget)) + 2**16
    return start + unpacker.decompress(unpacker.unconsumed_tail, declared)


def _order(header: bytes) -> str:
    if struct.unpack_from("<i", header)[0] == _HEADER:
        return "<"
    if struct.unpack_from(">i", header)[0] == _HEADER:
        return ">"
    raise _refused("not a NIfTI-1 header")


def _plane(plain: bytes, pixel_budget: int) -> tuple[Array, bytes]:
    order = _order(plain)
    count, width, height, *others = struct.unpack_from(f"{order}8h", plain, 40)
    if not 2 <= count <= 7 or width < 1 or height < 1 or any(side > 1 for side in others[: count - 2]):
        raise _refused("not a single plane")
    if width * height > pixel_budget:
        raise _refused(f"{width} x {height} pixels are more than the limit of {pixel_budget}")
    kind = _TYPES.get(struct.unpack_from(f"{order}h", plain, 70)[0])
    offset = struct.unpack_from(f"{order}f", plain, 108)[0]
    if kind is None or not _OFFSET <= offset <= _OFFSET + 2**16:
        raise _refused("the pixel type is not grey, or the pixel offset is invalid")
    grey = np.frombuffer(plain, f"{order}{kind}", width * height, int(offset)).reshape(height, width)
    return _narrowed(grey), plain[:_HEADER]


def _narrowed(grey: Array) -> Array:
    """Pixels in a type that `hilum.read` takes; wider types must hold grey levels of 16 bits."""
    if grey.dtype.kind == "f" and not np.isfinite(grey).all():
        raise _refused("pixels that are not finite")
    low, high = float(grey.min()), float(grey.max())
    for name in ("u1", "u2", "i2"):
        limits = np.iinfo(name)
        if limits.min <= math.floor(low) and math.ceil(high) <= limits.max:
            return np.rint(grey).astype(name)
    raise _refused("grey levels of more than 16 bits")


def _refused(reason: str) -> ReadError:
    return ReadError("film.nii", reason, _REMEDY)
