"""``POST /v1/predict``: one or a few films, with their results in the same answer."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from hilum.dicom import FORMS, dicom_bytes, obstacle
from hilum.errors import HilumError
from hilum.serve.bodies import RAW, Upload, received
from hilum.serve.engine import Places
from hilum.serve.examples import FAULTS, FORM, RESULT
from hilum.serve.faults import ServiceError
from hilum.serve.results import Document
from hilum.serve.service import Service, error_document
from hilum.serve.wire import JSON
from hilum.types import Report

router = APIRouter(tags=["films"])


def service_of(request: Request) -> Service:
    """The service that handles a request."""
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(service_of)]

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in RAW},
            "multipart/form-data": FORM,
        },
    }
}


@router.post(
    "/v1/predict",
    summary="Analyse one or a few films",
    response_class=JSON,
    responses={200: RESULT, **FAULTS},
    openapi_extra=_BODY,
)
async def predict(request: Request, service: Served) -> Response:
    """Answers one film with its result, several films with `results` in the same order.

    Among several films, a film that cannot be read has an error document in place of its result. With
    `Accept: application/dicom; form=seg` (or sr, sc, gsps), one DICOM film is answered with that object.
    """
    form = _form(request.headers.get("accept", "*/*"))
    limits = service.settings.limits
    # A place is taken first: if the queue is full, the body is not read.
    with service.engine.places() as places:
        async with received(request, service.films, limits, most=limits.films) as uploads:
            if form and len(uploads) != 1:
                raise ServiceError(
                    422, "one-film", "a DICOM object is made from one film", "send the films one by one"
                )
            places.more(len(uploads) - 1)
            results = await _analysed(service, uploads, request.state.who, places)
    if form:
        (result,) = results
        if isinstance(result, HilumError):
            raise result
        kept = await service.opened(result["id"])
        return Response(await service.aside(object_of, kept.report, form), media_type="application/dicom")
    if len(results) == 1:
        if isinstance(results[0], HilumError):
            raise results[0]
        return JSON(results[0])
    documents = [
        error_document(upload.file, one) if isinstance(one, HilumError) else one
        for upload, one in zip(uploads, results, strict=True)
    ]
    return JSON({"results": documents})


async def _analysed(
    service: Service, uploads: list[Upload], who: str, places: Places
) -> list[Document | HilumError]:
    """The result document or error of each film, in order."""
    futures = [asyncio.wrap_future(service.keep(upload.path, upload.file, who, places)) for upload in uploads]
    found = await asyncio.gather(*futures, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, HilumError):
            raise one
    return found  # type: ignore[return-value]


def object_of(report: Report, form: str) -> bytes:
    """A report as a DICOM file, one of `hilum.dicom.FORMS`. Raises ServiceError if that is not possible."""
    if why := obstacle(report, form):
        raise ServiceError(422, "no-object", f"no {form} of this film: {why}", "request another form")
    return dicom_bytes(report, form)


def _form(accept: str) -> str:
    """The requested DICOM form; empty for JSON. Raises ServiceError for anything else."""
    for one in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in one.split(";"))
        if kind in ("*/*", "application/*", "application/json", ""):
            return ""
        if kind == "application/dicom":
            form = dict(part.partition("=")[::2] for part in parameters).get("form", "").strip('"')
            if form in FORMS:
                return form
    raise ServiceError(
        406,
        "accept",
        "results are not available in this form",
        f"accept application/json, or application/dicom; form={'|'.join(FORMS)}",
    )
