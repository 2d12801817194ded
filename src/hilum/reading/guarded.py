"""Read films that may be hostile: a separate process decodes them, with limits on memory and time."""

from __future__ import annotations

import json
import os
import queue
import select
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hilum.errors import ConfigError, ReadError
from hilum.reading.grey import AGAIN, PIXEL_BUDGET
from hilum.types import Array, Origin, Radiograph

if TYPE_CHECKING:
    from pydicom import Dataset

COMMAND = (sys.executable, "-P", "-m", "hilum.reading.guarded_child")

ASK = struct.Struct(">IQ")  # bytes of the JSON that says how to decode, and of the film that follows it
ANSWER = struct.Struct(">I")  # bytes of the JSON, which says the sizes of what follows it

_TEXT = 2**20  # bytes of the child's JSON, at most
_HEADER = 2**25  # bytes of a header without its pixels, at most
_CHUNK = 2**20
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "HOME", "TMPDIR")
_STARTING = 60.0  # seconds that a child may take to start on a busy machine


class Decoder:
    """A child process that reads one film at a time. It starts when needed, and again after it died.

    `memory` is the most bytes that decoding may take, `seconds` the most time, `pixel_budget` as in
    `hilum.read`. `command` starts the child; `memory` is added as its last argument. Only one thread may use
    it at a time. macOS has no limit on memory, so there only the time is limited. Raises ConfigError on
    Windows.
    """

    def __init__(
        self,
        *,
        memory: int = 2**31,
        seconds: int = 30,
        pixel_budget: int = PIXEL_BUDGET,
        command: Sequence[str] = COMMAND,
    ) -> None:
        if sys.platform == "win32":
            raise ConfigError("reading untrusted films needs Linux or macOS; run Hilum in a Linux container")
        self._command = (*command, str(memory))
        self._seconds, self._pixel_budget = seconds, pixel_budget
        self._child: subprocess.Popen[bytes] | None = None
        self.deaths = 0  # children that crashed, hung or gave an invalid answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, data: bytes, name: str = "<bytes>") -> Radiograph:
        """Read one film from a file's bytes, as `hilum.read` does; its origin and errors show `name`.

        Raises ReadError, also if the child crashes, or takes too much memory or time.
        """
        child, fresh = self._running()
        # A child that starts needs time for its imports, which does not count for the film.
        until = time.monotonic() + self._seconds + (_STARTING if fresh else 0)
        try:
            how = json.dumps({"seconds": self._seconds, "pixel_budget": self._pixel_budget}).encode()
            _send(child, until, ASK.pack(len(how), len(data)), how, data)
            said = json.loads(_receive(child, until, _size(child, until)))
            found = _found(child, until, said, name, self._pixel_budget)
            leaving = bool(said["leaving"])
        except TimeoutError:
            reason, remedy = f"decoding took more than {self._seconds} s", "export the film uncompressed"
        except (EOFError, OSError):
            reason, remedy = self._end(child), AGAIN
        except Exception as error:  # a hostile film may control the child, which then sends anything
            reason = f"its decoder gave an invalid answer ({type(error).__name__})"
            remedy = AGAIN
        except BaseException:  # interrupted: the next film must not get the answer that is still to come
            self.close()
            raise
        else:
            if leaving:
                self.close()
            if isinstance(found, ReadError):
                raise found
            return found
        self.deaths += 1
        self.close()
        raise ReadError(name, reason, remedy)

    def close(self) -> None:
        """End the child; the next film starts another."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def _running(self) -> tuple[subprocess.Popen[bytes], bool]:
        if self._child is not None and self._child.poll() is None:
            return self._child, False
        self.close()
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        child = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders quote the content that they fail on
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the parent alone, which finishes its work
            env=environment | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        for pipe in (child.stdin, child.stdout):
            os.set_blocking(pipe.fileno(), False)  # type: ignore[union-attr]
            _widen(pipe.fileno())  # type: ignore[union-attr]
        self._child = child
        return child, True

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> str:
        try:
            code = child.wait(1)
        except subprocess.TimeoutExpired:
            return "its decoder stopped answering"
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"its decoder crashed ({how})"


class Decoders:
    """A pool of Decoders for any number of threads; the arguments are those of Decoder."""

    def __init__(self, count: int, **settings: Any) -> None:
        self._all = [Decoder(**settings) for _ in range(count)]
        # The one that was used last comes first: its child runs already.
        self._free: queue.LifoQueue[Decoder] = queue.LifoQueue()
        for decoder in self._all:
            self._free.put(decoder)

    def read(self, data: bytes, name: str = "<bytes>") -> Radiograph:
        """As `Decoder.read`; waits while all of them are busy."""
        decoder = self._free.get()
        try:
            return decoder.read(data, name)
        finally:
            self._free.put(decoder)

    @property
    def deaths(self) -> int:
        """Children that crashed, hung or gave an invalid answer."""
        return sum(decoder.deaths for decoder in self._all)

    def close(self) -> None:
        """End all children; none may be reading."""
        for decoder in self._all:
            decoder.close()


def _size(child: subprocess.Popen[bytes], until: float) -> int:
    (size,) = ANSWER.unpack(_receive(child, until, ANSWER.size))
    return _within(size, _TEXT)


def _within(size: Any, most: int) -> int:
    if not isinstance(size, int) or not 0 <= size <= most:
        raise ValueError("size out of range")
    return size


def _send(child: subprocess.Popen[bytes], until: float, *parts: bytes) -> None:
    pipe = child.stdin.fileno()  # type: ignore[union-attr]
    for part in parts:
        left = memoryview(part)
        while left:
            _wait(until, write=pipe)
            left = left[os.write(pipe, left[:_CHUNK]) :]


def _receive(child: subprocess.Popen[bytes], until: float, size: int) -> bytearray:
    buffer = bytearray(size)
    _fill(child, until, memoryview(buffer))
    return buffer


def _fill(child: subprocess.Popen[bytes], until: float, left: memoryview) -> None:
    pipe = child.stdout.fileno()  # type: ignore[union-attr]
    while left:
        _wait(until, read=pipe)
        got = os.readv(pipe, [left[:_CHUNK]])
        if not got:
            raise EOFError
        left = left[got:]


def _wait(until: float, *, read: int | None = None, write: int | None = None) -> None:
    ready = select.poll()  # select.select takes no descriptor above 1023; a server may have more
    if read is not None:
        ready.register(read, select.POLLIN)
    if write is not None:
        ready.register(write, select.POLLOUT)
    if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
        raise TimeoutError


def _widen(pipe: int) -> None:
    """Let a pipe hold a megabyte if the system allows it: the processes then switch less often."""
    import fcntl

    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _CHUNK)
    except (AttributeError, OSError):
        return


def _found(
    child: subprocess.Popen[bytes], until: float, said: dict[str, Any], name: str, pixel_budget: int
) -> Radiograph | ReadError:
    if "error" in said:
        return ReadError(name, str(said["error"]["reason"]), str(said["error"]["remedy"]))
    meta = _receive(child, until, _within(said["meta"], _HEADER))
    header = _receive(child, until, _within(said["header"], _HEADER))
    height, width = (_within(side, pixel_budget) for side in said["shape"])
    _within(height * width, pixel_budget)
    pixels: Array = np.empty((height, width), np.float32)
    _fill(child, until, memoryview(pixels.data).cast("B"))
    spacing, age = said["spacing"], said["age"]
    return Radiograph(
        pixels=pixels,
        spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        view=None if said["view"] is None else str(said["view"]),
        origin=Origin(
            path=name,
            sha256=str(said["sha256"]),
            format=str(said["format"]),
            header=_header(meta, header, said) if said["dicom"] else None,
            modality=str(said["modality"]),
            body_part=str(said["body_part"]),
            supine=bool(said["supine"]),
            age=None if age is None else float(age),
            row_towards=str(said["row_towards"])[:1],
        ),
        notes=tuple(str(note) for note in said["notes"]),
    )


def _header(meta: bytearray, header: bytearray, said: dict[str, Any]) -> Dataset:
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset

    from hilum.reading.dicom_bounds import sparing
    from hilum.reading.reader import hushed

    try:
        with hushed():
            dataset = read_dataset(sparing(BytesIO(header)), bool(said["implicit"]), bool(said["little"]))
            dataset.file_meta = FileMetaDataset(read_dataset(sparing(BytesIO(meta)), False, True))
    except (EOFError, OSError) as error:  # caused by the header, not by the pipe
        raise ValueError(type(error).__name__) from None
    return dataset
