"""A report as a DICOM object's bytes, asked for over HTTP."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool

from hilum.dicom import dicom_bytes, obstacle
from hilum.serve.faults import ServiceError
from hilum.types import Report


async def object_of(report: Report, form: str) -> bytes:
    """The object, one of `hilum.dicom.FORMS`, as a DICOM file. Raises ServiceError where there is none."""
    if why := obstacle(report, form):
        raise ServiceError(422, "no-object", f"no {form} of this film: {why}", "ask for another form")
    return await run_in_threadpool(dicom_bytes, report, form)
