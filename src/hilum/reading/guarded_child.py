"""The process that decodes untrusted films for `guarded`; it may crash or hang without harm.

Started as ``python -P -m hilum.reading.guarded_child BYTES``. Requests and answers are length-prefixed, on
stdin and stdout; nothing is pickled, and nothing is written elsewhere.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from hilum.errors import ReadError
from hilum.reading.guarded import ANSWER, ASK
from hilum.reading.reader import read
from hilum.types import Radiograph

if TYPE_CHECKING:
    from pydicom import Dataset

_PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Decode films until stdin ends. The address space may grow by as many bytes as the argument says."""
    asks = sys.stdin.buffer
    # What a decoder prints to the standard output must not end up in an answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    allowance = int(sys.argv[1])
    _warm()
    start = _address_space()
    _confine(start, allowance)
    while head := asks.read(ASK.size):
        length, size = ASK.unpack(head)
        how = json.loads(asks.read(length))
        # The alarm ends a process that is stuck, even if no parent is left to kill it.
        signal.alarm(how["seconds"] + 2)
        said, parts = _answer(asks.read(size), how["pixel_budget"])
        said["leaving"] = (
            _address_space() > start + allowance // 4
        )  # a decoder's leak would leave later films too little memory
        _send(answers, said, parts)
        signal.alarm(0)
        del parts
        if said["leaving"]:
            return


def _warm() -> None:
    """Import what decoding needs, before memory is counted."""
    import cv2
    import PIL.JpegImagePlugin
    import PIL.PngImagePlugin
    import PIL.TiffImagePlugin

    import hilum.reading.dicom
    import hilum.reading.image

    cv2.setNumThreads(1)
    del hilum, PIL


def _address_space() -> int:
    """Bytes of this process's address space; 0 if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE
    except OSError:
        return 0


def _confine(start: int, allowance: int) -> None:
    import resource

    if start:  # macOS neither reports nor limits the address space; only the alarm works there
        resource.setrlimit(resource.RLIMIT_AS, (start + allowance, start + allowance))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the film and the patient's name
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _answer(data: bytes, pixel_budget: int) -> tuple[dict[str, Any], list[Any]]:
    try:
        film = read(data, pixel_budget=pixel_budget)
    except ReadError as error:
        return {"error": {"reason": error.reason, "remedy": error.remedy}}, []
    meta, header, lost = (b"", b"", False) if film.origin.header is None else _packed(film.origin.header)
    said = _described(film, lost) | {"meta": len(meta), "header": len(header)}
    return said, [meta, header, memoryview(film.pixels.data).cast("B")]


def _described(film: Radiograph, lost: bool) -> dict[str, Any]:
    origin = film.origin
    implicit, little = origin.header.original_encoding if origin.header is not None else (False, True)
    notes = [*film.notes, *(["some header elements are malformed and left out"] if lost else [])]
    return {
        "shape": film.pixels.shape,
        "spacing": film.spacing,
        "view": film.view,
        "notes": notes,
        "sha256": origin.sha256,
        "format": origin.format,
        "dicom": origin.header is not None,
        "implicit": bool(implicit),
        "little": bool(little),
        "modality": origin.modality,
        "body_part": origin.body_part,
        "supine": origin.supine,
        "age": origin.age,
        "row_towards": origin.row_towards,
    }


def _packed(dataset: Dataset) -> tuple[bytes, bytes, bool]:
    """File meta and header as bytes, coded as in the file, and whether elements had to be left out."""
    implicit, little = dataset.original_encoding
    meta, lost_first = _written(dataset.file_meta, False, True)
    header, lost_second = _written(dataset, bool(implicit), bool(little))
    return meta, header, lost_first or lost_second


def _written(dataset: Dataset, implicit: bool, little: bool) -> tuple[bytes, bool]:
    """Write element by element: a malformed one may not be writable, or not readable afterwards."""
    parts, lost = [], False
    for tag in sorted(dataset.keys()):
        try:
            parts.append(_bytes_of(dataset.get_item(tag), _charset(dataset), implicit, little))
        except Exception:  # pydicom raises whatever the conversion of a malformed element raises
            lost = True
    for some in (parts, [part for part in parts if _reads(part, implicit, little)]):
        if _reads(whole := b"".join(some), implicit, little):
            return whole, lost or len(some) < len(parts)
    return b"", True


def _reads(data: bytes, implicit: bool, little: bool) -> bool:
    """Whether the parent, which reads the bytes in the same way, can parse them."""
    from pydicom.filereader import read_dataset

    from hilum.reading.dicom_bounds import sparing

    try:
        read_dataset(sparing(BytesIO(data)), implicit, little)
    except Exception:  # as above
        return False
    return True


def _charset(dataset: Dataset) -> Any:
    try:
        return dataset.get("SpecificCharacterSet")
    except Exception:  # as above
        return None


def _bytes_of(element: Any, charset: Any, implicit: bool, little: bool) -> bytes:
    from pydicom.filebase import DicomFileLike
    from pydicom.filewriter import write_data_element

    buffer = BytesIO()
    file = DicomFileLike(buffer)
    file.is_implicit_VR, file.is_little_endian = implicit, little
    write_data_element(file, element, charset)
    return buffer.getvalue()


def _send(answers: BinaryIO, said: dict[str, Any], parts: list[Any]) -> None:
    text = json.dumps(said).encode()
    for part in (ANSWER.pack(len(text)), text, *parts):
        answers.write(part)
    answers.flush()


if __name__ == "__main__":
    main()
