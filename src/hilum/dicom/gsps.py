"""Outlines, ratio lines and calls to lay over the film: a Grayscale Softcopy Presentation State."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom import Dataset

from hilum.dicom.common import begun, cielab, decimal, image_reference, segments
from hilum.dicom.contours import Line, outlines, ratio_lines
from hilum.dicom.grey import grey_levels
from hilum.dicom.source import Source
from hilum.dicom.values import clean
from hilum.reporting.picture import COLOURS, TEXT, Colour
from hilum.reporting.report import call, ranked
from hilum.types import DISCLAIMER, Report

_LINES = {"right_lung": "RIGHT_LUNG", "left_lung": "LEFT_LUNG", "heart": "HEART"}  # structure -> layer
_RATIO, _CALLS = "RATIO", "CALLS"
_LONGEST = 1024  # characters of Unformatted Text Value, whose VR is ST


def gsps(report: Report, source: Source) -> Dataset:
    """Each structure's outline, and the text, in a separate layer, in pixel units of the film."""
    made = begun(report, source, "gsps")
    made.PresentationCreationDate, made.PresentationCreationTime = source.date, source.time
    made.ContentLabel, made.ContentCreatorName = "HILUM", ""
    made.ContentDescription = DISCLAIMER
    series = Dataset()
    series.SeriesInstanceUID = source.series
    series.ReferencedImageSequence = [image_reference(source)]
    made.ReferencedSeriesSequence = [series]
    made.update(grey_levels(report.radiograph.origin.header))
    made.DisplayedAreaSelectionSequence = [_whole(report, source)]
    drawn = _drawn(report)
    made.GraphicAnnotationSequence = [
        *(_lines(layer, lines, source) for layer, (_, lines) in drawn.items()),
        _words(report, source),
    ]
    colours = {layer: colour for layer, (colour, _) in drawn.items()} | {_CALLS: TEXT}
    made.GraphicLayerSequence = [
        _layer(layer, order, colour) for order, (layer, colour) in enumerate(colours.items(), 1)
    ]
    return made


def _drawn(report: Report) -> dict[str, tuple[Colour, list[Line]]]:
    """Layer -> colour and lines."""
    anatomy, measured, named = report.anatomy, report.measurements, segments(report).values()
    if anatomy is None:
        return {}
    found = {_LINES[name]: (COLOURS[name], outlines(anatomy.mask, name)) for name in named}
    if named and measured is not None and measured.cardiothoracic_ratio is not None:
        found[_RATIO] = TEXT, ratio_lines(anatomy.mask, measured)
    return found


def _whole(report: Report, source: Source) -> Dataset:
    """The whole film as the displayed area, at its true aspect (PS3.3 C.10.4)."""
    item = Dataset()
    item.DisplayedAreaTopLeftHandCorner = [1, 1]
    item.DisplayedAreaBottomRightHandCorner = [source.columns, source.rows]
    item.PresentationSizeMode = "SCALE TO FIT"
    if report.radiograph.spacing is not None:
        item.PresentationPixelSpacing = [decimal(mm) for mm in report.radiograph.spacing]
    else:
        item.PresentationPixelAspectRatio = [1, 1]
    return item


def _annotation(layer: str, source: Source) -> Dataset:
    item = Dataset()
    item.ReferencedImageSequence = [image_reference(source)]
    item.GraphicLayer = layer
    return item


def _lines(layer: str, lines: Sequence[Line], source: Source) -> Dataset:
    item = _annotation(layer, source)
    item.GraphicObjectSequence = []
    for line in lines:
        drawn = Dataset()
        drawn.GraphicAnnotationUnits, drawn.GraphicDimensions = "PIXEL", 2
        drawn.GraphicType, drawn.NumberOfGraphicPoints = "POLYLINE", len(line)
        drawn.GraphicData = [float(number) for point in line for number in point]  # column, row, ...
        if line[0] == line[-1]:
            drawn.GraphicFilled = "N"
        item.GraphicObjectSequence.append(drawn)
    return item


def _words(report: Report, source: Source) -> Dataset:
    """The calls and the disclaimer, at the top left of the viewer's display."""
    item = _annotation(_CALLS, source)
    text = Dataset()
    text.BoundingBoxAnnotationUnits = "DISPLAY"
    text.BoundingBoxTopLeftHandCorner, text.BoundingBoxBottomRightHandCorner = [0.01, 0.01], [0.45, 0.35]
    text.BoundingBoxTextHorizontalJustification = "LEFT"
    # Lines are separated by carriage return and line feed (PS3.3 C.10.5.1.1).
    said = "\r\n".join(clean(line, 120) for line in _said(report))
    text.UnformattedTextValue = said if len(said) <= _LONGEST else said[: _LONGEST - 3] + "..."
    item.TextObjectSequence = [text]
    return item


def _said(report: Report) -> Iterator[str]:
    yield DISCLAIMER
    if report.status == "rejected":
        yield from (f"Rejected: {reason.sentence}" for reason in report.reasons)
        return
    if report.measurements is not None and report.measurements.cardiothoracic_ratio is not None:
        yield f"Cardiothoracic ratio {report.measurements.cardiothoracic_ratio:.2f}"
    most_probable = ranked(report)
    for score in report.prediction.scores if report.prediction else ():
        threshold = "" if score.label in most_probable else f" (threshold {score.threshold:.2f})"
        yield f"{score.label} {score.probability:.2f}{threshold}: {call(score)}"
    # Last: a text that is too long is cut at its end.
    yield from (f"Note: {flag.sentence}" for flag in report.flags)
    yield from (f"Note: {note}" for note in report.notes)


def _layer(name: str, order: int, colour: Colour) -> Dataset:
    item = Dataset()
    item.GraphicLayer, item.GraphicLayerOrder = name, order
    item.GraphicLayerRecommendedDisplayCIELabValue = cielab(colour)
    return item
