"""A self-contained HTML page of a classifier's evaluation, with its worst errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hilum.data.cache import Cache
from hilum.evaluation.figures import Evaluation
from hilum.evaluation.grids import grids
from hilum.evaluation.label_figures import BINS, DECISION
from hilum.evaluation.summary import summary
from hilum.evaluation.verdicts import TABLE, read_verdicts
from hilum.reporting.page import template, tile
from hilum.statistics.metrics import tally
from hilum.store import write_whole
from hilum.types import Array

PAGE = "evaluation.html"

_UNSAID: dict[str, Any] = {"unreadable": {}, "part": "", "specialist": None, "compared": None, "warnings": []}
_ERRORS = 6  # films of each kind of error and label in the gallery

_WORTH = (
    "Net benefit, in true positives per patient, of acting on films from a probability up (blue, with its "
    "interval), of acting on all (grey) and on none (0)."
)


def write_page(evaluation: Evaluation, about: Mapping[str, Any], cache: Cache, out: Path) -> Path:
    """Write ``out/evaluation.html`` from the evaluation and the verdicts in `out`.

    The page shows films, so share it only where you may share them. Curves need matplotlib; without it the
    page says so.
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
        tables=grids(evaluation, about["groups"]),
        pictures=_pictures(evaluation, columns) if find_spec("matplotlib") else [],
        gallery=_gallery(columns, cache),
        provenance=about,
    )
    path = out / PAGE
    write_whole(path, page)
    return path


def _pictures(evaluation: Evaluation, columns: Mapping[str, tuple[Array, ...]]) -> list[tuple[str, str, str]]:
    from hilum.evaluation.plots import confusions, decisions, receiver, reliability

    curves, bins = {}, defaultdict(list)
    for row in evaluation.tables[BINS]:
        bins[row["label"]].append((row["mean probability"], row["share positive"], row["patients"]))
    for label, (truth, said, *_) in columns.items():
        known = ~np.isnan(truth)
        if len(set(truth[known].tolist())) < 2:  # films of one class have neither curve
            continue
        _, ill, well = tally(truth, said)
        shares = (np.cumsum(part[::-1]) / max(part.sum(), 1) for part in (well, ill))
        alarms, hits = (np.r_[0.0, share] for share in shares)
        curves[label] = alarms, hits
    caption = (
        "In ten bins of films, each patient counting once; on the dotted line, predicted equals observed."
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
    """Rows of the decision curves of labels whose net benefit is known."""
    told = [row for row in rows if row["net benefit"] == row["net benefit"]]
    return {
        label: [row for row in told if row["label"] == label]
        for label in dict.fromkeys(row["label"] for row in told)
    }


def _gallery(
    columns: Mapping[str, tuple[Array, ...]], cache: Cache
) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each label, missed positive films and falsely called negative ones, the worst first."""
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
