"""A journal survives a kill at any byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.data.journal import appending, entries_of

HEAD, ENTRIES = {"model": "one"}, [["a", 1], ["ä", {"why": "line\nbreak"}]]


def test_a_journal_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert entries_of(tmp_path / "journal") == (None, [])


def test_a_kill_at_any_byte_loses_the_last_entry_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with appending(path, HEAD, ENTRIES[:1]) as add:
        assert entries_of(path) == (HEAD, ENTRIES[:1])
        add(ENTRIES[1])
        assert entries_of(path) == (HEAD, ENTRIES)  # before it is closed
    whole = path.read_bytes()
    second = whole.index(b"\n", whole.index(b"\n") + 1) + 1
    for length in range(second, len(whole)):
        path.write_bytes(whole[:length])
        assert entries_of(path) == (HEAD, ENTRIES[:1])
    with appending(path, *entries_of(path)) as add:
        add(ENTRIES[1])
    assert path.read_bytes() == whole


def test_another_head_begins_anew_and_a_failure_keeps_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with pytest.raises(ZeroDivisionError), appending(path, HEAD, []) as add:
        add(ENTRIES[0])
        add(1 / 0)
    assert entries_of(path) == (HEAD, ENTRIES[:1])
    with appending(path, {"model": "two"}, []):
        pass
    assert entries_of(path) == ({"model": "two"}, [])
