"""A report as a DICOM object's bytes."""

from __future__ import annotations

import importlib
from io import BytesIO

from starlette.concurrency import run_in_threadpool

from hilum.errors import HilumError
from hilum.serve.faults import ServiceError
from hilum.types import Report

FORMS = ("seg", "sr", "sc", "gsps")


async def dicom_bytes(report: Report, form: str) -> bytes:
    """The object as a DICOM file. Raises ServiceError where there is none of a film."""
    if report.radiograph.origin.header is None:
        raise ServiceError(
            422, "not-dicom", "the film is not DICOM, whose objects need a study", "ask for JSON or HTML"
        )
    return await run_in_threadpool(_bytes, report, form)


def _bytes(report: Report, form: str) -> bytes:
    try:
        dataset = importlib.import_module("hilum.dicom").dicom_object(report, form)
    except HilumError as error:
        raise ServiceError(422, "no-object", f"no {form} of this film", str(error)) from None
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
