"""The application: the routes, the guard around them and the service behind them."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy import exc
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from hilum import __version__
from hilum.errors import HilumError, ReadError
from hilum.pipeline import Pipeline
from hilum.serve import api_jobs, api_predict, api_results, api_service, api_slicer, api_tensors
from hilum.serve.faults import ServiceError, full, unreachable
from hilum.serve.guard import Guard, answer, unexpected
from hilum.serve.runner import Runner
from hilum.serve.service import Service
from hilum.serve.settings import Settings
from hilum.types import DISCLAIMER

STATIC = Path(__file__).parent / "static"


def create_app(settings: Settings, pipeline: Pipeline) -> Guard:
    """The ASGI application of a new service, which is closed when the application shuts down."""
    service = Service(settings, pipeline)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.runner = Runner(service)
        yield
        await app.state.runner.stop()
        await run_in_threadpool(service.close)

    app = FastAPI(
        title="Hilum",
        version=__version__,
        description=f"Segments and scores frontal chest radiographs and maps the evidence. {DISCLAIMER}",
        docs_url=None,  # both would load scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    for part in (api_predict, api_results, api_jobs, api_service, api_tensors, api_slicer):
        app.include_router(part.router)
    _handle_faults(app)
    pages: list[str] = []
    if STATIC.is_dir():
        # Not mounted: a mount at / would take a wrong method of a route for an unknown page.
        app.router.default = StaticFiles(directory=STATIC, html=True)
        pages = ["/", *(f"/{path.relative_to(STATIC).as_posix()}" for path in STATIC.rglob("*"))]
    return Guard(app, settings, service.metrics, pages)


def _handle_faults(app: FastAPI) -> None:
    """Answer every error in the same form; none repeats what the client sent."""

    async def fault(request: Request, error: Any) -> Response:
        return answer(error, request.url.path)

    async def unreadable(request: Request, error: Any) -> Response:
        if isinstance(error, ReadError):
            return await fault(request, ServiceError(400, "unreadable", error.reason, error.remedy))
        return await fault(request, ServiceError(422, "refused", str(error), "see the documentation"))

    async def invalid(request: Request, error: Any) -> Response:
        where = {str(one["loc"][-1]) for one in error.errors() if one["loc"][0] in ("query", "path")}
        named = ", ".join(sorted(where)) or "body"
        return await fault(
            request, ServiceError(422, "invalid", f"invalid value: {named}", "see /openapi.json")
        )

    async def other(request: Request, error: Any) -> Response:
        what = {404: "no such page", 405: "this method is not allowed here"}.get(error.status_code, "refused")
        headers = error.headers or {}
        return await fault(
            request, ServiceError(error.status_code, "http", what, "see /openapi.json", headers)
        )

    async def broken(request: Request, error: Any) -> Response:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return await fault(request, full())
        if isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError):
            return await fault(request, unreachable())
        return await fault(request, unexpected())

    app.exception_handler(ServiceError)(fault)
    app.exception_handler(HilumError)(unreadable)
    app.exception_handler(RequestValidationError)(invalid)
    app.exception_handler(HTTPException)(other)
    app.exception_handler(Exception)(broken)
