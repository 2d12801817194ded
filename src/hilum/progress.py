"""Progress of long work on stderr: a bar with the time left on a terminal, elsewhere a line every 30 s."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hilum.types import Tick

AGAIN = "the same command goes on from what is done"

_EVERY = 30  # seconds between two lines


def within(tick: Tick | None, done: int, total: int, what: str) -> Tick | None:
    """A tick for one of `total` pieces of work, `done` of which are finished; it reports on all of them."""
    if tick is None:
        return None

    def inner(step: int, steps: int, status: str) -> None:
        tick(done * 1000 + 1000 * step // max(steps, 1), total * 1000, f"{what}: {status}")

    return inner


@contextmanager
def progress(what: str, *, again: str = "") -> Iterator[Tick]:
    """Show the progress of the work in the block; yields the function that reports it.

    `again` is printed when the work is interrupted: how to resume it.
    """
    try:
        with _display(what) as tick:
            yield tick
    except KeyboardInterrupt:
        if again:
            print(f"interrupted; {again}", file=sys.stderr)
        raise


@contextmanager
def _display(what: str) -> Iterator[Tick]:
    if not sys.stderr.isatty():
        yield _lines(what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as display:
        bar = display.add_task(what, total=None, text="")

        def tick(done: int, total: int, text: str) -> None:
            display.update(bar, completed=done, total=total, text=text)

        yield tick


def _lines(what: str) -> Tick:
    said = time.monotonic()

    def tick(done: int, total: int, text: str) -> None:
        nonlocal said
        if time.monotonic() - said > _EVERY:
            said = time.monotonic()
            print(f"{what}: {done} of {total} {text}".rstrip(), file=sys.stderr, flush=True)

    return tick
