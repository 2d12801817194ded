"""About the service: its models and limits, health checks, metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from hilum import __version__
from hilum.serve.api_predict import Served
from hilum.serve.metrics import CONTENT_TYPE
from hilum.serve.wire import JSON
from hilum.types import DISCLAIMER

router = APIRouter(tags=["service"])


@router.get("/v1/service", summary="Models, labels and limits", response_class=JSON)
async def about(service: Served) -> Response:
    """Needs no token: the viewer asks here whether it needs one."""
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


@router.get("/healthz", summary="Liveness check", response_class=JSON)
async def healthz() -> Response:
    """Answers 200 as long as the process runs."""
    return JSON({"status": "ok"})


@router.get("/readyz", summary="Readiness check", response_class=JSON)
async def readyz(service: Served) -> Response:
    """Answers 200 if films can be taken; 503 with a full queue or without database, 507 with a full disk."""
    await run_in_threadpool(service.check)
    return JSON({"status": "ready"})


@router.get("/metrics", summary="Metrics for Prometheus")
async def metrics(service: Served) -> Response:
    """Metrics of requests, films and decoders; needs a token."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)
