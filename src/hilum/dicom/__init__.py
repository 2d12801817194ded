"""A report as DICOM objects for PACS and viewers: SEG, SR, Secondary Capture and GSPS.

They belong to the film's patient and study, and refer to the film and to each other. They depend only on film
and models: the same film analysed twice by the same models gives the same bytes.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from hilum.errors import ConfigError
from hilum.extras import needs
from hilum.types import Report

if TYPE_CHECKING:
    from pydicom import Dataset

    from hilum.dicom.source import Source

FORMS: tuple[str, ...] = ("seg", "sr", "sc", "gsps")
"""Segmentation, Structured Report, Secondary Capture, Grayscale Softcopy Presentation State."""


def dicom_object(report: Report, form: str) -> Dataset:
    """The report on a DICOM film as one of FORMS, with file meta information, ready to be saved or sent.

    Raises ConfigError for an unknown form and if there is an `obstacle`, MissingExtraError without highdicom.
    """
    from hilum.dicom.common import finished
    from hilum.dicom.source import source_of
    from hilum.reading.reader import hushed

    if form not in FORMS:
        raise ConfigError(f"{form!r}: no DICOM form; choose from {', '.join(FORMS)}")
    require()
    if why := obstacle(report, form):
        raise ConfigError(f"{report.radiograph.origin.path}: {why}")
    with hushed():  # warnings of pydicom would quote the patient's header
        source = source_of(report.radiograph)
        return finished(_made(report, source, form), source)


def dicom_bytes(report: Report, form: str) -> bytes:
    """The same object as a file's content: Explicit VR Little Endian, with preamble (PS3.10)."""
    return encoded(dicom_object(report, form))


def encoded(made: Dataset) -> bytes:
    """An object of `dicom_object` as a file's content."""
    from hilum.reading.reader import hushed

    stream = BytesIO()
    with hushed():  # as above
        made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def obstacle(report: Report, form: str) -> str:
    """Why this form cannot be made of the report; empty if it can."""
    from hilum.dicom.common import segments
    from hilum.reading.dicom_grey import numbers, text
    from hilum.reading.reader import hushed

    header = report.radiograph.origin.header
    if header is None:
        return f"{report.radiograph.origin.format}, not DICOM; DICOM objects are made of DICOM films only"
    with hushed():
        size = [side for name in ("Rows", "Columns") for side in numbers(header, name, [])[:1]]
        grey = text(header, "PhotometricInterpretation").startswith("MONOCHROME")
    if size != list(report.radiograph.pixels.shape):
        return "cropped or resized since it was read, and results would not fit the file; analyse it as read"
    if form == "seg" and report.status == "rejected":
        return "rejected, so that there are no outlines to store; ask for sr or sc"
    if form == "seg" and not segments(report):
        return "no lung or heart was found, so that there are no outlines to store; ask for sr or sc"
    if form == "gsps" and not grey:
        return "not grey, and a grayscale presentation state is for grey films; ask for sc"
    return ""


def require() -> None:
    """Raise MissingExtraError if the packages that make the objects are not installed."""
    needs("DICOM output", "dicom", "highdicom")


def _made(report: Report, source: Source, form: str) -> Dataset:
    match form:
        case "seg":
            from hilum.dicom.seg import seg as make
        case "sr":
            from hilum.dicom.sr import sr as make
        case "sc":
            from hilum.dicom.sc import sc as make
        case _:
            from hilum.dicom.gsps import gsps as make
    return make(report, source)
