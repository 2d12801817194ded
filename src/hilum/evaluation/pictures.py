"""Pictures of a segmenter's evaluation: the worst films, and the errors of the cardiothoracic ratio."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hilum.data.cache import Cache
from hilum.evaluation.figures import Evaluation
from hilum.evaluation.outlines import CLEAN, changed
from hilum.reporting.picture import COLOURS
from hilum.runtime import Runtime
from hilum.segment import segment
from hilum.store import write_whole
from hilum.types import STRUCTURES, Array

_WORST = 20
_TILE = 320  # side of a film in the sheet, pixels
_ACROSS = 5


def write_pictures(runtime: Runtime, cache: Cache, evaluation: Evaluation, out: Path, *, seed: int) -> None:
    """Write ``worst.png``, ``worst-stress.png`` and, with matplotlib, ``ratio.png`` (Bland-Altman).

    The sheets show the films of lowest Dice, worst first: reference outlines in white, the model's in colour.
    They show films, so share them only where you may share those.
    """
    rows = evaluation.tables.get("outlines", [])
    sheets = {
        "worst": [row for row in rows if row["condition"] == CLEAN],
        "worst-stress": [row for row in rows if row["condition"] != CLEAN],
    }
    for name, chosen in sheets.items():
        if tiles := [_tile(runtime, cache, row, seed) for row in _lowest(chosen)]:
            sheet = cv2.cvtColor(_sheet(tiles), cv2.COLOR_RGB2BGR)
            write_whole(out / f"{name}.png", cv2.imencode(".png", sheet)[1].tobytes())
    known = [
        row
        for row in evaluation.tables.get("ratios", [])
        if row["condition"] == CLEAN and row["true ratio"] is not None and row["ratio"] is not None
    ]
    if len(known) > 1 and find_spec("matplotlib"):
        _bland_altman(known, out / "ratio.png")


def _lowest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The worst structure of each film, the worst films first; of the lungs, only both together count."""
    worst: dict[tuple[int, str], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: float(row["Dice"])):
        if row["structure"] in ("lungs", "heart"):
            worst.setdefault((row["index"], row["condition"]), row)
    return list(worst.values())[:_WORST]


def _tile(runtime: Runtime, cache: Cache, row: dict[str, Any], seed: int) -> Array:
    film, mask = changed(cache, row["index"], row["condition"], seed)
    assert mask is not None  # noqa: S101 - a row of outlines comes from a mask
    found = segment(runtime, film).mask
    grey = cv2.resize((film * 255).astype(np.uint8), (_TILE, _TILE), interpolation=cv2.INTER_LINEAR)
    image = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    _draw(image, mask > 0 if row["structure"] == "lungs" and mask.max() > len(STRUCTURES) else mask, None)
    _draw(image, found, COLOURS)
    text = (
        f"{row['structure']} {row['Dice']:.3f}, quality {row['quality']:.2f}{' !' if row['flagged'] else ''}"
    )
    for line, words in enumerate((text, f"{row['film']} {row['condition']}")):
        place = (6, 14 + 15 * line)
        # A shadow of the same weight: OpenCV spaces heavier letters wider, so they would not align.
        for colour, (x, y) in (((0, 0, 0), (place[0] + 1, place[1] + 1)), ((255, 255, 255), place)):
            cv2.putText(image, words, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
    return np.asarray(image)


def _draw(image: Array, mask: Array, colours: dict[str, tuple[int, int, int]] | None) -> None:
    large = cv2.resize(mask.astype(np.uint8), (_TILE, _TILE), interpolation=cv2.INTER_NEAREST)
    for value in np.unique(large[large > 0]):
        colour = colours[STRUCTURES[value - 1]] if colours else (255, 255, 255)
        lines, _ = cv2.findContours((large == value).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.polylines(image, lines, True, colour, 1, cv2.LINE_AA)


def _sheet(tiles: list[Array]) -> Array:
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % _ACROSS)
    rows = [np.hstack(tiles[start : start + _ACROSS]) for start in range(0, len(tiles), _ACROSS)]
    return np.vstack(rows)


def _bland_altman(rows: list[dict[str, Any]], path: Path) -> None:
    """Difference against mean of the measured and the true ratio, with bias and limits of agreement."""
    # The object interface needs no display and leaves pyplot's global state alone.
    from matplotlib.figure import Figure

    found, true = (np.array([row[name] for row in rows], float) for name in ("ratio", "true ratio"))
    error, middle = found - true, (found + true) / 2
    bias, spread = error.mean(), 1.96 * error.std(ddof=1)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(middle, error, s=18, color="#0072B2", alpha=0.7, edgecolors="none")
    for height, label, style in (
        (bias, f"mean {bias:+.4f}", "-"),
        (bias + spread, f"+1.96 sd {bias + spread:+.4f}", "--"),
        (bias - spread, f"-1.96 sd {bias - spread:+.4f}", "--"),
    ):
        axes.axhline(height, color="#D55E00", ls=style, lw=1, label=label)
    axes.set(
        xlabel="mean of found and known cardiothoracic ratio",
        ylabel="found minus known",
        title=f"{len(rows)} films, mean absolute error {np.abs(error).mean():.4f}",
    )
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120)
    write_whole(path, picture.getvalue())
