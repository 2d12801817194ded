"""A report as JSON, CSV, PNG and HTML, and the files written for each input."""

from __future__ import annotations

import base64
import json
import math
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from hilum import __version__
from hilum.errors import ConfigError, HilumError, ReadError
from hilum.explain import trust
from hilum.overlay import overlay
from hilum.picture import COLOURS, bar, picture, strongest
from hilum.types import DISCLAIMER, Array, Prediction, Report, now

if TYPE_CHECKING:
    from jinja2 import Template

    from hilum.card import Card

FORMS = ("csv", "json", "mask", "png", "html")

_HTML_FILM = 768  # longest side of a film in the page, pixels


def to_json(report: Report) -> dict[str, Any]:
    """The whole report but its images, ready for `json.dumps`; NaN is null.

    Of a DICOM header it holds only pixel spacing and view, no identifier of the patient.
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
        "prediction": _scores(prediction) if prediction else None,
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
        "thresholds": _thresholds(classifier) if classifier else None,
        **provenance(report.created),
    }
    cleaned: dict[str, Any] = _clean(document)
    return cleaned


def provenance(created: str) -> dict[str, Any]:
    """What every result carries, whatever it is of."""
    return {"created": created, "hilum": __version__, "disclaimer": DISCLAIMER}


def _scores(prediction: Prediction) -> dict[str, dict[str, Any]]:
    scores = (asdict(prediction[label]) for label in prediction.labels)
    return {score.pop("label"): score for score in scores}


def identity(card: Card) -> dict[str, str]:
    """Which model it was, in every result."""
    return {
        "name": card.name,
        "version": card.version,
        "sha256": card.sha256,
        "preprocessing": card.preprocessing,
        "split_sha256": card.split_sha256,
    }


def _thresholds(card: Card) -> dict[str, Any]:
    labels = {label: threshold.model_dump() for label, threshold in card.thresholds.items()}
    sets = {label: promised.model_dump() for label, promised in card.sets.items()}
    films = dict.fromkeys(one.films or card.threshold_data for one in card.thresholds.values())
    return {"data": "; ".join(films), "labels": labels, "sets": sets}


def _clean(value: Any) -> Any:
    """Plain JSON types: mappings to dict, tuples to list, NumPy numbers to Python's, NaN to None."""
    if isinstance(value, Mapping):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def columns(labels: Sequence[str]) -> list[str]:
    """The columns of ``predictions.csv``; without labels, those of ``segmentation.csv``."""
    scores = [*labels, *(f"{label} positive" for label in labels), "abstained"] if labels else []
    measured = ["cardiothoracic_ratio", "right_lung_fraction", "left_lung_fraction", "quality"]
    return ["file", "status", *scores, *measured, "notes"]


def segmentation_columns() -> list[str]:
    """The columns of ``segmentation.csv``; `row` fills them when it is given no labels."""
    return columns(())


def row(file: str, result: Report | HilumError, labels: Sequence[str]) -> dict[str, str]:
    """One input's row under `columns(labels)`; a cell is empty where there is nothing to say.

    Probabilities and measurements have six significant digits, calls are 1 or 0. Spreadsheets run cells
    that begin like a formula: such a file name gets ``./`` before it (and still names the file), such a
    text an apostrophe.
    """
    cells = dict.fromkeys(columns(labels), "")
    cells["file"] = _inert(file, "./")
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


def _score_cells(prediction: Prediction, labels: Sequence[str]) -> dict[str, str]:
    scores = [prediction[label] for label in labels if label in prediction.labels]
    return {
        **{score.label: _number(score.probability) for score in scores},
        **{f"{score.label} positive": str(int(score.positive)) for score in scores},
        "abstained": _inert("|".join(score.label for score in scores if score.abstained)),
    }


def _number(value: float | None) -> str:
    return f"{value:.6g}" if value is not None and math.isfinite(value) else ""


def _inert(text: str, guard: str = "'") -> str:
    """The text on one line, which no spreadsheet takes for a formula."""
    # The first characters named by OWASP, "CSV Injection"; tab and line breaks become spaces.
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().splitlines()).replace("\t", " ")
    return guard + line if line.lstrip().startswith(("=", "+", "-", "@")) else line


def _fault(error: HilumError) -> dict[str, str]:
    """Reason and remedy; an error that does not tell them apart has its message as reason."""
    if isinstance(error, ReadError):
        return {"reason": error.reason, "remedy": error.remedy}
    return {"reason": str(error)}


def html(report: Report) -> str:
    """One self-contained page: nothing in it runs, and nothing is loaded from elsewhere."""
    classifier = report.cards.get("classify")
    return template("report.html").render(
        report=to_json(report),
        colours={name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in COLOURS.items()},
        film=data_url(picture(report, None, longest=_HTML_FILM)),
        evidence=[
            {"film": data_url(picture(report, m, longest=_HTML_FILM)), "strongest": strongest(m)}
            for m in report.heatmaps
        ],
        bar=data_url(bar(240, 12)),
        trust=trust({m.method for m in report.heatmaps}, report.cards.get("specialist", classifier)),
    )


@cache
def template(name: str) -> Template:
    """One of the package's pages, to be filled in."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("hilum"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def data_url(image: Array) -> str:
    """A picture (H, W, 3) uint8 RGB as a URL that holds it."""
    # JPEG is a fifth of PNG's size here; full chroma keeps the thin outlines crisp.
    settings = [
        cv2.IMWRITE_JPEG_QUALITY,
        90,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def save(report: Report, path: Path) -> Path:
    """Write the report in the form the path's ending names: .json, .html, or .png (the overlay).

    Its folder is made if need be, and the file appears whole or not at all. Raises ConfigError for another
    ending and where nothing can be written.
    """
    match path.suffix.lower():
        case ".json":
            content = _encoded(to_json(report))
        case ".html":
            content = html(report).encode("utf-8", "backslashreplace")
        case ".png":
            content = _png(cv2.cvtColor(overlay(report), cv2.COLOR_RGB2BGR))
        case ending:
            raise ConfigError(f"{path}: no form of a report ends in {ending!r}; use .json, .html or .png")
    return _store(path, content)


def write(name: str, result: Report | HilumError, out: Path, forms: Collection[str]) -> None:
    """Write one input's files beside ``out/name``, in folders made if need be: of an error only the JSON.

    `forms` are some of FORMS: json, html, mask (the anatomy's values 0..3 at source size), png (mask and
    overlay); csv is the table of all inputs, which the caller writes. Raises ConfigError where `name` leads
    out of `out`, for an unknown form, and where nothing can be written.
    """
    inside = PurePath(name)
    if inside.anchor or ".." in inside.parts or not inside.parts:
        raise ConfigError(f"{name!r}: leads out of {out}; give a name below it")
    if unknown := set(forms).difference(FORMS):
        raise ConfigError(f"unknown form {', '.join(sorted(unknown))}; choose from {', '.join(FORMS)}")
    target = out / inside
    if isinstance(result, HilumError):
        if "json" in forms:
            _store(_with(target, ".json"), _encoded(_error_json(name, result)))
        return
    for form, ending in (("json", ".json"), ("html", ".html"), ("png", ".overlay.png")):
        if form in forms:
            save(result, _with(target, ending))
    if result.anatomy is not None and not {"mask", "png"}.isdisjoint(forms):
        _store(_with(target, ".mask.png"), _png(result.anatomy.mask))


def _error_json(name: str, error: HilumError) -> dict[str, Any]:
    file = error.file if isinstance(error, ReadError) else name
    return {"file": file, "status": "error", "error": _fault(error), **provenance(now())}


def _encoded(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name that is not UTF-8 holds lone surrogates; as \\udcXX they are valid JSON and survive.
    return text.encode("utf-8", "backslashreplace")


def _png(image: Array) -> bytes:
    png: bytes = cv2.imencode(".png", image)[1].tobytes()  # OpenCV's default is its fastest
    return png


def _with(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _store(path: Path, content: bytes) -> Path:
    """Write beside the path, then rename: a reader never sees half a file."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; choose another folder") from error
    return path
