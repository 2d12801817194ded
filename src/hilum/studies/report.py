"""A study's report: a csv of all figures, a table in Markdown, and an HTML page with plots."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from hilum.card import read_card
from hilum.data import short
from hilum.evaluation.figures import Figure
from hilum.evaluation.plots import Point, comparison, confusions, curves, pareto
from hilum.evaluation.six_way import MEASURES, six_way
from hilum.reporting.page import template
from hilum.reporting.report import provenance
from hilum.statistics.intervals import with_interval
from hilum.store import as_csv, write_whole
from hilum.studies.cost import cost
from hilum.studies.differences import Difference, Row, difference_table, differences_of, verdicts_of
from hilum.studies.scores import evaluation_of
from hilum.studies.study import Entry, Study
from hilum.training.history import read_history
from hilum.types import now


def write_report(study: Study, done: Sequence[Entry], *, whole: bool = True) -> Path:
    """Write NAME.csv (every figure), NAME.md (the table of `columns`, and the differences), NAME.html.

    Returns the path of NAME.md. `done` is the result of `study.finished`. Differences and page take longest;
    they are only written if `whole`.
    """
    figures = [row for entry in _first_folds(done) for row in _figures(study, entry)]
    columns = ["run", "source", "seed", "test", *(field.name for field in fields(Figure))]
    write_whole(study.out / f"{study.name}.csv", as_csv(columns, figures))
    rows = _rows(study, done)
    differences = differences_of(study, rows) if whole else []
    head, cells = _table(study, rows, figures)
    path = study.out / f"{study.name}.md"
    lines = _markdown(head, cells)
    if differences:
        lines += ["", *_markdown(*difference_table(differences, study.baseline))]
    write_whole(path, "\n".join(lines) + "\n")
    if whole:
        page = _page(study, done, rows, figures, (head, cells), differences)
        write_whole(study.out / f"{study.name}.html", page)
    return path


def line(study: Study, entry: Entry) -> str:
    """One finished run's figures in the study's columns, as a line of text."""
    found = _figures(study, entry)
    said = [
        f"{' '.join(column)}, {test} {spread(_under(found, test, column))}"
        for test in study.tests
        for column in study.columns
    ]
    return f"{entry.group.name}: {'; '.join(said)}"


def absent(study: Study, done: Sequence[Entry]) -> list[str]:
    """Messages about columns for which no run has a figure."""
    figures = [row for entry in _first_folds(done) for row in _figures(study, entry)]
    faults = []
    for test, column in product(study.tests, study.columns):
        if not _under(figures, test, column):
            own = [row for row in figures if row["test"] == test]
            there = {f"{row['subject']}, {row['measure']}" for row in own if not row["condition"]}
            near = get_close_matches(", ".join(column[:2]), sorted(there), 3, 0.4)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            faults.append(f"columns: {', '.join(column)}: no such figure in {test}{hint}")
    return faults


def _under(figures: Sequence[dict[str, Any]], test: str, column: Sequence[str]) -> list[dict[str, Any]]:
    """The figures of a test in one of the study's columns."""
    subject, measure, *condition = column
    wanted = {"test": test, "subject": subject, "measure": measure, "condition": "".join(condition)}
    return [one for one in figures if wanted.items() <= one.items()]


def spread(rows: Sequence[Mapping[str, Any]]) -> str:
    """A single seed's figure with its interval, or mean and standard deviation of several seeds."""
    known = [row for row in rows if row["value"] is not None]
    if not known:
        return ""
    if len(known) == 1:
        return with_interval(known[0]["value"], known[0]["low"], known[0]["high"], of_value=".4f")
    values = [row["value"] for row in known]
    return f"{statistics.mean(values):.4f} (sd {statistics.stdev(values):.4f} of {len(values)} seeds)"


def _first_folds(done: Sequence[Entry]) -> list[Entry]:
    """The first entry of each folder that holds a run's figures."""
    return list({entry.group: entry for entry in reversed(done)}.values())[::-1]


def _figures(study: Study, entry: Entry) -> list[dict[str, Any]]:
    about = {"run": entry.name, "source": entry.source, "seed": entry.config.seed}
    said = {name: evaluation_of(entry.group / f"test-{name}") for name in study.tests}
    return [
        {**about, "test": name, **figure} for name, one in said.items() if one for figure in one["figures"]
    ]


def _rows(study: Study, done: Sequence[Entry]) -> list[Row]:
    found = []
    for name, source in dict.fromkeys((entry.name, entry.source) for entry in done):
        own = [entry for entry in done if (entry.name, entry.source) == (name, source)]
        groups = tuple(dict.fromkeys(entry.group for entry in own))
        seconds = sum(float(row["seconds"]) for entry in own for row in read_history(entry.config.out))
        found.append(
            Row(
                name=name,
                source=source,
                title=name if len({entry.source for entry in done}) == 1 else f"{name}, {source}",
                start=Path(own[0].config.start.removesuffix("/checkpoint")).name,
                seeds=sum(any(evaluation_of(one / f"test-{test}") for test in study.tests) for one in groups),
                cost=_cost(own[0].config.out / "checkpoint"),
                seconds=seconds / len(groups),
                groups=groups,
            )
        )
    return found


_cost = cache(cost)  # a finished run does not change


def _table(
    study: Study, rows: Sequence[Row], figures: Sequence[dict[str, Any]]
) -> tuple[list[str], list[list[str]]]:
    """A row a run: its cost and, for each test and column, its figure as of `spread`."""
    several = len(study.sources) > 1
    head = ["run", *["source"] * several, "start", "seeds", "parameters, M", "GFLOP a film", "ms a film"]
    head += ["minutes of training"]
    head += [f"{' '.join(column)}, {test}" for test in study.tests for column in study.columns]
    cells = []
    for row in rows:
        line = [row.name, *[row.source] * several, row.start, str(row.seeds)]
        line += [f"{row.cost.parameters / 1e6:.2f}", f"{row.cost.flops / 1e9:.2f}"]
        line += [f"{row.cost.milliseconds:.1f}", f"{row.seconds / 60:.0f}"]
        own = _of(row, figures)
        line += [spread(_under(own, test, column)) for test in study.tests for column in study.columns]
        cells.append(line)
    return head, cells


def _every_label(
    study: Study, rows: Sequence[Row], figures: Sequence[dict[str, Any]]
) -> tuple[list[str], list[list[str]]] | None:
    """A row a run: every label's AUROC, and the measures on films with one label; None for segmenters."""
    asked = [
        (one["subject"], one["measure"])
        for one in figures
        if one["condition"] == "" and one["measure"] in ("AUROC", *MEASURES)
    ]
    columns = list(dict.fromkeys(asked))
    if not columns:
        return None
    places = [(test, column) for test in study.tests for column in columns]
    head = ["run", *(f"{', '.join(column)}, {test}" for test, column in places)]
    return head, [
        [row.title, *(spread(_under(_of(row, figures), test, column)) for test, column in places)]
        for row in rows
    ]


def _of(row: Row, figures: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The figures of all seeds of a run."""
    return [one for one in figures if (one["run"], one["source"]) == (row.name, row.source)]


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def _point(row: Row, test: str, column: Sequence[str], figures: Sequence[dict[str, Any]]) -> Point | None:
    """A run's point in the plot of quality against cost."""
    found = [one for one in _under(_of(row, figures), test, column) if one["value"] is not None]
    if not found:
        return None
    value = statistics.fmean(one["value"] for one in found)
    low, high = (found[0]["low"], found[0]["high"]) if len(found) == 1 else (value, value)
    low, high = (value, value) if low is None else (min(low, value), max(high, value))
    return Point(name=row.title, kind=row.start, cost=row.cost.flops / 1e9, value=value, low=low, high=high)


def _page(
    study: Study,
    done: Sequence[Entry],
    rows: Sequence[Row],
    figures: Sequence[dict[str, Any]],
    table: tuple[list[str], list[list[str]]],
    differences: Sequence[Difference],
) -> str:
    """One self-contained HTML page."""
    test, column = next(iter(study.tests)), study.columns[0]
    points = [point for row in rows if (point := _point(row, test, column, figures))]
    outs = [entry.config.out for entry in done]
    histories = {out.relative_to(study.out).as_posix(): read_history(out) for out in outs}
    counted = {
        row.title: six.confusion(six.by_threshold)
        for row in rows
        for verdicts in verdicts_of(row, test)[:1]
        if (six := six_way(verdicts))
    }
    pictures = [
        ("Quality against cost", "", pareto(points, f"{' '.join(column)}, {test}")),
        (
            "Learning curves",
            "Training loss (line), tuning loss (dashed) and tuning score (dots).",
            curves(histories),
        ),
    ]
    if wanted := [one for one in differences if (one.test, one.column) == (test, column)]:
        shown = [
            Point(
                name=one.run,
                kind="holds" if one.gain.corrected < 0.05 else "",
                value=one.gain.value,
                low=one.gain.low,
                high=one.gain.high,
            )
            for one in wanted
        ]
        title = f"{' '.join(column)}, difference from {study.baseline}"
        caption = "Paired by film, intervals over patients; filled if significant after Holm's correction."
        pictures.insert(1, (title, caption, comparison(shown)))
    if counted:
        caption = (
            "Films with exactly one of the labels: percentage of those with a true label (row) that are "
            "called each label (column), the one furthest above its threshold."
        )
        pictures.append(("Confusion", caption, confusions(counted)))
    return template("study.html").render(
        study=study,
        films=sorted({short(name) for entry in done for name in entry.config.data}),
        table=table,
        labels=_every_label(study, rows, figures),
        differences=difference_table(differences, study.baseline) if differences else None,
        pictures=pictures,
        commits=sorted({read_card(entry.config.out / "checkpoint").commit for entry in done} - {""}),
        provenance=provenance(now()),
    )
