"""Progress of long work, and what is told when it is interrupted."""

from __future__ import annotations

import pytest

from hilum.progress import AGAIN, progress, within


def test_interrupted_work_tells_how_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), progress("x", again=AGAIN):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "interrupted; the same command goes on from what is done\n"
    with pytest.raises(KeyboardInterrupt), progress("x"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""


def test_without_a_terminal_a_line_is_told_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 10.0, 31.0, 31.0, 40.0, 61.5, 61.5])
    monkeypatch.setattr("hilum.progress.time.monotonic", lambda: next(clock))
    with progress("counting") as tick:
        for done in range(1, 5):
            tick(done, 4, "films")
    assert capsys.readouterr().err == "counting: 2 of 4 films\ncounting: 4 of 4 films\n"


def test_a_piece_of_work_is_told_as_a_part_of_the_whole() -> None:
    told: list[tuple[int, int, str]] = []
    inner = within(lambda *what: told.append(what), 2, 5, "third")
    assert inner is not None
    inner(1, 4, "half way")
    assert told == [(2250, 5000, "third: half way")]
    assert within(None, 0, 1, "") is None
