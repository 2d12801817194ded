"""``/v1/jobs``: many films at once, with results to fetch later."""

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

Job = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="id of the job")]

_EXAMPLE: dict[str, Any] = {
    "id": "7c9e6679742540de944be07fc1f90ae7",
    "status": "running",
    "total": 3,
    "done": 1,
    "results": [{"file": "a.dcm", "status": "ok", "id": "0f8fad5bd9cb469fa16570867728950e"}],
}


@router.post(
    "",
    summary="Send many films as a job",
    status_code=202,
    response_class=JSON,
    responses={202: shown("The job", _EXAMPLE), **FAULTS},
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": FORM}}},
)
async def create(request: Request, service: Served) -> Response:
    """Answers 202 once the films are stored. They are then analysed even if the service restarts."""
    await run_in_threadpool(service.jobs.room)
    limits = service.settings.limits
    async with received(request, service.films, limits, most=limits.job_films) as uploads:
        job = await run_in_threadpool(_taken, service, uploads, request.state.who)
    runner: Runner = request.app.state.runner
    runner.wake()
    document = await run_in_threadpool(service.jobs.get, job)
    return JSON(document, status_code=202, headers={"Location": f"/v1/jobs/{job}"})


@router.get(
    "/{job}", summary="Progress of a job", response_class=JSON, responses={200: shown("The job", _EXAMPLE)}
)
async def progress(service: Served, job: Job) -> Response:
    """The status (queued, running, done, cancelled) and the results so far."""
    return JSON(await run_in_threadpool(service.jobs.get, job))


@router.delete("/{job}", summary="Cancel a job", response_class=JSON)
async def cancel(request: Request, service: Served, job: Job) -> Response:
    """Deletes the films that are not yet analysed; the results of the others stay."""
    await run_in_threadpool(_cancelled, service, job, request.state.who)
    return JSON(await run_in_threadpool(service.jobs.get, job))


def _taken(service: Service, uploads: list[Upload], who: str) -> str:
    """Store the films of a job and the job itself; neither without the other. The job's id."""
    job = uuid.uuid4().hex
    files = [(uuid.uuid4().hex, upload.file) for upload in uploads]
    try:
        for upload, (result, _) in zip(uploads, files, strict=True):
            service.films.adopt(upload.path, result)
        # First: an action that cannot be audited is not done, or a client that repeats it would do it twice.
        service.audit.append("took on a job", who=who, job=job, films=len(files))
        service.jobs.add(job, files, stamp(datetime.now(UTC)))
    except BaseException:
        for result, _ in files:
            service.films.discard(result)
        raise
    return job


def _cancelled(service: Service, job: str, who: str) -> None:
    service.jobs.get(job)  # raises ServiceError if there is no such job
    service.audit.append("cancelled a job", who=who, job=job)
    for result in service.jobs.cancel(job):
        service.films.discard(result)
