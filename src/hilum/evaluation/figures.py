"""Figures: numbers with their interval over patients, and the files that hold them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from hilum.statistics.intervals import (
    Interval,
    around,
    bootstrap,
    exact,
    mirrored,
    resamples,
    weighed,
    with_interval,
)
from hilum.statistics.scores import Statistic
from hilum.store import as_csv, write_whole
from hilum.types import Array

WITHIN = "pairs of one "
"""Prefix of the condition of within-group figures; the name of the grouping follows."""


_FEW = "too few: "

FEWEST = 30
"""Films of a group below which the group gets no figure."""

FEWEST_OF_A_CLASS = 10
"""Films of a group with a label, or without it, below which the label gets no figure there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number with its 95 % interval over patients."""

    subject: str  # a label or a structure
    measure: str
    condition: str = ""  # how the films were changed or chosen; "": not at all
    films: int
    positives: int | None  # films with the label
    value: float
    low: float
    high: float
    remark: str = ""  # a caveat for the reader

    @classmethod
    def of(
        cls, interval: Interval, *, films: int, positives: int | None, remark: str = "", **about: Any
    ) -> Figure:
        """A figure of an interval, or without one, and with the reason as remark, of `too_few` films."""
        few = "" if positives is None else too_few(films, positives)
        return cls(
            value=interval.value,
            low=math.nan if few else interval.low,
            high=math.nan if few else interval.high,
            films=films,
            positives=positives,
            remark="; ".join(filter(None, (few, remark))),
            **about,
        )

    @property
    def told(self) -> str:
        """The number with its interval, or with the remark that the films are too few for one, as text."""
        few = " (too few films)" if self.remark.startswith(_FEW) else ""
        return with_interval(self.value, self.low, self.high) + few


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All figures of one checkpoint on one set of films, and the tables that they come from."""

    figures: tuple[Figure, ...]
    confusion: dict[str, dict[str, int]] = field(default_factory=dict)  # true label -> called -> films
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # file stem -> rows, film by film


def too_few(films: int, positives: int) -> str:
    """Why there are too few films for a figure of a group, or for an interval; "" if there are enough."""
    if films < FEWEST:
        return f"{_FEW}{films} films, fewer than {FEWEST}"
    rarer, which = min((positives, "positive"), (films - positives, "negative"))
    return f"{_FEW}{rarer} {which}, fewer than {FEWEST_OF_A_CLASS}" if rarer < FEWEST_OF_A_CLASS else ""


def joined(one: Evaluation, other: Evaluation) -> Evaluation:
    """The first with the second's figures and tables after its own."""
    return replace(one, figures=(*one.figures, *other.figures), tables={**one.tables, **other.tables})


def write(evaluation: Evaluation, about: dict[str, object], out: Path) -> None:
    """Write ``evaluation.json`` (`about`, and all figures), ``figures.csv`` and the tables.

    Each file is written whole or not at all, ``evaluation.json`` last: if it exists, so do the others. Tables
    that only a previous evaluation in this folder had are removed.
    """
    out.mkdir(parents=True, exist_ok=True)
    tables = {stem: table for stem, table in evaluation.tables.items() if table}
    document = {**about, "tables": list(tables), "confusion": evaluation.confusion}
    if stale := _tables_of(out / "evaluation.json") - set(tables):
        (out / "evaluation.json").unlink()
        for stem in stale:
            (out / f"{stem}.csv").unlink(missing_ok=True)
    for stem, table in tables.items():
        write_whole(out / f"{stem}.csv", as_csv(list(table[0]), map(_without_nan, table)))
    write_figures(evaluation.figures, document, out / "evaluation.json", out / "figures.csv")


def _tables_of(document: Path) -> set[str]:
    """The tables that an evaluation.json names."""
    try:
        named = json.loads(document.read_text(encoding="utf-8"))["tables"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {stem for stem in named if isinstance(stem, str) and stem == Path(stem).name}


def write_figures(figures: Sequence[Figure], about: dict[str, object], document: Path, table: Path) -> None:
    """Write the figures as csv, and as JSON after `about`, which says what was measured.

    Unknown and infinite numbers are left empty; the remark names the infinite ones. The JSON comes last: if
    it exists, all is written.
    """
    rows = [_without_nan(_remarked(asdict(figure))) for figure in figures]
    write_whole(table, as_csv([field.name for field in fields(Figure)], rows))
    write_whole(document, json.dumps({**about, "figures": rows}, indent=2) + "\n")


def _remarked(row: dict[str, Any]) -> dict[str, Any]:
    """A figure's row whose remark names the numbers that are infinite, such as a ratio to no false alarm."""
    infinite = [name for name in ("value", "low", "high") if math.isinf(row[name])]
    said = f"infinite: {', '.join(infinite)}" if infinite else ""
    return row | {"remark": "; ".join(filter(None, (row["remark"], said)))}


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """The row with None for NaN and infinity, which JSON does not have."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


@dataclass(frozen=True, slots=True)
class Bench:
    """What figures need for their intervals: the films' patients, the seed and the number of resamples."""

    patients: Array  # (N,) names
    seed: int
    repeats: int
    _weights: dict[bytes, Array] = field(
        default_factory=dict, repr=False
    )  # resamples of the last set of films

    def figure(
        self,
        subject: str,
        measure: str,
        score: Callable[..., Statistic],
        *columns: Array,
        films: Array,
        positives: int | None = None,
        condition: str = "",
        remark: str = "",
        reflected: bool = False,
        among: Array | None = None,
    ) -> Figure:
        """A score of `hilum.statistics.scores` over the chosen films (N,) bool of each column (N,).

        With `reflected`, the interval is `mirrored`: for scores that resampling biases upwards, such as the
        calibration error. With `among` (N,) bool, the score is a share of those of the chosen films, and its
        interval `exact` if it is none or all of them.
        """
        value, drawn = weighed(score(*(column[films] for column in columns)), self.weights(films))
        interval = around(value, drawn)
        if reflected:
            interval = mirrored(interval)
        if among is not None:
            interval = exact(interval, len(np.unique(self.patients[films & among])))
        return Figure.of(
            interval,
            subject=subject,
            measure=measure,
            condition=condition,
            films=int(films.sum()),
            positives=positives,
            remark=remark,
        )

    def weights(self, films: Array) -> Array:
        """How often each of the chosen films (N,) bool counts in each resample: (repeats, films chosen)."""
        key = films.tobytes()
        if key not in self._weights:
            rng = np.random.default_rng(self.seed)
            drawn = resamples(self.patients[films], rng=rng, repeats=self.repeats)
            # Only the last set is kept: many sets of many films would not fit into memory.
            self._weights.clear()
            self._weights[key] = drawn
        return self._weights[key]

    def drawn(
        self,
        subject: str,
        measure: str,
        condition: str,
        statistic: Callable[..., float],
        *columns: Array,
        films: Array,
        positives: int | None = None,
    ) -> Figure:
        """A statistic over rows: columns (R,), and `films` (R,), the index of each row's film."""
        interval = bootstrap(
            statistic,
            *columns,
            groups=self.patients[films],
            rng=np.random.default_rng(self.seed),
            repeats=self.repeats,
        )
        return Figure.of(
            interval,
            subject=subject,
            measure=measure,
            condition=condition,
            films=len(np.unique(films)),
            positives=positives,
        )
