"""Write the results of an audit: a table of duplicates, JSON, and one self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hilum.evaluation.conclusions import ALONE, PROBE
from hilum.evaluation.figures import Figure, write_figures
from hilum.evaluation.grids import Grid, cell, links_grid
from hilum.leakage.audit import PICTURE, Audit, Film, Pair, Shared
from hilum.leakage.traces import PLAIN
from hilum.leakage.words import counts, sentences
from hilum.reporting.page import template, tile
from hilum.store import as_csv, write_whole
from hilum.types import Array

PAGE = "audit.html"
TABLE = "duplicates.csv"

_COLUMNS = (
    "group", "kind", "likeness", "turn", "same patient",
    "film", "data set", "patient", "part", "other film", "other data set", "other patient", "other part",
)  # fmt: skip
_LISTED = 200  # pairs on the page
_SHOWN = 12  # pairs whose films the page shows, if allowed


def write(
    found: Audit,
    about: Mapping[str, Any],
    out: Path,
    *,
    figures: Sequence[Figure] = (),
    looks: Array | None = None,
) -> Path:
    """Write ``duplicates.csv``, ``audit.json`` and ``audit.html``; returns the page.

    With figures of `traces`, ``traces.csv`` is written too. With looks (N, S, S), the page shows the films of
    a few pairs; share it no further than those films.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = list(_rows(found))
    write_whole(out / TABLE, as_csv(_COLUMNS, rows))
    about = {
        **about,
        "counts": counts(found),
        "conclusions": sentences(found),
        "data_sets": [asdict(shared) for shared in found.data_sets],
        "parts": [asdict(shared) for shared in found.parts],
        "named_alike": found.named_alike,
        "of_one_picture": found.of_one_picture,
        "unreadable": found.failures,
    }
    if figures:
        write_figures(figures, about, out / "audit.json", out / "traces.csv")
    else:
        write_whole(out / "audit.json", json.dumps(about, indent=2) + "\n")
    page = template(PAGE).render(
        about=about,
        tables=[grid for grid in _tables(found, figures, rows) if grid[3]],
        pictures=[],
        tiles=[] if looks is None else list(_tiles(found, looks)),
        provenance=about,
    )
    write_whole(out / PAGE, page)
    return out / PAGE


def _rows(found: Audit) -> Iterator[dict[str, str]]:
    """The pairs, those of different patients first."""
    group = {place: number for number, group in enumerate(found.groups, 1) for place in group}

    def same_patient(pair: Pair) -> bool:
        return found.films[pair.one].sample.patient == found.films[pair.other].sample.patient

    for pair in sorted(found.pairs, key=same_patient):
        yield {
            "group": str(group[pair.one]),
            "kind": pair.kind,
            "likeness": f"{pair.likeness:.4f}",
            "turn": pair.turn,
            "same patient": "yes" if same_patient(pair) else "no",
            **_film("", found.films[pair.one]),
            **_film("other ", found.films[pair.other]),
        }


def _film(which: str, film: Film) -> dict[str, str]:
    about = {
        "film": film.sample.id,
        "data set": film.data_set,
        "patient": film.sample.patient,
        "part": film.part,
    }
    return {f"{which}{name}": value for name, value in about.items()}


def _tables(found: Audit, figures: Sequence[Figure], rows: Sequence[Mapping[str, str]]) -> list[Grid]:
    listed = [name for name in _COLUMNS if name not in ("patient", "other patient")]
    caption = f"The first {_LISTED} of {len(rows)}; {TABLE} has all." if len(rows) > _LISTED else ""
    return [
        ("Counts", "", ["", ""], [[name, f"{count:,}"] for name, count in counts(found).items()]),
        _shared("Between data sets", found.data_sets),
        _shared("Between parts of the split", found.parts),
        *_traces(figures),
        ("Pairs", caption, listed, [[row[name] for name in listed] for row in rows[:_LISTED]]),
        ("Unreadable", "", [""], [[why] for why in found.failures]),
    ]


def _shared(title: str, shared: Sequence[Shared]) -> Grid:
    rows = [
        [one.one, one.other, f"{one.pictures:,}", f"{one.patients:,}", f"{one.studies:,}"] for one in shared
    ]
    return title, "What both sides share.", ["", "and", "pictures", "patients", "studies"], rows


def _traces(figures: Sequence[Figure]) -> Iterator[Grid]:
    """How well films show their data set, and how labels depend on it."""
    cells = {(one.subject, one.measure, one.condition): one for one in figures}
    sets = [one.subject for one in figures if one.measure == PROBE and not one.condition]
    rows = [
        [
            name,
            str(cells[name, PROBE, ""].positives),
            cell(cells[name, PROBE, ""]),
            cell(cells.get((name, PROBE, PLAIN))),
        ]
        for name in sets
    ]
    caption = "AUROC of a ridge regression on patients it was not trained on; all films at 64 pixels."
    yield "How well a film shows its data set", caption, ["", "films", "whole picture", PLAIN], rows
    for group in dict.fromkeys(one.condition for one in figures if one.measure == ALONE):
        yield links_grid(group, cells)
    within = list(dict.fromkeys(c for _, measure, c in cells if measure == PROBE and c.startswith("within ")))
    labels = list(dict.fromkeys(one.subject for one in figures if one.condition in within))
    yield (
        f"Labels predicted from {PLAIN}",
        "Without the chest. A data set with far higher values than another was collected by label.",
        ["", *within],
        [[label, *(cell(cells.get((label, PROBE, name))) for name in within)] for label in labels],
    )


def _tiles(found: Audit, looks: Array) -> Iterator[tuple[str, str]]:
    """The films of the least alike pairs, which are the doubtful ones."""
    doubtful = sorted((p for p in found.pairs if p.kind == PICTURE), key=lambda p: p.likeness)[:_SHOWN]
    for pair in doubtful:
        for place in (pair.one, pair.other):
            film = found.films[place]
            yield tile(looks[place]), f"{film.sample.id}, {film.data_set}: {pair.likeness:.3f} {pair.turn}"
