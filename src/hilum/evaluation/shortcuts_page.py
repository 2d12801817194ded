"""The results of `hilum.evaluation.shortcuts` as files: JSON, a table, and a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hilum.card import Preparation
from hilum.evaluation.blank import BLANKS
from hilum.evaluation.blanked import pictures
from hilum.evaluation.conclusions import ALONE, AUROC, CHANGE, PROBE
from hilum.evaluation.figures import Figure, write_figures
from hilum.evaluation.grids import Grid, cell, links_grid
from hilum.evaluation.shortcuts import Audit
from hilum.reporting.page import template, tile
from hilum.statistics.intervals import with_interval
from hilum.store import write_whole
from hilum.types import Sample

PAGE = "shortcuts.html"

_SHOWN = 2  # films on the page


def write(audit: Audit, about: Mapping[str, Any], out: Path, *, shown: Preparation | None = None) -> Path:
    """Write ``shortcuts.json``, ``shortcuts.csv`` and ``shortcuts.html``; returns the page.

    With `shown`, the model's preparation, the page shows two films as the model sees them: share it only
    where you may share the films.
    """
    out.mkdir(parents=True, exist_ok=True)
    about = {
        **about,
        "conclusions": audit.conclusions,
        "missing": audit.missing,
        "without_chest": audit.without_chest,
        "unreadable": audit.failures,
    }
    write_figures(audit.figures, about, out / "shortcuts.json", out / "shortcuts.csv")
    page = template(PAGE).render(
        about={"part": "", **about},
        films=len(audit.samples),
        patients=len({sample.patient for sample in audit.samples}),
        tables=[grid for grid in _tables(audit.figures) if grid[3]],
        pictures=[],
        tiles=_tiles(audit.samples[:_SHOWN], shown) if shown else [],
        provenance=about,
    )
    path = out / PAGE
    write_whole(path, page)
    return path


def _tables(figures: Sequence[Figure]) -> list[Grid]:
    """The score under each condition, the probes, and each group's association with the labels."""
    cells = {(one.subject, one.measure, one.condition): one for one in figures}
    probes = [one for one in figures if one.measure == PROBE]
    return [
        _survival([one for one in figures if one.measure == AUROC and not one.condition], cells),
        (
            "What the features predict",
            "AUROC of a ridge regression on the model's features, judged on other patients.",
            ["", "films", "in the group", "AUROC"],
            [[one.subject, str(one.films), str(one.positives), cell(one)] for one in probes],
        ),
        *(links_grid(group, cells) for group in dict.fromkeys(_groups(figures))),
    ]


def _groups(figures: Sequence[Figure]) -> list[str]:
    return [one.condition for one in figures if one.measure == ALONE]


def _survival(plain: Sequence[Figure], cells: Mapping[tuple[str, str, str], Figure]) -> Grid:
    """Subjects down, conditions across, each with its change."""
    rows = []
    for one in plain:
        row = [one.subject, "" if one.positives is None else str(one.positives), cell(one)]
        for condition in BLANKS:
            change = cells.get((one.subject, CHANGE, condition))
            row += [cell(cells.get((one.subject, AUROC, condition))), _signed(change)]
        rows.append(row)
    head = [part for condition in BLANKS for part in (condition, "change")]
    caption = "AUROC. Blanked parts have the mean grey level of the rest; changes are paired by film."
    return "Score with parts blanked", caption, ["", "positive", "as it is", *head], rows


def _signed(figure: Figure | None) -> str:
    return with_interval(figure.value, figure.low, figure.high, "+.3f") if figure else ""


def _tiles(samples: Sequence[Sample], preparation: Preparation) -> list[tuple[str, str]]:
    return [
        (tile(np.rint(film * 255).astype(np.uint8)), f"{sample.id}: {condition or 'as it is'}")
        for sample in samples
        for condition, film in pictures(sample, preparation).items()
    ]
