"""Fill the tables of docs/results/*.md from the files beside them, and draw one: python docs/tables.py

A table between ``<!-- table: NAME -->`` and ``<!-- end -->`` is replaced, so no number is copied by hand. The
files were written by `hilum evaluate` with the command on the page. In a table after
``<!-- figures: NAME -->`` only the columns in `COLUMNS` are filled, from the csv of that study. A row begins
with the name of its run. Other columns and rows without a run are kept.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hilum.evaluation.plots import Point, pareto

HERE = Path(__file__).parent
FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
LABELS = (*FINDINGS, "No Finding")

Figures = dict[tuple[str, str, str], dict[str, Any]]


def evaluation(name: str) -> tuple[dict[str, Any], Figures]:
    """An evaluation file and its figures by subject, measure and condition."""
    document = json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return document, {(one["subject"], one["measure"], one["condition"]): one for one in document["figures"]}


def cell(one: dict[str, Any], digits: int = 3) -> str:
    """A figure with its interval."""
    value, low, high = (one[key] for key in ("value", "low", "high"))
    if value is None:
        return one["remark"]
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def six_labels() -> str:
    _, of = evaluation("hilum-six")
    measures = {
        "AUROC": 3,
        "AUROC by patient": 3,
        "average precision": 3,
        "Brier skill score": 3,
        "calibration error": 3,
        "calibration slope": 2,
        "calibration intercept": 2,
    }
    names = [name.removesuffix(" score").removeprefix("calibration ") for name in measures]
    names[4] = "calibration error"
    rows = [
        [label, str(of[label, "AUROC", ""]["positives"])]
        + [cell(of[label, name, ""], digits) for name, digits in measures.items()]
        for label in LABELS
    ]
    mean = "mean of 5 findings"
    last = [f"**{cell(of[mean, name, ''])}**" for name in ("AUROC", "AUROC by patient")]
    rows.append(["**mean of the five findings**", "", *last, *[""] * 5])
    return table(["label", "positive", *names], rows)


def six_points() -> str:
    _, of = evaluation("hilum-six")
    points = {"Youden": "at the threshold"} | {
        f"aim {aim} 0.95": f"at the point of {aim} 0.95" for aim in ("sensitivity", "specificity")
    }
    head = ["label"]
    for name in points:
        head += [f"{name}: sensitivity", "specificity"]
    rows = [
        [label]
        + [cell(of[label, name, at], 2) for at in points.values() for name in ("sensitivity", "specificity")]
        + [
            cell(of[label, f"{sign} predictive value", "at the threshold"], 2)
            for sign in ("positive", "negative")
        ]
        for label in LABELS
    ]
    return table([*head, "Youden: positive predictive value", "negative"], rows)


def six_sets() -> str:
    _, of = evaluation("hilum-six")
    sets = ("coverage of the sets, present", "coverage of the sets, absent", "sets of one answer")
    covered = (100, 90, 70, 50)
    head = ["label", "coverage where present", "where absent", "one answer", "error, all called"]
    rows = [
        [label]
        + [cell(of[label, name, "promised 90%"], 2) for name in sets]
        + [cell(of[label, "balanced error", f"coverage {share}%"], 2) for share in covered]
        for label in LABELS
    ]
    return table([*head, *(f"{share} % called" for share in covered[1:])], rows)


def six_confusion() -> str:
    document, _ = evaluation("hilum-six")
    counts = document["confusion"]
    return table(
        ["true \\ called", *counts], [[true, *map(str, row.values())] for true, row in counts.items()]
    )


def groups(name: str) -> str:
    """The AUROC of each label in each group of films."""
    _, of = evaluation(name)
    found = [at for subject, measure, at in of if (subject, measure) == (LABELS[0], "AUROC") and at]
    rows = [
        [f"{group}, {of[LABELS[0], 'AUROC', group]['films']}"]
        + [cell(of[label, "AUROC", group], 2) for label in LABELS]
        for group in found
        if " more than " not in group
    ]
    return table(["films", *LABELS], rows)


TABLES: dict[str, Callable[[], str]] = {
    "hilum-six, labels": six_labels,
    "hilum-six, points": six_points,
    "hilum-six, sets": six_sets,
    "hilum-six, confusion": six_confusion,
    "hilum-six, groups": partial(groups, "hilum-six"),
    "hilum-six, data sets": partial(groups, "hilum-six-tune"),
}


COLUMNS = {
    "mean AUROC of the five": ("mean of 5 findings", "AUROC"),
    "by patient": ("mean of 5 findings", "AUROC by patient"),
    "edema": ("Edema", "AUROC"),
    "cardiomegaly": ("Cardiomegaly", "AUROC"),
    "six-way balanced accuracy, by threshold": (
        "films with exactly one of the 6",
        "balanced accuracy by threshold",
    ),
}
"""Heading of a column in a table of runs -> subject and measure."""


def runs(name: str, lines: Sequence[str]) -> str:
    """A table with one row per run of a study, filled with the figures of the study."""
    with (HERE / "results" / f"{name}.csv").open(encoding="utf-8") as file:
        of = {
            (row["run"], row["subject"], row["measure"], row["condition"]): row
            for row in csv.DictReader(file)
        }
    split = [[one.strip() for one in line.strip("|").split("|")] for line in lines]
    for row in split[2:]:
        run = re.match(r"[`\w-]+", row[0])
        for at, heading in enumerate(split[0]):
            found = of.get((run[0].strip("`"), *COLUMNS.get(heading, ("", "")), "")) if run else None
            if found:
                row[at] = cell({key: float(found[key]) for key in ("value", "low", "high")})
    return table(split[0], split[2:])


def filled(text: str) -> str:
    """The page with all its tables filled."""

    def new(match: re.Match[str]) -> str:
        told = TABLES[match[2]]() if match[1] == "table" else runs(match[2], match[3].splitlines())
        return f"<!-- {match[1]}: {match[2]} -->\n{told}\n<!-- end -->"

    return re.sub(r"<!-- (table|figures): (.*?) -->\n(.*?)<!-- end -->", new, text, flags=re.DOTALL)


def classifiers(page: str) -> str:
    """An SVG of quality against cost for the page's classifiers, without `plos-*`, `cnn-*` and one-of-six."""
    lines = (
        page.partition("| run | start | parameters, M |")[2].partition("\n<!-- end -->")[0].splitlines()[2:]
    )
    points = []
    for name, start, _, cost, told, *_ in (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines
    ):
        if not name.startswith(("plos-", "cnn-")) and "one-of-six" not in name:
            value, low, high = map(float, re.findall(r"\d\.\d+", told))
            name = name.partition(" (")[0]  # without the number of epochs
            points.append(Point(name=name, kind=start, cost=float(cost), value=value, low=low, high=high))
    return pareto(points, "mean AUROC of the five findings, 64 pixels")


if __name__ == "__main__":
    for path in (HERE / "results").glob("*.md"):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    page = (HERE / "results" / "classifiers.md").read_text(encoding="utf-8")
    (HERE / "results" / "classifiers.svg").write_text(classifiers(page), encoding="utf-8")
