"""``/v1/jobs``: many films at once, whose results are asked for later."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from hilum.serve.api_predict import Served
from hilum.serve.bodies import Upload, received
from hilum.serve.examples import FAULTS, FORM, shown
from hilum.serve.runner import Runner
from hilum.serve.service import Service, stamp
from hilum.serve.wire import JSON

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

Job = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="a job's id")]

_EXAMPLE: dict[str, Any] = {
    "id": "7c9e6679742540de944be07fc1f90ae7",
    "status": "running",
    "total": 3,
    "done": 1,
    "results": [{"file": "a.dcm", "status": "ok", "id": "0f8fad5bd9cb469fa16570867728950e"}],
}


@router.post(
    "",
    summary="Take on many films",
    status_code=202,
    response_class=JSON,
    responses={202: shown("The job", _EXAMPLE), **FAULTS},
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": FORM}}},
)
async def create(request: Request, service: Served) -> Response:
    """The answer comes once the films are kept; from then on they are analysed whatever happens."""
    await run_in_threadpool(service.jobs.room)
    limits = service.settings.limits
    async with received(request, service.films, limits, most=limits.job_films) as uploads:
        job = await run_in_threadpool(_taken, service, uploads, request.state.who)
    runner: Runner = request.app.state.runner
    runner.wake()
    document = await run_in_threadpool(service.jobs.get, job)
    return JSON(document, status_code=202, headers={"Location": f"/v1/jobs/{job}"})


@router.get("/{job}", summary="How far a job is", response_class=JSON, responses={200: shown("It", _EXAMPLE)})
async def progress(service: Served, job: Job) -> Response:
    """Its status (queued, running, done, cancelled), and what has become of its films so far."""
    return JSON(await run_in_threadpool(service.jobs.get, job))


@router.delete("/{job}", summary="Cancel a job", response_class=JSON)
async def cancel(request: Request, service: Served, job: Job) -> Response:
    """Its films that are not analysed yet are deleted; the results of the others stay."""
    await run_in_threadpool(_cancelled, service, job, request.state.who)
    return JSON(await run_in_threadpool(service.jobs.get, job))


def _taken(service: Service, uploads: list[Upload], who: str) -> str:
    """Keep the films of a job, and then the job itself: none without the other."""
    job = uuid.uuid4().hex
    files = [(uuid.uuid4().hex, upload.file) for upload in uploads]
    try:
        for upload, (result, _) in zip(uploads, files, strict=True):
            service.films.adopt(upload.path, result)
        # First: what cannot be audited is not done, or who asks again would have it done twice.
        service.audit.append("took on a job", who=who, job=job, films=len(files))
        service.jobs.add(job, files, stamp(datetime.now(UTC)))
    except BaseException:
        for result, _ in files:
            service.films.discard(result)
        raise
    return job


def _cancelled(service: Service, job: str, who: str) -> None:
    service.jobs.get(job)  # or there is nothing to cancel
    service.audit.append("cancelled a job", who=who, job=job)
    for result in service.jobs.cancel(job):
        service.films.discard(result)
