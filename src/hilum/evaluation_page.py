"""One self-contained HTML page of what an evaluation of a classifier found, with its worst errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hilum.call_figures import AT_THRESHOLD, BY_POINT
from hilum.data.cache import Cache
from hilum.evaluation_summary import summary
from hilum.faithful import BY_METHOD
from hilum.figures import WITHIN, Evaluation, Figure
from hilum.label_figures import BINS, DECISION
from hilum.metrics import tally
from hilum.page import data_url, template
from hilum.types import Array
from hilum.verdicts import TABLE, read_verdicts

PAGE = "evaluation.html"

_UNSAID: dict[str, Any] = {"unreadable": {}, "part": "", "specialist": None, "compared": None, "warnings": []}
_ERRORS = 6  # of each kind and label in the gallery
_TILE = 176  # side of a film there, pixels

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
    "Mean share of ill and of well films called wrongly, the films nearest to the threshold left open: "
    "coverage is the share called."
)
_WORTH = (
    "Net benefit, in true positives a patient, of acting on films from a probability up (blue, with its "
    "interval), of acting on all (grey) and on none (0)."
)
_NONE = (
    "How well its score tells films without finding from those with one of the findings, or another alone."
)
_FAITHFUL = (
    "On films with the finding. Deletion: how many logits lower the score lies, on average, while the film "
    "is blurred from the map's strongest place on rather than cell by cell at random. Insertion: how much "
    "higher while these are blurred last. Scattered holes disturb a network more than one large one, which "
    "counts against deletion and for insertion; their sum is free of it, and 0 is chance. Lift: the "
    "evidence's share around the chest over that of the area, 1 where spread evenly. Pointing: how often the "
    "strongest place lies in the finding."
)

Grid = tuple[str, str, list[str], list[list[str]]]
"""Title, caption, head, rows."""


def write_page(evaluation: Evaluation, about: Mapping[str, Any], cache: Cache, out: Path) -> Path:
    """Write ``out/evaluation.html``; the verdicts stand in `out` already.

    It shows films, and so goes no further than they may. Curves need matplotlib; without it the page says so.
    """
    verdicts = read_verdicts(out / f"{TABLE}.csv")
    known = [i for i in range(len(verdicts.labels)) if not np.isnan(verdicts.truth[:, i]).all()]
    columns = {
        verdicts.labels[i]: tuple(
            table[:, i]
            for table in (verdicts.truth, verdicts.probabilities, verdicts.margins, verdicts.called)
        )
        for i in known
    }
    rules = dict.fromkeys(one["rule"].split(";")[0] for one in about["thresholds"].values())
    films, patients = len(verdicts.films), len(set(verdicts.patients.tolist()))
    page = template(PAGE).render(
        about={**_UNSAID, **about, "rules": rules},
        summary=summary(evaluation.figures, about, films, patients),
        films=films,
        patients=patients,
        tables=_tables(evaluation, about["groups"]),
        pictures=_pictures(evaluation, columns) if find_spec("matplotlib") else [],
        gallery=_gallery(columns, cache),
        provenance=about,
    )
    path = out / PAGE
    path.write_text(page, encoding="utf-8")
    return path


def _tables(evaluation: Evaluation, groups: Sequence[str]) -> list[Grid]:
    """What can be told apart, how far probabilities hold, the calls, groups of films, the six-way task."""
    whole = [one for one in evaluation.figures if not one.condition]
    called = [one for one in evaluation.figures if one.condition.startswith((AT_THRESHOLD, BY_POINT))]
    found = [
        _table(
            "How well films with a finding are told from those without",
            "After DeLong films count as independent.",
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
    found += [_table("One of six", "", [one for one in rest if one.subject != "films"])]
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
    """Subjects down, across them the conditions that begin so."""
    own = [one for one in figures if one.measure == measure and one.condition.startswith(conditions)]
    columns = list(dict.fromkeys(one.condition for one in own))
    cells = {(one.subject, one.condition): one for one in own}
    subjects = dict.fromkeys(one.subject for one in own)
    rows = [[subject, *(cell(cells.get((subject, column))) for column in columns)] for subject in subjects]
    return title, caption, ["", *columns], rows


def _sets(figures: Sequence[Figure]) -> Grid:
    """What prediction sets promise, and hold."""
    own = [one for one in figures if one.condition.startswith("promised ")]
    promise = own[0].condition if own else ""
    return _table(
        "Prediction sets", f"{promise}; in the coverage every patient counts as one.".capitalize(), own
    )


def _maps(figures: Sequence[Figure]) -> list[Grid]:
    """How far maps can be trusted, by the way they are made."""
    own = [one for one in figures if one.condition.startswith(BY_METHOD)]
    return [
        _table(f"M{method[1:]}", _FAITHFUL, [one for one in own if one.condition == method])
        for method in dict.fromkeys(one.condition for one in own)
    ]


def _remarks(figures: Sequence[Figure]) -> str:
    """Which labels' calibration cannot be judged."""
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
    """Labels down, groups across, then pairs within them, and last the widest gap between two of them."""
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
    caption = (
        f"Pairs of one {name}: only its films are compared with each other." if within in columns else ""
    )
    return title, caption, ["", *head, *(["largest gap"] if gaps else [])], rows


def _differences(rows: Sequence[Mapping[str, Any]]) -> Grid:
    head = ["", "films", "more than the other's", "P", "P after Holm", "after DeLong", "P"]
    cells = [
        [
            ", ".join(filter(None, (row["subject"], row["measure"], row["condition"]))),
            str(row["films"]),
            interval(row["value"], row["low"], row["high"], "+.3f"),
            _number(row["p"]),
            _number(row["corrected"]),
            interval(row["value"], row["delong_low"], row["delong_high"], "+.3f")
            if row["delong_p"] == row["delong_p"]
            else "",
            _number(row["delong_p"]),
        ]
        for row in rows
    ]
    return "Against the other model", "Paired by film.", head, cells


def _number(p: float) -> str:
    return f"{p:.3f}" if p == p else ""


def cell(figure: Figure | None) -> str:
    """The figure with its interval; what could not be told, with the reason."""
    if figure is None:
        return ""
    if figure.value != figure.value:
        return figure.remark or "cannot be told"
    return interval(figure.value, figure.low, figure.high)


def interval(value: float, low: float, high: float, form: str = ".3f") -> str:
    if value != value:
        return "cannot be told"
    return f"{value:{form}}" + (f" ({low:{form}} to {high:{form}})" if low == low else "")


def _pictures(evaluation: Evaluation, columns: Mapping[str, tuple[Array, ...]]) -> list[tuple[str, str, str]]:
    from hilum.plots import confusions, decisions, receiver, reliability

    curves, bins = {}, defaultdict(list)
    for row in evaluation.tables[BINS]:
        bins[row["label"]].append((row["mean probability"], row["share positive"], row["patients"]))
    for label, (truth, said, *_) in columns.items():
        known = ~np.isnan(truth)
        if len(set(truth[known].tolist())) < 2:  # films of one class alone tell neither curve
            continue
        _, ill, well = tally(truth, said)
        shares = (np.cumsum(part[::-1]) / max(part.sum(), 1) for part in (well, ill))
        alarms, hits = (np.r_[0.0, share] for share in shares)
        curves[label] = alarms, hits
    caption = (
        "In ten bins of films, each patient counting as one; on the dotted line what is said is what is seen."
    )
    found = []
    if curves:
        found.append(("Reliability", caption, reliability({label: bins[label] for label in curves})))
        found.append(("Receiver operating characteristic", "", receiver(curves)))
        found.append(("Decision curves", _WORTH, decisions(_by_label(evaluation.tables[DECISION]))))
    if evaluation.confusion:
        caption = "Percentage of the films of a true label (row) called each label (column), by probability."
        found.append(("Confusion, in per cent", caption, confusions({"": evaluation.confusion})))
    return found


def _by_label(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """A decision curve's rows, of labels that the films tell."""
    told = [row for row in rows if row["net benefit"] == row["net benefit"]]
    return {
        label: [row for row in told if row["label"] == label]
        for label in dict.fromkeys(row["label"] for row in told)
    }


def _gallery(
    columns: Mapping[str, tuple[Array, ...]], cache: Cache
) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each label the ill films least called, and the well ones called most, the worst first."""
    found = []
    for label, (truth, said, margins, called) in columns.items():
        for kind, wrong in (
            ("missed", (truth == 1) & ~called),
            ("false alarms", (truth == 0) & called),
        ):
            places = np.flatnonzero(wrong)
            worst = places[np.argsort(-np.abs(margins[places]))][:_ERRORS]
            tiles = [
                (
                    tile(np.rint(255 * cache.pixels(i)).astype(np.uint8)),
                    f"{cache.samples[i].id}: probability {said[i]:.3f}",
                )
                for i in worst
            ]
            if tiles:
                found.append((f"{label}: {kind}, the worst of {len(places)}", tiles))
    return found


def tile(film: Array) -> str:
    large = cv2.resize(np.asarray(film), (_TILE, _TILE), interpolation=cv2.INTER_LINEAR)
    return data_url(cv2.cvtColor(large, cv2.COLOR_GRAY2RGB))
