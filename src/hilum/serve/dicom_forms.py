"""A report as a DICOM object's bytes, asked for over HTTP."""

from __future__ import annotations

from hilum.dicom import dicom_bytes, obstacle
from hilum.serve.faults import ServiceError
from hilum.types import Report


def object_of(report: Report, form: str) -> bytes:
    """The object, one of `hilum.dicom.FORMS`, as a DICOM file. Raises ServiceError where there is none."""
    if why := obstacle(report, form):
        raise ServiceError(422, "no-object", f"no {form} of this film: {why}", "ask for another form")
    return dicom_bytes(report, form)
