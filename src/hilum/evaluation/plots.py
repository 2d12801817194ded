"""Plots for the pages of studies and evaluations, each an SVG drawing."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from hilum.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which also colour-blind people can tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run's figure with its interval."""

    name: str
    kind: str = ""  # runs of one kind share a colour
    cost: float = 0.0  # GFLOP a film
    value: float
    low: float
    high: float


def pareto(points: Sequence[Point], measure: str) -> str:
    """Quality against cost; a line joins the runs that no cheaper run beats."""
    from matplotlib.ticker import LogLocator, NullLocator

    figure = _figure(9, 5.5)
    axes = figure.subplots()
    kinds = list(dict.fromkeys(point.kind for point in points))
    for kind, colour in zip(kinds, _cycle(len(kinds)), strict=True):
        own = [point for point in points if point.kind == kind]
        reach = [[p.value - p.low for p in own], [p.high - p.value for p in own]]
        axes.errorbar(
            [p.cost for p in own],
            [p.value for p in own],
            yerr=reach,
            fmt="o",
            color=colour,
            ecolor=colour + "50",
            label=f"start: {kind}",
        )
    best, front = -math.inf, []
    for point in sorted(points, key=lambda p: (p.cost, -p.value)):
        if point.value > best:
            best = point.value
            front.append(point)
    axes.plot([p.cost for p in front], [p.value for p in front], color="#888888", lw=1, ls=":", zorder=0)
    axes.set(xscale="log", xlabel="GFLOP a film", ylabel=measure)
    axes.margins(x=0.12)  # for names
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")  # plain text, not mathtext: the page's fonts can show it
    axes.xaxis.set_minor_locator(NullLocator())
    if points:
        axes.legend(frameon=False)
    _name(figure, axes, points)
    return _svg(figure)


def _name(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Put each point's name to its right; lower if another name is there, with a line if much lower."""
    size = 8.0
    figure.draw_without_rendering()  # the axes' final place
    taken: list[tuple[float, float, float]] = []  # left, right and height of a name, in points
    for point in sorted(points, key=lambda p: -p.value):
        x, y = axes.transData.transform((point.cost, point.value)) * 72 / figure.dpi
        left, right, height = x + 5, x + 5 + 0.55 * size * len(point.name), y + 3
        while any(left < end and start < right and abs(height - at) < size + 1 for start, end, at in taken):
            height -= 1
        taken.append((left, right, height))
        axes.annotate(
            point.name,
            (point.cost, point.value),
            (5, height - y),
            textcoords="offset points",
            fontsize=size,
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "#888888"} if height < y - size else None,
        )


def comparison(points: Sequence[Point]) -> str:
    """Differences from a baseline, best first; filled if the point's kind is not empty."""
    ordered = sorted(points, key=lambda p: p.value)
    figure = _figure(9, 0.8 + 0.3 * len(points))
    axes = figure.subplots()
    axes.axvline(0, color="#888888", lw=1)
    for i, point in enumerate(ordered):
        axes.plot([point.low, point.high], [i, i], color=_COLOURS[0], lw=1.5)
        face = _COLOURS[0] if point.kind else "white"
        axes.plot(point.value, i, "o", color=_COLOURS[0], markerfacecolor=face)
    axes.set_yticks(range(len(ordered)), [point.name for point in ordered])
    axes.set(xlabel="difference")
    return _svg(figure)


def curves(histories: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """For each run the training loss, the tuning loss and the tuning score, on the same scales."""
    figure, grid = _panels(len(histories), 4, 2.9, 2.0, shared=True)
    scores = [float(row["score"]) for history in histories.values() for row in history]
    told = [score for score in scores if math.isfinite(score)]  # a tuning part of one class has none
    for axes, (name, history) in zip(grid, histories.items(), strict=True):
        epochs = [int(row["epoch"]) for row in history]
        for loss, style in (("loss", "-"), ("tune_loss", "--")):
            axes.plot(epochs, [float(row[loss]) for row in history], color=_COLOURS[0], lw=1, ls=style)
        right = axes.twinx()
        right.plot(epochs, [float(row["score"]) for row in history], ".", color=_COLOURS[1], ms=4)
        if told:
            right.set_ylim(min(told) - 0.01, max(told) + 0.01)
        axes.set_title(name, fontsize=8)
        for side in (axes, right):
            side.tick_params(labelsize=7)
    figure.supxlabel("epoch", fontsize=9)
    return _svg(figure)


def confusions(tables: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str:
    """For each run, the share of the films of a true label (row) called each label (column)."""
    figure, grid = _panels(len(tables), 4, 3.3, 3.1, more=0.6)
    for axes, (name, table) in zip(grid, tables.items(), strict=True):
        counts = np.array([[row[label] for label in table] for row in table.values()], float)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(*shares.shape):
            axes.text(
                j,
                i,
                f"{100 * shares[i, j]:.0f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if shares[i, j] > 0.5 else "black",
            )
        names = ["\n".join(wrap(label, 16)) for label in table]
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set_title(name, fontsize=8)
    return _svg(figure)


def reliability(curves: Mapping[str, Sequence[tuple[float, float, int]]]) -> str:
    """For each label, mean predicted and observed frequency in bins of probability, one dot a bin."""
    figure, grid = _panels(len(curves), 3, 2.6, 2.7)
    for axes, (label, bins) in zip(grid, curves.items(), strict=True):
        edge = 1.05 * max((max(said, seen) for said, seen, _ in bins), default=1) or 1
        axes.plot([0, edge], [0, edge], color="#888888", lw=1, ls=":")
        axes.plot([said for said, _, _ in bins], [seen for _, seen, _ in bins], "o-", color=_COLOURS[0], ms=4)
        axes.set(xlim=(0, edge), ylim=(0, edge))
        axes.set_title(label, fontsize=9)
        axes.tick_params(labelsize=7)
    figure.supxlabel("predicted probability", fontsize=9)
    figure.supylabel("observed share", fontsize=9)
    return _svg(figure)


def receiver(curves: Mapping[str, tuple[Array, Array]]) -> str:
    """Each label's ROC curve: false-positive rates (first) and sensitivities (second)."""
    figure = _figure(5.4, 4.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#888888", lw=1, ls=":")
    for (label, (alarms, hits)), colour in zip(curves.items(), _cycle(len(curves)), strict=True):
        axes.plot(alarms, hits, color=colour, lw=1.5, label=label)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def decisions(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """For each label the net benefit of acting by the model, with its interval, and of acting on all."""
    figure, grid = _panels(len(curves), 3, 2.6, 2.7)
    for axes, (label, rows) in zip(grid, curves.items(), strict=True):
        column = {name: [row[name] for row in rows] for name in rows[0] if name != "label"}
        x, own = column["probability"], column["net benefit"]
        axes.axhline(0, color="#888888", lw=1, ls=":")
        axes.plot(x, column["acting on all"], color="#888888", lw=1)
        axes.fill_between(x, column["low"], column["high"], color=_COLOURS[0], alpha=0.2, lw=0)
        axes.plot(x, own, color=_COLOURS[0], lw=1.5)
        top = max(*own, column["acting on all"][0], 0.001)
        axes.set(ylim=(-0.25 * top, 1.1 * top), xscale="log")
        axes.set_xticks([0.01, 0.03, 0.1, 0.3], ["0.01", "0.03", "0.1", "0.3"])
        axes.set_title(label, fontsize=9)
        axes.tick_params(labelsize=7)
    figure.supxlabel("probability from which to act", fontsize=9)
    figure.supylabel("net benefit", fontsize=9)
    return _svg(figure)


def _panels(
    count: int, most: int, width: float, height: float, *, more: float = 0.0, shared: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, at most `most` in a row; `width` and `height` of a panel in inches.

    `more` is added to the height of the figure. With `shared`, all panels have the same axes.
    """
    columns = min(most, count)
    rows = math.ceil(count / columns)
    figure = _figure(width * columns, height * rows + more)
    grid = list(figure.subplots(rows, columns, sharex=shared, sharey=shared, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]


def _cycle(count: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]


def _figure(width: float, height: float) -> Figure:
    # The object interface needs no display and leaves pyplot's global state alone.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure) -> str:
    from matplotlib import rc_context
    from matplotlib.text import Text

    text = io.StringIO()
    for written in figure.findobj(Text):
        written.set_parse_math(False)  # a label is not a formula
    with rc_context({"svg.hashsalt": "hilum"}):  # else the ids differ between drawings of the same plot
        figure.savefig(text, format="svg", metadata={"Date": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]
