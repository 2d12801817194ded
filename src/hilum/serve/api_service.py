"""What the service says of itself: which models, which limits, whether it lives, how it fares."""

from __future__ import annotations

import sqlalchemy as sql
from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from hilum import __version__
from hilum.serve.api_predict import Served
from hilum.serve.faults import ServiceError
from hilum.serve.metrics import CONTENT_TYPE
from hilum.serve.wire import JSON
from hilum.types import DISCLAIMER

router = APIRouter(tags=["service"])


@router.get("/v1/service", summary="Models, labels and limits", response_class=JSON)
async def about(service: Served) -> Response:
    """Open to everybody: a page asks it whether it needs a token."""
    pipeline, limits = service.pipeline, service.settings.limits
    return JSON(
        {
            "hilum": __version__,
            "disclaimer": DISCLAIMER,
            "models": {
                task: {name: getattr(runtime.card, name) for name in ("name", "version", "sha256")}
                for task, runtime in service.runtimes.items()
            },
            "labels": pipeline.labels,
            "limits": {"bytes": limits.bytes, "pixels": limits.pixels, "films": limits.films},
            "token_required": bool(service.settings.tokens),
        }
    )


@router.get("/healthz", summary="Whether the process lives", response_class=JSON)
async def healthz() -> Response:
    """Answers as long as the process does."""
    return JSON({"status": "ok"})


@router.get("/readyz", summary="Whether films can be analysed", response_class=JSON)
async def readyz(service: Served) -> Response:
    """Answers 200 where the database can be reached and the queue has room."""
    service.engine.check()
    try:
        await run_in_threadpool(_reach, service.database)
    except sql.exc.SQLAlchemyError:
        raise ServiceError(
            503, "database", "the database cannot be reached", "see to it", {"Retry-After": "5"}
        ) from None
    return JSON({"status": "ready"})


def _reach(database: sql.Engine) -> None:
    with database.connect() as connection:
        connection.execute(sql.text("SELECT 1"))


@router.get("/metrics", summary="For Prometheus")
async def metrics(service: Served) -> Response:
    """Counters of requests, films and decoders; needs the token."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)
