"""``/v1/results``: the worklist, single results, and their reports and pictures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

import cv2
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from hilum.dicom import FORMS
from hilum.reporting.overlay import overlay
from hilum.reporting.report_page import html
from hilum.serve import arrays
from hilum.serve.api_predict import Served, object_of
from hilum.serve.examples import DOCUMENT, SUMMARY, shown
from hilum.serve.patient import plain
from hilum.serve.service import Service
from hilum.serve.wire import JSON, encoded, npy, squeezed
from hilum.types import Report

T = TypeVar("T")

router = APIRouter(prefix="/v1/results", tags=["results"])

Result = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="id of the result")]
_PAGE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"  # no script runs in a report


@router.get(
    "",
    summary="The worklist",
    response_class=JSON,
    responses={200: shown("Summaries of results", {"total": 1, "results": [SUMMARY]})},
)
async def listed(
    request: Request,
    service: Served,
    search: Annotated[
        str,
        Query(max_length=200, description="words in the patient's name or id, the file name or the study"),
    ] = "",
    status: Annotated[Literal["", "ok", "rejected"], Query()] = "",
    sort: Annotated[
        str, Query(max_length=64, description="received, patient, date, file or a label")
    ] = "received",
    order: Annotated[Literal["asc", "desc"], Query()] = "desc",
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """Past results, by default the newest first."""
    total, results = await run_in_threadpool(
        service.results.listed,
        search=plain(search, 200),
        status=status,
        sort=sort,
        labels=service.pipeline.labels,
        descending=order == "desc",
        offset=offset,
        limit=limit,
    )
    await _audited(service, request, "listed")
    return JSON({"total": total, "results": results})


@router.get(
    "/{result}", summary="A result", response_class=JSON, responses={200: shown("The result", DOCUMENT)}
)
async def result(request: Request, service: Served, result: Result) -> Response:
    """The full document of a result."""
    document = await run_in_threadpool(service.results.get, result)
    await _audited(service, request, "read", result)
    return JSON(document)


@router.delete("/{result}", summary="Delete a result and its film", status_code=204)
async def delete(request: Request, service: Served, result: Result) -> Response:
    """Deletes a result, its film and its report in memory."""
    await run_in_threadpool(service.forget, result, request.state.who)
    return Response(status_code=204)


@router.get("/{result}/prior", summary="The patient's earlier films", response_class=JSON)
async def prior(request: Request, service: Served, result: Result) -> Response:
    """Summaries of earlier films with the same patient id, the newest first."""
    found = await run_in_threadpool(service.results.prior, result)
    await _audited(service, request, "listed priors", result)
    return JSON({"total": len(found), "results": found})


@router.get("/{result}/film.npy", summary="The film at 16 bits")
async def film(request: Request, service: Served, result: Result) -> Response:
    """Pixels times 65535, little-endian uint16 (rows, columns), air dark."""
    kept = await service.opened(result)
    content = await service.aside(lambda: npy(arrays.film(kept.report)))
    await _audited(service, request, "read film", result)
    # Film grain hardly compresses: it would take longer than sending.
    return _array(content, {"X-Hilum-Window": arrays.WINDOW})


@router.get("/{result}/mask.npy", summary="The segmentation mask")
async def mask(request: Request, service: Served, result: Result) -> Response:
    """uint8 (rows, columns): 0 none, 1 right lung, 2 left lung, 3 heart."""
    kept = await service.opened(result)
    accept = request.headers.get("accept-encoding", "")
    content, how = await service.aside(lambda: squeezed(npy(arrays.mask(kept.report)), accept))
    await _audited(service, request, "read mask", result)
    return _array(content, dict(how))


@router.get("/{result}/evidence/{label}.npy", summary="The evidence map of a label")
async def evidence(request: Request, service: Served, result: Result, label: str) -> Response:
    """float32 (rows, columns): logits above the value at which the label turns positive.

    The map covers the whole film and has at most 256 cells on its long side.
    """
    kept = await service.opened(result)
    accept = request.headers.get("accept-encoding", "")

    def made() -> tuple[bytes, dict[str, str]]:
        values, peak = arrays.evidence(kept, service.pipeline, label)
        content, how = squeezed(npy(values), accept)
        return content, {**how, "X-Hilum-Strongest": f"{peak:.6g}"}

    content, headers = await service.aside(made)
    await _audited(service, request, "read evidence", result)
    return _array(content, headers)


@router.get("/{result}/report.json", summary="The result as a file", response_class=JSON)
async def report_json(request: Request, service: Served, result: Result) -> Response:
    """The document of a result, for download."""
    document = await run_in_threadpool(service.results.get, result)
    await _audited(service, request, "read report.json", result)
    return _download(encoded(document), "application/json", f"{result}.json")


@router.get("/{result}/report.html", summary="The result as an HTML page")
async def report_html(request: Request, service: Served, result: Result) -> Response:
    """One self-contained page, for download."""
    content = await _made(service, result, _html)
    await _audited(service, request, "read report.html", result)
    response = _download(content, "text/html; charset=utf-8", f"{result}.html")
    response.headers["Content-Security-Policy"] = _PAGE
    return response


@router.get("/{result}/overlay.png", summary="The film with outlines and evidence map")
async def overlay_png(request: Request, service: Served, result: Result) -> Response:
    """A PNG picture, for download."""
    content = await _made(service, result, _png)
    await _audited(service, request, "read overlay.png", result)
    return _download(content, "image/png", f"{result}.png")


def _download_of(form: str) -> Callable[..., Awaitable[Response]]:
    async def download(request: Request, service: Served, result: Result) -> Response:
        """The result as a DICOM object, for download."""
        kept = await service.opened(result)
        content = await service.aside(object_of, kept.report, form)
        await _audited(service, request, f"read {form}.dcm", result)
        return _download(content, "application/dicom", f"{result}.{form}.dcm")

    return download


for _form in FORMS:
    router.add_api_route(
        f"/{{result}}/{_form}.dcm", _download_of(_form), summary=f"The result as DICOM {_form.upper()}"
    )


def _html(report: Report) -> bytes:
    return html(report).encode("utf-8", "backslashreplace")


def _png(report: Report) -> bytes:
    picture: bytes = cv2.imencode(".png", cv2.cvtColor(overlay(report), cv2.COLOR_RGB2BGR))[1].tobytes()
    return picture


async def _made(service: Service, result: str, make: Callable[[Report], T]) -> T:
    kept = await service.opened(result)
    return await service.aside(make, kept.report)


async def _audited(service: Service, request: Request, what: str, result: str = "") -> None:
    about: dict[str, Any] = {"who": request.state.who, "request": request.state.request}
    await run_in_threadpool(service.audit.append, what, **about, **({"result": result} if result else {}))


def _array(content: bytes, headers: dict[str, str]) -> Response:
    return Response(content, media_type="application/x-npy", headers=headers)


def _download(content: bytes, kind: str, name: str) -> Response:
    # Named by the id: the uploaded file name may hold the patient's name, or a line break.
    return Response(
        content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
