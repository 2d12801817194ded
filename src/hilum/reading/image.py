"""PNG, JPEG and TIFF -> Radiograph."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from hilum.reading.codestream import check_scans
from hilum.reading.grey import AGAIN, Refused, check_size, finished, graded, luminance
from hilum.types import Array, Origin, Radiograph

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile
    from PIL.TiffImagePlugin import TiffImageFile

_ORIENTATION, _BITS, _PHOTOMETRIC = 274, 258, 262  # TIFF 6.0; the first is a tag of EXIF too
_STORED = ((273, 279), (324, 325))  # offsets and byte counts, of strips and of tiles
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_SAMPLES, _PLANAR, _SAMPLE_FORMAT = 277, 284, 339
WHOLE = ("Hilum levels", "whole")
"""Text of a 16-bit PNG that Hilum wrote: its values, 0 to 65,535, are final and must not be stretched."""


# How the stored pixels are turned upright, by the value of the orientation tag.
_UPRIGHT: dict[int, Callable[[Array], Array]] = {
    2: np.fliplr,
    3: lambda grey: np.rot90(grey, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda grey: np.rot90(grey, -1),
    7: lambda grey: np.rot90(grey, 2).T,
    8: np.rot90,
}


def read_image(data: bytes, kind: str, *, path: str, sha256: str, pixel_budget: int) -> Radiograph:
    """Read the bytes of one PNG, JPEG or TIFF file; `kind` says which.

    Raises Refused, or whatever the decoders raise on damaged content.
    """
    # The class of each plugin: Image.open would try all of them, and apply another pixel budget.
    from PIL import JpegImagePlugin, PngImagePlugin, TiffImagePlugin

    notes: list[str] = []
    stream = BytesIO(data)
    whole = False
    if kind == "PNG":
        png = PngImagePlugin.PngImageFile(stream)
        whole = png.info.get(WHOLE[0]) == WHOLE[1]
        check_size(png.height, png.width, png.n_frames, pixel_budget)
        grey = _grey(png, data[24], data, notes)  # IHDR: width, height, bit depth
    elif kind == "JPEG":
        jpeg = JpegImagePlugin.JpegImageFile(stream)
        check_size(jpeg.height, jpeg.width, 1, pixel_budget)
        check_scans(data)
        grey = _grey(jpeg, 8, data, notes)
    else:
        tiff = TiffImagePlugin.TiffImageFile(stream)
        check_size(tiff.height, tiff.width, 1, pixel_budget)
        _check_tiff(tiff, len(data))
        grey = _grey(tiff, max(tiff.tag_v2.get(_BITS, (1,))), data, notes)
        if tiff.tag_v2.get(_PHOTOMETRIC, 0) == 0:
            notes.append("WhiteIsZero inverted")
            if grey.itemsize == 2:  # Pillow itself inverts films of up to 8 bits
                grey = ~grey
    pixels = finished(_levels(grey, notes) if whole and grey.dtype == np.uint16 else graded(grey, notes))
    return Radiograph(pixels=pixels, origin=Origin(path=path, sha256=sha256, format=kind), notes=tuple(notes))


def _levels(grey: Array, notes: list[str]) -> Array:
    notes.append("grey levels: 16 bits divided by 65535, as Hilum wrote them")
    return np.divide(grey, np.float32(65535), dtype=np.float32)


def _check_tiff(tiff: TiffImageFile, length: int) -> None:
    """Refuse several pages, pixels beyond the end of the file, huge tiles, and samples decoded wrongly."""
    if tiff.is_animated:
        raise Refused("several pages, expected 1 frame", "export a single page")
    tags = tiff.tag_v2
    for offsets, counts in _STORED:
        ends = (at + size for at, size in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False))
        if max(ends, default=0) > length:
            raise Refused("truncated: pixels lie beyond the end of the file", AGAIN)
    if tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_LENGTH, 0) > tiff.width * tiff.height + 2**24:
        raise Refused("tiles far larger than the image itself", AGAIN)
    bits = max(tags.get(_BITS, (1,)))
    if bits == 16 and tags.get(_SAMPLES, 1) > 1 and tags.get(_PLANAR) == 2:  # OpenCV mixes the planes up
        raise Refused("16-bit colours in separate planes", "convert it to grey")
    if bits == 8 and 2 in tags.get(_SAMPLE_FORMAT, ()):  # Pillow takes them for unsigned
        raise Refused("signed samples of 8 bits", "convert it to unsigned samples")


def _grey(image: ImageFile, bits: int, data: bytes, notes: list[str]) -> Array:
    """Decode to an upright (H, W) array: uint8, uint16 or int16."""
    if bits > 16:
        raise Refused(f"{bits} bits for each sample", "convert it to 8 or 16 bits")
    turn = _orientation(image, notes)
    if image.has_transparency_data:
        notes.append("alpha channel ignored")
    mode = image.mode
    if bits == 16 and not mode.startswith("I"):
        grey: Array = _colour16(image, data, notes)
    elif mode.startswith("I"):
        grey = np.asarray(image).astype(np.int16 if mode == "I" else np.uint16)
    elif mode in ("1", "L", "LA"):
        grey = np.asarray(image.convert("L"))
    else:
        notes.append("colour turned to grey")
        grey = np.asarray(image.convert("RGB").convert("L"))
    if turn in _UPRIGHT and image.format != "TIFF":  # Pillow itself turns TIFF
        return _UPRIGHT[turn](grey)
    return grey


def _colour16(image: ImageFile, data: bytes, notes: list[str]) -> Array:
    """Let OpenCV decode colour or alpha of 16 bits, of which Pillow keeps only 8."""
    import cv2

    if image.format == "PNG":
        # OpenCV fills missing data with zeros; this checks every chunk.
        type(image)(BytesIO(data)).verify()
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16 or array.shape[:2] != (image.height, image.width):
        raise Refused(f"16-bit {image.format} of mode {image.mode} cannot be decoded", "convert it to grey")
    if image.mode == "LA":
        return np.asarray(array[..., 0])
    return luminance(array[..., 2::-1], notes)  # OpenCV stores blue first


def _orientation(image: ImageFile, notes: list[str]) -> int:
    try:
        turn = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF is often damaged, and the pixels do not need it
        notes.append("EXIF data unreadable; rotation unknown, none applied")
        return 1
    if turn in _UPRIGHT:
        notes.append(f"turned upright: orientation {turn}")
    return turn
