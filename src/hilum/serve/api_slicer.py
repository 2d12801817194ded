"""The part of the MONAI Label interface that 3D Slicer's plugin needs to segment lungs and heart.

The plugin sends the volume once (``/session/``), then asks a model for its label map (``/infer/``). It does
not support tokens: run the service on the same machine, or behind a proxy that adds one.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from hilum import __version__
from hilum.errors import HilumError
from hilum.reading.reader import read
from hilum.reporting.report import to_json
from hilum.serve import arrays
from hilum.serve.api_predict import Served
from hilum.serve.bodies import received
from hilum.serve.faults import ServiceError, missing
from hilum.serve.nifti import START, header_of, is_nifti, read_nifti, write_nifti
from hilum.serve.service import Service
from hilum.serve.sessions import EXPIRY
from hilum.serve.wire import JSON, encoded
from hilum.types import DISCLAIMER, STRUCTURES, Report

router = APIRouter(tags=["3D Slicer"])

LABELS = {name: value for value, name in enumerate(STRUCTURES, 1)}


@router.get("/info/", summary="Models for Slicer's plugin", response_class=JSON)
async def info(service: Served) -> Response:
    """One segmentation model, without training or data store."""
    card = service.pipeline.segmenter.card
    model = {
        "type": "segmentation",
        "labels": LABELS,
        "dimension": 2,
        "description": f"Segments lungs and heart on a frontal chest radiograph. {DISCLAIMER}",
        "config": {},
    }
    empty: dict[str, Any] = {
        name: {} for name in ("trainers", "strategies", "scoring", "train_stats", "datastore")
    }
    about = {"name": "Hilum", "description": DISCLAIMER, "version": __version__, "labels": LABELS}
    return JSON({**about, "models": {card.name: model}, **empty})


@router.put("/session/", summary="Send a volume", response_class=JSON)
async def open_session(request: Request, service: Served) -> Response:
    """Keeps the volume for an hour, or until eight newer ones have arrived."""
    async with received(request, service.films, service.settings.limits, most=1) as uploads:
        session = service.sessions.add(uploads.pop().path)
    return JSON({"session_id": session, "expiry": EXPIRY})


@router.get("/session/{session}", summary="Check whether a volume is still kept", response_class=JSON)
async def session(service: Served, session: str) -> Response:
    """Answers 404 if it is not; the plugin then sends it again."""
    service.sessions.path(session)
    return JSON({"name": session, "expiry": EXPIRY})


@router.delete("/session/{session}", summary="Delete a volume", response_class=JSON)
async def close_session(service: Served, session: str) -> Response:
    """Deletes the volume."""
    service.sessions.remove(session)
    return JSON({})


@router.post("/infer/{model}", summary="Segment a volume")
async def infer(
    request: Request,
    service: Served,
    model: str,
    session_id: Annotated[str, Query(max_length=64)] = "",
    output: Annotated[str, Query(max_length=16)] = "",
) -> Response:
    """The label map as NIfTI in the volume's space, and the result; `output` (image, json) selects one."""
    if model != service.pipeline.segmenter.card.name:
        raise missing("model")
    if session_id:
        report, header = await _of_session(service, session_id)
    else:
        async with received(request, service.films, service.settings.limits, most=1) as uploads:
            report, header = await _analysed(service, uploads[0].path)
    who = request.state.who
    await run_in_threadpool(service.audit.append, "outlined for Slicer", who=who)
    params = {"label_names": LABELS, "result": to_json(report)}
    if output == "json":
        return JSON(params)
    if report.anatomy is None:
        why = "; ".join(reason.sentence for reason in report.reasons)
        raise ServiceError(422, "rejected", f"the film was rejected: {why}", "send another film")
    label = await service.aside(write_nifti, arrays.mask(report), header)
    if output == "image":
        return Response(label, media_type="application/gzip")
    return _multipart(params, label)


async def _of_session(service: Service, session: str) -> tuple[Report, bytes]:
    """As `_analysed`, for a volume sent before. Raises ServiceError if it is no longer kept."""
    try:
        return await _analysed(service, service.sessions.path(session))
    except FileNotFoundError:  # removed meanwhile; Slicer sends it again
        raise missing("session") from None


async def _analysed(service: Service, path: Path) -> tuple[Report, bytes]:
    """The report of a file, and the NIfTI header for its label map."""
    if not await run_in_threadpool(_is_nifti, path):
        report = await service.analysed(path, "film")
        film = report.radiograph
        height, width = film.pixels.shape
        return report, header_of((height, width), film.spacing)
    with service.engine.places():
        return await service.aside(_of_nifti, service, path)


def _is_nifti(path: Path) -> bool:
    with path.open("rb") as file:
        return is_nifti(file.read(START))


def _of_nifti(service: Service, path: Path) -> tuple[Report, bytes]:
    grey, header = read_nifti(path.read_bytes(), service.settings.limits.pixels)
    report = service.pipeline.analyse_apart(read(grey))
    if isinstance(report, HilumError):
        raise report
    return report, header


def _multipart(params: dict[str, Any], label: bytes) -> Response:
    """Both parts as a form, as the plugin expects."""
    boundary = uuid.uuid4().hex
    shown = 'Content-Disposition: form-data; name="'
    parts = (
        f'--{boundary}\r\n{shown}params"\r\nContent-Type: application/json\r\n\r\n'.encode(),
        encoded(params),
        f'\r\n--{boundary}\r\n{shown}image"; filename="label.nii.gz"\r\n'.encode(),
        b"Content-Type: application/gzip\r\n\r\n",
        label,
        f"\r\n--{boundary}--\r\n".encode(),
    )
    return Response(b"".join(parts), media_type=f"multipart/form-data; boundary={boundary}")
