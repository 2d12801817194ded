"""A run's history: a csv with a row an epoch, and the learning curve as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from hilum.reading.files import read_csv
from hilum.store import as_csv, write_whole


def write_history(rows: Sequence[dict[str, float]], folder: Path) -> None:
    """Write ``history.csv``."""
    write_whole(folder / "history.csv", as_csv(list(rows[0]), rows))


def draw_curve(rows: Sequence[dict[str, float]], folder: Path, *, measure: str) -> None:
    """Write ``curve.png``: losses on the left axis, the tuning score on the right."""
    # The object interface needs no display and leaves pyplot's global state alone.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), layout="constrained")
    left = figure.subplots()
    right = left.twinx()
    epochs = [row["epoch"] for row in rows]
    left.plot(epochs, [row["loss"] for row in rows], color="#0072B2", marker=".", label="loss, training")
    left.plot(
        epochs, [row["tune_loss"] for row in rows], color="#56B4E9", marker=".", ls="--", label="loss, tuning"
    )
    right.plot(
        epochs, [row["score"] for row in rows], color="#D55E00", marker=".", label=f"{measure}, tuning"
    )
    left.set(xlabel="epoch", ylabel="loss")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set(ylabel=measure)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120)
    write_whole(folder / "curve.png", picture.getvalue())


def read_history(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's ``history.csv``, one an epoch; raises DataError where it is missing or damaged."""
    return [row for _, row in read_csv(folder / "history.csv", remedy="train the run again")[1]]
