"""A checkpoint's card as a Markdown page in the format of model hubs; every number comes from a file."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hilum.card import Card
from hilum.errors import ConfigError
from hilum.gate import is_gate
from hilum.reporting.page import template
from hilum.statistics.intervals import with_interval
from hilum.types import DISCLAIMER

_SHOWN = {
    "classify": ("AUROC", "AUROC by patient", "average precision", "Brier skill score", "calibration slope"),
    "segment": ("Dice", "IoU", "HD95, pixels", "surface distance, pixels", "share below Dice 0.90"),
}
_STARTS = {"imagenet": "ImageNet weights", "random": "random weights"}

_SETS = (
    "A probability from the first bound up leaves the label possible, one up to the second its absence. The "
    "share of new patients, with the label or without it, whose set holds the truth lies within the interval."
)

_Figure = dict[str, Any]
_Grid = tuple[str, str, list[str], list[list[str]]]


def page(card: Card, tables: Sequence[Path] = (), *, model: str = "", licence: str = "") -> str:
    """The page of a card; `tables` are figures.csv files of `hilum evaluate`, shown under their names.

    A file called figures.csv is shown under its folder's name. `model` is the name that readers use to load
    the model, by default the card's; `licence` is a hub's short name of a licence, or empty. Raises
    ConfigError for a model that is only pre-trained, for a file that is no table of figures, for two tables
    of one name, and for a malformed name of a licence.
    """
    if not re.fullmatch(r"[a-z0-9.-]*", licence):
        raise ConfigError(f"{licence!r}: no licence's short name; write it as the hub does, like cc-by-4.0")
    if card.task not in _SHOWN:
        raise ConfigError(f"{card.name}: was only pre-trained and has no figures; train it on labels first")
    tested: dict[str, list[_Figure]] = {}
    for path in tables:
        name = _name(path)
        if name in tested:
            raise ConfigError(f"{path}: another table is called {name} too; rename the file or its folder")
        tested[name] = _figures(path, _SHOWN[card.task])
    main = _SHOWN[card.task][0]
    results = {
        name: [one for one in figures if one["measure"] == main and one["value"] is not None]
        for name, figures in tested.items()
    }
    start = str(card.config.get("start", "random"))
    return template("model.md").render(
        card=card,
        disclaimer=DISCLAIMER,
        kind="image-segmentation" if card.task == "segment" else "image-classification",
        main=main,
        licence=licence,
        start=_STARTS.get(start, start),
        model=shlex.quote(model or card.name),
        gate=is_gate(card),
        results={name: figures for name, figures in results.items() if figures},
        tables=[grid for grid in _grids(card, tested) if grid[3]],
    )


def _name(table: Path) -> str:
    """The name under which a table of figures is shown."""
    return table.resolve().parent.name if table.stem == "figures" else table.stem


def _grids(card: Card, tested: Mapping[str, Sequence[_Figure]]) -> Iterator[_Grid]:
    """Title, caption, header and rows of every table."""
    yield (
        "Learned from",
        "",
        ["source", "films", "patients"],
        [[one.name, str(one.films), str(one.patients)] for one in card.sources],
    )
    yield (
        "On tuning films",
        "By these the training was stopped and thresholds were set. With 95 % intervals over patients.",
        ["figure", "value", "films"],
        [[one.name, with_interval(one.value, one.low, one.high), str(one.n)] for one in card.metrics],
    )
    for name, figures in tested.items():
        yield _tested(name, figures)
    data = "; ".join(dict.fromkeys(one.films or card.threshold_data for one in card.thresholds.values()))
    yield (
        "Calls",
        f"Thresholds on the probability at each operating point, from {data}.",
        ["label", *card.points],
        [
            [label, *(f"{at[label].value:.4f}" if label in at else "" for at in card.points.values())]
            for label in card.labels
            if card.points
        ],
    )
    yield (
        "Prediction sets",
        _SETS,
        ["label", "present from", "absent up to", "aim", "with it", "without it"],
        [
            [label, f"{one.present:.4f}", f"{one.absent:.4f}", f"{one.coverage:.0%}"]
            + ["{:.2f} to {:.2f}".format(*bounds) for bounds in one.reached]
            for label, one in card.sets.items()
        ],
    )
    yield "Files", "", ["file", "SHA-256"], [[name, f"`{digest}`"] for name, digest in card.files.items()]


def _figures(path: Path, measures: Sequence[str]) -> list[_Figure]:
    """The rows of a table of figures about all films, not groups; numbers as numbers or None."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                row for row in csv.DictReader(file) if not row["condition"] and row["measure"] in measures
            ]
        return [
            {"subject": row["subject"], "measure": row["measure"], "films": row["films"]}
            | {name: float(row[name]) if row[name] else None for name in ("value", "low", "high")}
            for row in rows
        ]
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"{path}: no table of figures ({error}); give a figures.csv of evaluate") from None


def _tested(name: str, figures: Sequence[_Figure]) -> _Grid:
    """One row per subject, one column per measure."""
    head = list(dict.fromkeys(one["measure"] for one in figures))
    cells = {(one["subject"], one["measure"]): one for one in figures}
    films = {one["subject"]: one["films"] for one in figures}
    rows = []
    for subject in films:
        shown = [cells.get((subject, measure)) for measure in head]
        line = [with_interval(one["value"], one["low"], one["high"]) if one else "" for one in shown]
        rows.append([subject, films[subject], *line])
    return f"On {name}", "With 95 % intervals over patients.", ["", "films", *head], rows
