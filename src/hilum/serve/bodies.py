"""Films from request bodies, written to disk as they arrive, within limits of size, number and time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from hilum.serve.faults import ServiceError
from hilum.serve.films import Films
from hilum.serve.patient import plain
from hilum.serve.settings import Limits

RAW = {
    "application/dicom": "film.dcm",
    "application/octet-stream": "film",
    "image/png": "film.png",
    "image/jpeg": "film.jpg",
    "image/tiff": "film.tif",
}
"""Content type of a film sent without a form -> its file name."""

_PATIENCE = 30.0  # longest silence in seconds, and the start during which no rate is required
_BUFFER = 2**20  # bytes collected before they are written
_FIELD = 2**16  # bytes of all form fields that are not films; they are ignored
_FIELDS = 16
_HEADS = 2**13  # bytes of the headers of one part


@dataclass(slots=True)
class Upload:
    """One uploaded film."""

    file: str  # the client's file name, without folders
    path: Path


@asynccontextmanager
async def received(
    request: Request, films: Films, limits: Limits, *, most: int
) -> AsyncIterator[list[Upload]]:
    """The films of a request, at most `most`; files that were not moved away are deleted at the end.

    Raises ServiceError if the body exceeds a limit or is neither a film nor a form.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        total = most * (limits.bytes + _HEADS) + _FIELD + _FIELDS * _HEADS
    elif kind in RAW:
        total = limits.bytes
    else:
        raise ServiceError(
            415,
            "content-type",
            "the content type is neither that of a film nor multipart/form-data",
            f"send multipart/form-data, or one film as {', '.join(RAW)}",
        )
    uploads: list[Upload] = []
    try:
        if kind in RAW:
            await _raw(request, films, uploads, RAW[kind], limits)
        else:
            await _parts(request, films, uploads, limits, most, total)
        if not uploads:
            raise ServiceError(
                422, "no-film", "the request contains no film", "send a film in a part named files"
            )
        yield uploads
    finally:
        await run_in_threadpool(_delete, uploads)


async def body(request: Request, most: int, rate: int) -> bytes:
    """The whole body, in memory. Raises ServiceError if it is too large or too slow."""
    whole = bytearray()
    async for chunk in _chunks(request, most, rate):
        whole += chunk
    return bytes(whole)


def too_large(most: int, what: str = "film") -> ServiceError:
    """The answer if something has too many bytes."""
    return ServiceError(
        413,
        "too-large",
        f"the {what} has more than {most} bytes",
        "send less, or raise the limit with --max-bytes",
        {"Connection": "close"},
    )


async def _chunks(request: Request, total: int, rate: int) -> AsyncIterator[bytes]:
    """The body in chunks. Raises ServiceError if it is too large or arrives too slowly."""
    said = request.headers.get("content-length", "0")
    if said.isdecimal() and int(said) > total:
        raise too_large(total, "body")
    started, came = time.monotonic(), 0
    stream = aiter(request.stream())
    while True:
        patience = _PATIENCE + came / rate - (time.monotonic() - started)
        try:
            async with asyncio.timeout(min(_PATIENCE, patience)):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except ClientDisconnect:
            raise ServiceError(
                400, "gone", "the connection ended before the body did", "send it again"
            ) from None
        except TimeoutError:
            raise ServiceError(
                408, "slow", "the body arrives too slowly", "use a faster connection", {"Connection": "close"}
            ) from None
        came += len(chunk)
        if came > total:
            raise too_large(total, "body")
        yield chunk


class _Writer:
    """Writes one film to disk."""

    def __init__(self, upload: Upload, most: int) -> None:
        self._file: BinaryIO = upload.path.open("wb", buffering=0)
        self._buffer, self._size, self._most = bytearray(), 0, most

    async def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._most:
            raise too_large(self._most)
        self._buffer += data
        if len(self._buffer) >= _BUFFER:
            await self.flush()

    async def flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        await run_in_threadpool(self._written, data)

    def _written(self, data: bytes) -> None:
        left = memoryview(data)
        while left:  # a full disk takes part of the bytes, and raises at the next write
            left = left[self._file.write(left) :]

    def close(self) -> None:
        self._file.close()


async def _raw(request: Request, films: Films, uploads: list[Upload], name: str, limits: Limits) -> None:
    upload = Upload(name, films.draft())
    uploads.append(upload)
    writer = _Writer(upload, limits.bytes)
    try:
        async for chunk in _chunks(request, limits.bytes, limits.rate):
            await writer.write(chunk)
        await writer.flush()
    finally:
        writer.close()


async def _parts(
    request: Request, films: Films, uploads: list[Upload], limits: Limits, most: int, total: int
) -> None:
    """Parse a form while it arrives."""
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:  # RFC 2046 section 5.1.1
        raise _malformed()
    events = _Events()
    parser = MultipartParser(boundary, events.callbacks())  # type: ignore[arg-type]
    taker = _Taker(films, uploads, limits, most)
    try:
        async for chunk in _chunks(request, total, limits.rate):
            try:
                parser.write(chunk)
            except FormParserError:
                raise _malformed() from None
            for kind, value in events.drained():
                await taker.take(kind, value)
        if not events.ended:
            raise _malformed()
    finally:
        taker.close()


class _Taker:
    """Writes the films of a form and ignores its other fields."""

    def __init__(self, films: Films, uploads: list[Upload], limits: Limits, most: int) -> None:
        self._films, self._uploads, self._limits, self._most = films, uploads, limits, most
        self._writer: _Writer | None = None
        self._fields, self._skipped = 0, 0  # number of other fields, and their bytes

    async def take(self, kind: str, value: Any) -> None:
        if kind == "part":
            self._begin(value)
        elif kind == "data" and self._writer is not None:
            await self._writer.write(value)
        elif kind == "data":
            self._skipped += len(value)
            if self._skipped > _FIELD:
                raise too_large(_FIELD, "form beside its films")
        elif self._writer is not None:
            await self._writer.flush()
            self.close()

    def _begin(self, disposition: bytes) -> None:
        options = parse_options_header(disposition)[1]
        if b"filename" not in options:
            self._fields += 1
            if self._fields > _FIELDS:
                raise _malformed()
            return
        if len(self._uploads) >= self._most:
            raise ServiceError(
                413, "too-many", f"more than {self._most} films in one request", "send fewer, or send a job"
            )
        upload = Upload(_base(options[b"filename"]), self._films.draft())
        self._uploads.append(upload)
        self._writer = _Writer(upload, self._limits.bytes)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class _Events:
    """Collects the callbacks of the form parser, in order."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, Any]] = []
        self._name, self._value, self._disposition = bytearray(), bytearray(), b""
        self.ended = False

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": lambda data, start, end: self._head(self._name, data[start:end]),
            "on_header_value": lambda data, start, end: self._head(self._value, data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": lambda: self._waiting.append(("part", self._disposition)),
            "on_part_data": lambda data, start, end: self._waiting.append(("data", data[start:end])),
            "on_part_end": lambda: self._waiting.append(("end", None)),
            "on_end": self._end,
        }

    def drained(self) -> list[tuple[str, Any]]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def _part_begin(self) -> None:
        self._name.clear()
        self._value.clear()
        self._disposition = b""

    def _head(self, buffer: bytearray, data: bytes) -> None:
        buffer += data
        if len(buffer) > _HEADS:
            raise FormParserError

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        self.ended = True


def _malformed() -> ServiceError:
    return ServiceError(
        400, "malformed", "the form is malformed or ends too early", "send it again", {"Connection": "close"}
    )


def _base(name: bytes) -> str:
    """A file name without folders (of any system) and without special characters."""
    text = name.decode("utf-8", "replace").replace("\\", "/").rsplit("/", 1)[-1]
    return plain(text, 255) or "film"


def _delete(uploads: list[Upload]) -> None:
    for upload in uploads:
        upload.path.unlink(missing_ok=True)
