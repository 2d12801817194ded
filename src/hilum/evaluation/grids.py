"""An evaluation's figures as the tables of a page: subjects down, measures or groups of films across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hilum.evaluation.call_figures import AT_THRESHOLD, BY_POINT
from hilum.evaluation.conclusions import ALONE, PREVALENCE, other_than
from hilum.evaluation.faithful import BY_METHOD
from hilum.evaluation.figures import WITHIN, Evaluation, Figure
from hilum.statistics.intervals import with_interval, written

_TELLING = ("AUROC", "AUROC after DeLong", "AUROC by patient", "average precision")
_PROBABILITIES = (
    "Brier score",
    "Brier skill score",
    "calibration error",
    "calibration slope",
    "calibration intercept",
    "observed over expected",
)

_ABSTAINS = (
    "Mean of the shares of positive and of negative films that are called wrongly. The model abstains on the "
    "films nearest to the threshold; coverage is the share of films that it calls."
)
_NONE = (
    "AUROC of its score for films without finding against films with one of the findings, or with another "
    "finding alone."
)
_PAIRS = "Pairs of one group: each film is compared only with films of the same group."
_FAITHFUL = (
    "On films with the finding. Deletion: the mean drop of the score, in logits, when the film is blurred "
    "from the map's strongest place on, compared with random cells. Insertion: the mean rise when those "
    "places are blurred last. Scattered holes disturb a network more than one large one, which lowers "
    "deletion and raises insertion; their sum is free of this effect, and 0 is chance. Lift: the share of "
    "the evidence around the chest over the share of the area, 1 if spread evenly. Pointing: how often the "
    "strongest place lies in the finding."
)

Grid = tuple[str, str, list[str], list[list[str]]]
"""Title, caption, head, rows."""


def grids(evaluation: Evaluation, groups: Sequence[str]) -> list[Grid]:
    """Tables of discrimination, calibration, calls, groups of films, and films with exactly one label."""
    whole = [one for one in evaluation.figures if not one.condition]
    called = [one for one in evaluation.figures if one.condition.startswith((AT_THRESHOLD, BY_POINT))]
    found = [
        _table(
            "Discrimination: films with a finding against films without",
            "After DeLong, films are taken as independent.",
            [one for one in whole if one.measure in _TELLING],
        ),
        _table("Probabilities", _remarks(whole), [one for one in whole if one.measure in _PROBABILITIES]),
    ]
    for condition in dict.fromkeys(one.condition for one in called):
        own = [one for one in called if one.condition == condition]
        found.append(_table(f"Calls {condition}", "", own))
    found += [
        _by_group(evaluation.figures, name, measure)
        for name in groups
        for measure in ("AUROC", "observed over expected")
    ]
    rest = [one for one in whole if one.measure not in (*_TELLING, *_PROBABILITIES)]
    found += [_table("Whole films", "", [one for one in rest if one.subject == "films"])]
    found += [_table("Films with exactly one label", "", [one for one in rest if one.subject != "films"])]
    if evaluation.confusion:
        head = ["true, called by probability", *evaluation.confusion]
        rows = [[true, *map(str, called.values())] for true, called in evaluation.confusion.items()]
        found.append(("Confusion", "Films with exactly one of the labels.", head, rows))
    found.append(_across("Error when it abstains", _ABSTAINS, evaluation.figures, "balanced error"))
    found.append(_sets(evaluation.figures))
    found.append(_across("What No Finding means", _NONE, evaluation.figures, "AUROC", "against "))
    found += _maps(evaluation.figures)
    found.append(_differences(evaluation.tables.get("differences", [])))
    return [one for one in found if one[3]]


def _across(
    title: str, caption: str, figures: Sequence[Figure], measure: str, conditions: str = "coverage "
) -> Grid:
    """Subjects down; across, the conditions with this prefix."""
    own = [one for one in figures if one.measure == measure and one.condition.startswith(conditions)]
    columns = list(dict.fromkeys(one.condition for one in own))
    cells = {(one.subject, one.condition): one for one in own}
    subjects = dict.fromkeys(one.subject for one in own)
    rows = [[subject, *(cell(cells.get((subject, column))) for column in columns)] for subject in subjects]
    return title, caption, ["", *columns], rows


def _sets(figures: Sequence[Figure]) -> Grid:
    """The promised and the observed coverage of prediction sets."""
    own = [one for one in figures if one.condition.startswith("promised ")]
    promise = own[0].condition if own else ""
    caption = f"{promise}; in the coverage each patient counts once.".capitalize()
    title, about, head, rows = _table("Prediction sets", caption, own)
    # The measures are of different films: those with the label, those without, all.
    return title, about, ["", *head[3:]], [[row[0], *row[3:]] for row in rows]


def _maps(figures: Sequence[Figure]) -> list[Grid]:
    """The faithfulness of maps, for each method."""
    own = [one for one in figures if one.condition.startswith(BY_METHOD)]
    return [
        _table(f"M{method[1:]}", _FAITHFUL, [one for one in own if one.condition == method])
        for method in dict.fromkeys(one.condition for one in own)
    ]


def _remarks(figures: Sequence[Figure]) -> str:
    """The labels whose calibration cannot be judged."""
    judged = [one for one in figures if one.measure == "calibration slope" and one.remark]
    return "; ".join(f"{one.subject}: {one.remark}" for one in judged)


def _table(title: str, caption: str, figures: Sequence[Figure]) -> Grid:
    """Subjects down, measures across."""
    measures = list(dict.fromkeys(figure.measure for figure in figures))
    cells = {(one.subject, one.measure): one for one in figures}
    rows = []
    for subject in dict.fromkeys(figure.subject for figure in figures):
        shown = [cells.get((subject, measure)) for measure in measures]
        first = next(one for one in shown if one)
        count = first.positives
        positive = "" if count is None else f"{count} ({count / max(first.films, 1):.1%})"
        rows.append([subject, str(first.films), positive, *(cell(one) for one in shown)])
    return title, caption, ["", "films", "positive", *measures], rows


def _by_group(figures: Sequence[Figure], name: str, measure: str) -> Grid:
    """Labels down; across the groups, the within-group figure, and the largest gap between two groups."""
    within = WITHIN + name
    own = [
        one
        for one in figures
        if one.measure == measure and (one.condition.startswith(f"{name} ") or one.condition == within)
    ]
    gaps = {one.subject: one for one in own if " more than " in one.condition}
    cells = {(one.subject, one.condition): one for one in own if " more than " not in one.condition}
    columns = sorted({condition for _, condition in cells}, key=lambda column: (column == within, column))
    rows = []
    for subject in dict.fromkeys(one.subject for one in own):
        row = [subject, *(cell(cells.get((subject, column))) for column in columns)]
        if gaps:
            gap = gaps.get(subject)
            row.append(f"{gap.condition.removeprefix(f'{name} ')}: {cell(gap)}" if gap else "")
        rows.append(row)
    head = [column.removeprefix(f"{name} ") for column in columns]
    title = f"{measure[0].upper()}{measure[1:]} by {name}"
    caption = _PAIRS if within in columns else ""
    return title, caption, ["", *head, *(["largest gap"] if gaps else [])], rows


def _differences(rows: Sequence[Mapping[str, Any]]) -> Grid:
    head = ["", "films", "more than the other's", "P", "P after Holm", "after DeLong", "P"]
    cells = [
        [
            ", ".join(filter(None, (row["subject"], row["measure"], row["condition"]))),
            str(row["films"]),
            with_interval(row["value"], row["low"], row["high"], "+.3f"),
            written(row["p"]),
            written(row["corrected"]),
            with_interval(row["value"], row["delong_low"], row["delong_high"], "+.3f")
            if row["delong_p"] == row["delong_p"]
            else "",
            written(row["delong_p"]),
        ]
        for row in rows
    ]
    pairs = "" if not any(row["condition"] for row in rows) else f" {_PAIRS}"
    return "Against the other model", f"Paired by film.{pairs}", head, cells


def links_grid(group: str, cells: Mapping[tuple[str, str, str], Figure]) -> Grid:
    """Labels down: the prevalence in the group and elsewhere, and the AUROC of the group alone."""
    rows = []
    for subject, measure, condition in cells:
        if (measure, condition) == (ALONE, group):
            kept = ((PREVALENCE, group), (PREVALENCE, other_than(group)), (ALONE, group))
            rows.append([subject, *(cell(cells[subject, *key]) for key in kept)])
    caption = (
        "The prevalence of a label, and the AUROC of predicting it from the group alone, without a model."
    )
    return f"Labels and {group}", caption, ["", group, "other films", "AUROC of the group alone"], rows


def cell(figure: Figure | None) -> str:
    """The figure with its interval, or the reason why there is none."""
    if figure is None:
        return ""
    if figure.value != figure.value:
        return figure.remark or "cannot be computed"
    return figure.told
