"""Record the progress of long work, one line of JSON an entry; a kill loses at most the last entry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hilum.store import write_whole


def entries_of(path: Path) -> tuple[Any, list[Any]]:
    """A journal's head, which says what its entries belong to, and the entries; (None, []) without a journal.

    A line that a kill has cut off does not count.
    """
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    head, *entries = [json.loads(line) for line in lines] or [None]
    return head, entries


@contextmanager
def appending(path: Path, head: Any, entries: Sequence[Any]) -> Iterator[Callable[[Any], None]]:
    """Write the journal again, and yield the function that adds an entry, which survives a kill."""
    write_whole(path, "".join(f"{json.dumps(one)}\n" for one in (head, *entries)))
    with path.open("a", encoding="utf-8") as file:

        def add(entry: Any) -> None:
            file.write(f"{json.dumps(entry)}\n")
            file.flush()

        yield add
