"""Read a file, its bytes or an array as a Radiograph; all pixels enter through here.

The content of a file decides its format, never its name. Every fault of a file ends in a ReadError.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hilum.errors import ReadError, StorageError
from hilum.reading.grey import (
    AGAIN,
    LARGE,
    PIXEL_BUDGET,
    Refused,
    check_size,
    finished,
    graded,
    luminance,
)
from hilum.types import Array, Origin, Radiograph

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
}


def read(
    source: str | Path | bytes | Array | Radiograph, *, pixel_budget: int = PIXEL_BUDGET, name: str = ""
) -> Radiograph:
    """Read one film from a path, a file's bytes or an array; a Radiograph passes through untouched.

    DICOM, PNG, JPEG and TIFF are told apart by content. Arrays are (H, W), or (H, W, 3) in red, green, blue;
    air dark; uint8, uint16, int16, or floating point within [0, 1]. Colour becomes luminance, EXIF rotation
    is applied, an alpha channel is ignored; `notes` says so. `pixel_budget` is the most rows x columns x
    frames, compared with the header before anything is decoded. The origin and errors show `name` instead
    of the path. Several threads may read at the same time.

    Raises ReadError, and nothing else, if the source cannot be read as one radiograph.
    """
    if isinstance(source, Radiograph):
        return source
    name = name or _name(source)
    try:
        with hushed():
            return _read(source, name, pixel_budget)
    except Refused as refusal:
        raise refusal.kind(name, refusal.reason, refusal.remedy) from None
    except MemoryError:
        raise ReadError(name, "not enough memory to decode it", "lower pixel_budget or free memory") from None
    except BaseException as error:  # the panic of a decoder written in Rust is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        # Its message may quote header values, and so the patient: only its type is shown.
        reason = f"truncated, damaged or malformed content ({type(error).__name__})"
        raise ReadError(name, reason, AGAIN) from None


def _name(source: object) -> str:
    if isinstance(source, str | Path):
        return str(source)
    if isinstance(source, np.ndarray):
        return "<array>"
    return f"<{type(source).__name__}>"


def _read(source: object, name: str, pixel_budget: int) -> Radiograph:
    if isinstance(source, np.ndarray):
        return _from_array(source, name, pixel_budget)
    if isinstance(source, str | Path):
        data = _load(Path(source), pixel_budget)
    elif isinstance(source, bytes):
        data = source
    else:
        raise Refused("neither a path nor bytes, an array or a Radiograph", "give one of these")
    if not data:
        raise Refused("empty file", AGAIN)
    sha256 = hashlib.sha256(data).hexdigest()
    kind = _format(data)
    if kind == "DICOM":
        return _dicom_reader()(data, path=name, sha256=sha256, pixel_budget=pixel_budget)
    from hilum.reading.image import read_image

    return read_image(data, kind, path=name, sha256=sha256, pixel_budget=pixel_budget)


def _dicom_reader() -> Callable[..., Radiograph]:
    """`read_dicom`, imported with pydicom and its decoders; if that fails, the film is not at fault.

    python-gdcm imports Python 2's module `dl`, and would take any folder of that name for it.
    """
    first, known = "hilum.reading.dicom" not in sys.modules, sys.modules.get("dl")
    if first:
        sys.modules["dl"] = None  # type: ignore[assignment] # None: there is no such module
    try:
        from hilum.reading.dicom import read_dicom
    except Exception as error:
        reason = f"the decoders of DICOM cannot be loaded ({type(error).__name__})"
        raise Refused(reason, "install Hilum again; the film may be intact") from None
    finally:
        if first:
            sys.modules.pop("dl", None)
            sys.modules |= {"dl": known} if known else {}
    return read_dicom


def _load(path: Path, pixel_budget: int) -> bytes:
    try:
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            os.scandir(path).close()  # raises PermissionError for a folder that `film_paths` could not open
            raise Refused("a folder, not a file", "give a file inside it")
        if not stat.S_ISREG(info.st_mode):  # reading a pipe or a device might never end
            raise Refused("not a regular file", "save the film to a file first")
        if (
            info.st_size > 8 * pixel_budget + 2**26
        ):  # the most pixels that check_size accepts, and a generous header
            raise Refused(
                f"{info.st_size} bytes are more than any film within the pixel budget of {pixel_budget}",
                LARGE,
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise Refused("no such file", "check the path") from None
    except PermissionError:
        raise Refused("permission denied", "let this user read it") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL within the path
        kind = StorageError if isinstance(error, OSError) else ReadError
        reason = f"cannot be opened ({type(error).__name__})"
        raise Refused(reason, "check the path and the disk", kind) from None


def _format(data: bytes) -> str:
    if data[128:132] == b"DICM":  # checked first: the preamble may hold a TIFF header (PS3.10 section 7.1)
        return "DICOM"
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return kind
    if is_bare(data):
        return "DICOM"
    raise Refused("not a DICOM, PNG, JPEG or TIFF file", "convert it to one of these")


def is_bare(data: bytes) -> bool:
    """Whether a file may be DICOM without the preamble, by its first two bytes.

    Such a data set starts with the group number of its first element, in either byte order: an even number
    from 0002 (file meta) to 0028 (image pixel).
    """
    return len(data) > 1 and min(data[:2]) == 0 and max(data[:2]) in range(0x02, 0x2A, 2)


def _from_array(array: Array, name: str, pixel_budget: int) -> Radiograph:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise Refused(f"array of shape {array.shape}", "give (H, W) or (H, W, 3)")
    check_size(array.shape[0], array.shape[1], 1, pixel_budget)
    sha256 = hashlib.sha256(array.tobytes()).hexdigest()
    origin = Origin(path=name, sha256=sha256, format="array")
    notes: list[str] = []
    if array.dtype.kind == "f":
        if np.isnan(array).any():
            raise Refused("NaN among the pixels", "fill in the missing pixels first")
        if array.min() < 0 or array.max() > 1:
            raise Refused("floating point pixels outside [0, 1]", "scale them to [0, 1], air dark")
        grey = luminance(array, notes) if array.ndim == 3 else array
        # A copy, because the caller may change the array later.
        return Radiograph(pixels=finished(grey.astype(np.float32)), origin=origin, notes=tuple(notes))
    native = array.astype(array.dtype.newbyteorder("="))
    if native.dtype not in (np.uint8, np.uint16, np.int16):
        raise Refused(f"array of type {array.dtype}", "give uint8, uint16, int16, or floats within [0, 1]")
    grey = luminance(native, notes) if native.ndim == 3 else native
    return Radiograph(pixels=finished(graded(grey, notes)), origin=origin, notes=tuple(notes))


class _Thread(threading.local):
    reading = False


class _WhileReading(type):
    def __subclasscheck__(cls, category: type) -> bool:
        return _thread.reading


class _AnyWarning(Warning, metaclass=_WhileReading):
    """The parent of every warning category in a thread that is reading, and of none in other threads."""


_thread = _Thread()
_filters = threading.Lock()
_LOGGERS = ("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils")


def _elsewhere(_: logging.LogRecord) -> bool:
    return not _thread.reading


@contextmanager
def hushed() -> Iterator[None]:
    """Suppress decoders' warnings and log messages in this thread: they may quote the patient.

    What matters is in the notes. `warnings.catch_warnings` changes a list that all threads share, so that
    threads would have to read in turn. A filter that looks at its own thread can stay in that list.
    """
    with _filters:
        if not warnings.filters or warnings.filters[0][2] is not _AnyWarning:
            warnings.simplefilter("ignore", _AnyWarning)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_elsewhere)
    before, _thread.reading = _thread.reading, True
    try:
        yield
    finally:
        _thread.reading = before  # a nested call must not end the outer one
