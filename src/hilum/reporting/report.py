"""A report, or the error in its place, as JSON and as a row of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum import __version__
from hilum.errors import HilumError, ReadError
from hilum.types import DISCLAIMER, Prediction, Report, Score, now

if TYPE_CHECKING:
    from hilum.card import Card


def to_json(report: Report) -> dict[str, Any]:
    """The whole report without its images, ready for `json.dumps`; NaN is null.

    From a DICOM header it holds only pixel spacing and view, no identifier of the patient.
    """
    radiograph, anatomy, prediction = report.radiograph, report.anatomy, report.prediction
    classifier = report.cards.get("classify")
    document = {
        "file": radiograph.origin.path,
        "status": report.status,
        "reasons": [asdict(reason) for reason in report.reasons],
        "flags": [asdict(flag) for flag in report.flags],
        "input": {
            "sha256": radiograph.origin.sha256,
            "format": radiograph.origin.format,
            "rows": radiograph.pixels.shape[0],
            "columns": radiograph.pixels.shape[1],
            "spacing_mm": radiograph.spacing,
            "view": radiograph.view,
        },
        "prediction": _scores(report, prediction) if prediction else None,
        "stage": prediction.stage if prediction else None,
        "measurements": asdict(report.measurements) if report.measurements else None,
        "quality": anatomy.quality if anatomy else None,
        "unreliable": sorted(anatomy.unreliable) if anatomy else None,
        "heatmaps": [
            {"label": m.label, "method": m.method, "in_lungs": m.in_lungs, "lift": m.lift}
            for m in report.heatmaps
        ],
        "notes": (*radiograph.notes, *report.notes),
        "models": {task: identity(card) for task, card in report.cards.items()},
        "thresholds": _thresholds(report, classifier) if classifier else None,
        **provenance(report.created),
    }
    cleaned: dict[str, Any] = _clean(document)
    return cleaned


def provenance(created: str) -> dict[str, Any]:
    """What every result contains: time, version and disclaimer."""
    return {"created": created, "hilum": __version__, "disclaimer": DISCLAIMER}


def _scores(report: Report, prediction: Prediction) -> dict[str, dict[str, Any]]:
    """Each label's score; the threshold is None if the label that ranks first is called."""
    without = ranked(report)
    scores = map(asdict, prediction.scores)
    found = {score.pop("label"): score for score in scores}
    return {
        label: score | {"threshold": None} if label in without else score for label, score in found.items()
    }


def identity(card: Card) -> dict[str, str]:
    """The identity of a model, as in every result."""
    return {
        "name": card.name,
        "version": card.version,
        "sha256": card.sha256,
        "build": card.build or "as trained",
        "preprocessing": card.preprocessing,
        "split_sha256": card.split_sha256,
    }


def _thresholds(report: Report, card: Card) -> dict[str, Any]:
    """The threshold of each label, from the model whose score counts for it."""
    rules = dict(card.thresholds)
    if second := report.cards.get("specialist"):
        rules = {label: rule for label, rule in rules.items() if label not in second.labels}
        rules |= second.thresholds
    labels = {label: rules[label].model_dump() for label in card.labels if label in rules}
    sets = {label: promised.model_dump() for label, promised in card.sets.items()}
    films = dict.fromkeys(one.films or card.threshold_data for one in rules.values())
    told = {"data": "; ".join(films), "labels": labels, "sets": sets}
    return told | ({"leaning": dict(card.leaning)} if card.ranks and card.leaning else {})


def call(score: Score) -> str:
    """The call on one label, in words."""
    if score.abstained:
        return "left open"
    return "positive" if score.positive else "negative"


def ranked(report: Report) -> frozenset[str]:
    """The labels that are called if they rank first on a film, and so have no threshold."""
    found: set[str] = set()
    for task in ("classify", "specialist"):  # in this order: the specialist's scores replace the classifier's
        if card := report.cards.get(task):
            found = found | set(card.labels) if card.ranks else found - set(card.labels)
    return frozenset(found)


def _clean(value: Any) -> Any:
    """Plain JSON types: mappings to dict, tuples to list, NumPy numbers to Python's, NaN to None."""
    if isinstance(value, Mapping):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def columns(labels: Sequence[str]) -> list[str]:
    """The columns of ``predictions.csv``; without labels of ``segmentation.csv``, as `row` fills it."""
    scores = [*labels, *(f"{label} positive" for label in labels), "abstained"] if labels else []
    measured = ["cardiothoracic_ratio", "right_lung_fraction", "left_lung_fraction", "quality"]
    return ["file", "status", *scores, *measured, "notes"]


def row(file: str, result: Report | HilumError, labels: Sequence[str]) -> dict[str, str]:
    """One input's row under `columns(labels)`; a cell without a value is empty.

    Probabilities and measurements have six significant digits, calls are 1 or 0. Spreadsheets execute cells
    that begin like a formula: such a file name gets the prefix ``./`` (and still names the file), such a text
    an apostrophe.
    """
    cells = dict.fromkeys(columns(labels), "")
    cells["file"] = file_cell(file)
    if isinstance(result, HilumError):
        return cells | {"status": "error", "notes": _inert("; ".join(_fault(result).values()))}
    said = (reason.sentence for reason in (*result.reasons, *result.flags))
    notes = "; ".join((*said, *result.radiograph.notes, *result.notes))
    cells |= {"status": result.status, "notes": _inert(notes)}
    if result.prediction is not None and labels:
        cells |= _score_cells(result.prediction, labels)
    if result.measurements is not None:
        measured = asdict(result.measurements)
        cells |= {name: _number(measured[name]) for name in columns(()) if name in measured}
    if result.anatomy is not None:
        cells["quality"] = _number(min(result.anatomy.quality.values(), default=None))
    return cells


def file_cell(name: str) -> str:
    """The cell `file` of a film's row."""
    return _inert(name, "./")


def _score_cells(prediction: Prediction, labels: Sequence[str]) -> dict[str, str]:
    scores = [prediction[label] for label in labels if label in prediction]
    return {
        **{score.label: _number(score.probability) for score in scores},
        **{f"{score.label} positive": str(int(score.positive)) for score in scores},
        "abstained": _inert("|".join(score.label for score in scores if score.abstained)),
    }


def _number(value: float | None) -> str:
    return f"{value:.6g}" if value is not None and math.isfinite(value) else ""


def _inert(text: str, guard: str = "'") -> str:
    """The text on one line, in a form that no spreadsheet takes for a formula."""
    # The first characters named by OWASP, "CSV Injection"; tab and line breaks become spaces.
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().splitlines()).replace("\t", " ")
    return guard + line if line.lstrip().startswith(("=", "+", "-", "@")) else line


def _fault(error: HilumError) -> dict[str, str]:
    """Reason and remedy; for an error without these parts the message is the reason."""
    if isinstance(error, ReadError):
        return {"reason": error.reason, "remedy": error.remedy}
    return {"reason": str(error)}


def error_json(name: str, error: HilumError) -> dict[str, Any]:
    """The document in place of a report if an input could not be read."""
    file = error.file if isinstance(error, ReadError) else name
    return {"file": file, "status": "error", "error": _fault(error), **provenance(now())}
