"""Reports and their parts as HTML for notebooks: a picture and a short table.

The HTML is self-contained: pictures are embedded, no script runs, nothing is loaded from elsewhere.
"""

from __future__ import annotations

from typing import Any

from hilum.reporting.overlay import overlay
from hilum.reporting.page import data_url, template
from hilum.reporting.picture import film, strongest, wash
from hilum.reporting.report import ranked
from hilum.reporting.report_page import summary
from hilum.types import DISCLAIMER, Heatmap, Prediction, Radiograph, Report

_LONGEST = 768  # side of a picture, pixels: sharp in a cell, and small enough for a notebook of many films


def report_html(report: Report) -> str:
    """A summary, the film with its outlines and strongest evidence, and a table of scores."""
    return _shown(
        name=report.radiograph.origin.path,
        summary=summary(report),
        rejected=report.status == "rejected",
        warnings=[flag.sentence for flag in report.flags],
        picture=data_url(overlay(report, longest=_LONGEST)),
        about="The film with its outlines and a legend",
        scores=report.prediction.scores if report.prediction else (),
        ranked=ranked(report),
    )


def prediction_html(prediction: Prediction) -> str:
    """A table of scores."""
    return _shown(scores=prediction.scores)


def radiograph_html(radiograph: Radiograph) -> str:
    """The film as the models see it, and its properties; only the view comes from a DICOM header."""
    rows, columns = radiograph.pixels.shape
    known = [f"{radiograph.origin.format}, {rows} x {columns} pixels"]
    if radiograph.spacing:
        known.append("{:.3f} x {:.3f} mm apart".format(*radiograph.spacing))
    if radiograph.view:
        known.append(f"view {radiograph.view}")
    return _shown(
        name=radiograph.origin.path,
        summary=", ".join(known),
        warnings=radiograph.notes,
        picture=data_url(film(radiograph.pixels, longest=_LONGEST)),
        about="The film",
    )


def heatmap_html(heatmap: Heatmap) -> str:
    """The evidence as a colour wash over even grey."""
    inside = f", {100 * heatmap.in_lungs:.0f} % of it in lungs and heart" if heatmap.in_lungs >= 0 else ""
    return _shown(
        name=f"{heatmap.method.capitalize()} for {heatmap.label}",
        summary=f"Strongest {strongest(heatmap):.1f} logits{inside}",
        picture=data_url(wash(heatmap, longest=_LONGEST)),
        about=f"The {heatmap.method} for {heatmap.label} as a colour wash",
    )


def _shown(**parts: Any) -> str:
    empty: dict[str, Any] = {"name": "", "summary": "", "rejected": False, "warnings": (), "picture": ""}
    empty |= {"about": "", "scores": (), "ranked": frozenset()}
    text = template("notebook.html").render(empty | parts, disclaimer=DISCLAIMER)
    # A file name may hold lone surrogates, and a notebook with these could not be saved.
    return text.encode("utf-8", "backslashreplace").decode()
