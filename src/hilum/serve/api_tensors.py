"""``/v2``: the Open Inference Protocol, for clients of Triton and KServe.

The networks have their own names and take prepared tensors; the model ``hilum`` takes whole films as BYTES.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from hilum import __version__
from hilum.runtime import Runtime
from hilum.serve.api_predict import Served
from hilum.serve.bodies import body
from hilum.serve.engine import Places
from hilum.serve.faults import ServiceError, missing
from hilum.serve.service import Service
from hilum.serve.tensors import LENGTH, Ask, answered, asked, malformed
from hilum.serve.wire import JSON, encoded
from hilum.types import Array

router = APIRouter(prefix="/v2", tags=["open inference protocol"])

WHOLE = "hilum"
"""The model that takes a film file and returns its result document."""

_MOST = 16  # prepared films in one request


@router.get("", summary="Server metadata", response_class=JSON)
async def server() -> Response:
    """Name, version and extensions of the server."""
    return JSON({"name": "hilum", "version": __version__, "extensions": ["binary_tensor_data"]})


@router.get("/health/live", summary="Liveness check", response_class=JSON)
async def live() -> Response:
    """Answers 200 as long as the process runs."""
    return JSON({"live": True})


@router.get("/health/ready", summary="Readiness check", response_class=JSON)
async def ready(service: Served) -> Response:
    """Answers as `/readyz`."""
    await run_in_threadpool(service.check)
    return JSON({"ready": True})


@router.get("/models/{model}", summary="Model metadata", response_class=JSON)
@router.get("/models/{model}/versions/{version}", include_in_schema=False)
async def metadata(service: Served, model: str, version: str = "") -> Response:
    """The inputs and outputs of a model."""
    runtime = _found(service, model, version)
    if runtime is None:
        inputs, outputs = [_described("film", "BYTES", [1])], [_described("report", "BYTES", [1])]
        return JSON(_metadata(WHOLE, __version__, inputs, outputs))
    card = runtime.card
    side = card.preparation.size
    inputs = [_described("films", "FP32", [-1, card.preparation.channels, side, side])]
    outputs = [_described(name, "FP32", _shape(shape)) for name, shape in runtime.outputs.items()]
    return JSON(_metadata(card.name, card.version, inputs, outputs))


@router.get("/models/{model}/ready", summary="Readiness check of a model", response_class=JSON)
@router.get("/models/{model}/versions/{version}/ready", include_in_schema=False)
async def model_ready(service: Served, model: str, version: str = "") -> Response:
    """Answers 200: all models are loaded at the start."""
    _found(service, model, version)
    return JSON({"name": model, "ready": True})


@router.post("/models/{model}/infer", summary="Run a model", response_class=JSON)
@router.post("/models/{model}/versions/{version}/infer", include_in_schema=False)
async def infer(request: Request, service: Served, model: str, version: str = "") -> Response:
    """Tensors in, tensors out: as JSON, or binary after the JSON if the client sends or requests that."""
    runtime = _found(service, model, version)
    limits = service.settings.limits
    outputs: dict[str, Any]
    # A place is taken first: if the queue is full, the body is not read.
    with service.engine.places() as places:
        content = await body(request, limits.bytes, limits.rate)
        # Parsing megabytes of JSON takes time, and far more memory than the JSON has bytes.
        ask = await service.aside(asked, content, request.headers.get(LENGTH))
        del content
        if runtime is None:
            name, told = WHOLE, __version__
            outputs = {"report": await _whole(service, ask, request.state.who, places)}
        else:
            name, told = runtime.card.name, runtime.card.version
            outputs = await _run(service, runtime, ask)
    answer, length = await run_in_threadpool(answered, ask, name, told, outputs)
    if length is None:
        return Response(answer, media_type="application/json")
    return Response(answer, media_type="application/octet-stream", headers={LENGTH: str(length)})


def _found(service: Service, model: str, version: str) -> Runtime | None:
    """A network by its name; None for the model ``hilum``. Raises ServiceError if there is no such model."""
    for runtime in service.runtimes.values():
        if model == runtime.card.name and version in ("", runtime.card.version):
            return runtime
    if model == WHOLE and version in ("", __version__):
        return None
    raise missing("model")


async def _run(service: Service, runtime: Runtime, ask: Ask) -> dict[str, Array]:
    films = ask.inputs.get("films")
    preparation = runtime.card.preparation
    shape = (preparation.channels, preparation.size, preparation.size)
    if films is None or isinstance(films, list) or films.shape[1:] != shape or len(ask.inputs) != 1:
        raise malformed(f"send exactly one input: films, FP32, [N, {', '.join(map(str, shape))}]")
    if len(films) > _MOST:
        raise ServiceError(413, "too-many", f"more than {_MOST} films in one request", "send fewer")
    return await service.aside(runtime, films)


async def _whole(service: Service, ask: Ask, who: str, places: Places) -> bytes:
    """The result document of one film, which is stored like any other."""
    film = ask.inputs.get("film")
    if not isinstance(film, list) or len(film) != 1 or len(ask.inputs) != 1:
        raise malformed("send exactly one input: film, BYTES, [1], as base64 if not in binary")
    draft = await run_in_threadpool(service.films.draft)
    try:
        await run_in_threadpool(draft.write_bytes, film[0])
        return encoded(await asyncio.wrap_future(service.keep(draft, "film", who, places)))
    finally:
        await run_in_threadpool(draft.unlink, missing_ok=True)


def _metadata(name: str, version: str, inputs: list[Any], outputs: list[Any]) -> dict[str, Any]:
    return {
        "name": name,
        "versions": [version],
        "platform": "onnxruntime_onnx",
        "inputs": inputs,
        "outputs": outputs,
    }


def _described(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


def _shape(shape: list[int | str]) -> list[int]:
    return [side if isinstance(side, int) else -1 for side in shape]
