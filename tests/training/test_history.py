"""The run's log for people."""

from __future__ import annotations

import csv
import struct
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from hilum.training.history import draw_curve, write_history

ROWS = [
    {"epoch": 1, "loss": 0.7012345678901234, "tune_loss": 0.69, "score": 0.5, "rate": 1e-3, "seconds": 1.5},
    {"epoch": 2, "loss": 0.5, "tune_loss": 0.6, "score": float("nan"), "rate": 5e-4, "seconds": 1.4},
]


@pytest.mark.parametrize("rows", [ROWS[:1], ROWS])
def test_the_csv_holds_every_epoch_exactly(rows: list[dict[str, float]], tmp_path: Path) -> None:
    write_history(rows, tmp_path)
    with (tmp_path / "history.csv").open(newline="", encoding="utf-8") as file:
        read = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert repr(read) == repr([{key: float(value) for key, value in row.items()} for row in rows])


def test_the_curve_is_a_picture_and_writing_again_replaces_both(tmp_path: Path) -> None:
    for rows, measure in ((ROWS, "mean AUROC"), (ROWS[:1], "mean Dice")):
        write_history(rows, tmp_path)
        draw_curve(rows, tmp_path, measure=measure)
    data = (tmp_path / "curve.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (840, 480)
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 2


def test_the_ticks_of_the_curve_are_whole_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: ticks.extend(figure.axes[0].get_xticks()))
    draw_curve(ROWS, tmp_path, measure="mean AUROC")
    assert {1.0, 2.0} <= set(ticks)
    assert all(tick == round(tick) for tick in ticks)
