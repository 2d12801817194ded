"""Runs work in a child that is killed (SIGKILL) at a given change to a file; for scripts without threads."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

NEVER = 10**6  # a step that is never reached
_PATIENCE = 60  # seconds


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that is killed at that step; False if it ended before."""
    child = os.fork()
    if child == 0:
        signal.alarm(_PATIENCE)
        try:
            _doomed(step, work)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
    return status != 0


def _doomed(step: int, work: Callable[[], object]) -> None:
    """Die before a file is opened for writing or renamed, before a folder is made, or after half a write."""
    steps, real = 0, Path.write_bytes

    def count() -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and "r" not in arguments[1]
        if writes or event in ("os.rename", "os.mkdir"):
            count()

    def half(path: Path, data: bytes) -> int:
        real(path, data[: len(data) // 2])
        count()
        return real(path, data)

    Path.write_bytes = half  # type: ignore[method-assign,assignment]
    sys.addaudithook(watch)
    work()
