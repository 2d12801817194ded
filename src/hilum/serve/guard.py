"""Around every request: access control, response headers, logs and metrics."""

from __future__ import annotations

import json
import logging
import time
import traceback
import uuid
from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hilum.serve.door import admit
from hilum.serve.faults import ServiceError
from hilum.serve.metrics import Metrics
from hilum.serve.settings import Settings
from hilum.serve.wire import JSON

logger = logging.getLogger("hilum.serve")

ALWAYS = {
    # The viewer draws on a canvas and saves it; only its own modules may run.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}


class Guard:
    """The outermost layer of the application; `static` are the paths of its pages."""

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, static: Collection[str] = ()
    ) -> None:
        self.app, self._settings, self._metrics, self._static = app, settings, metrics, frozenset(static)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; also after an error the client gets a complete answer."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, request, status = time.perf_counter(), uuid.uuid4().hex, 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _complete(message, request)
            await send(message)

        scope.setdefault("state", {})["request"] = request
        # HEAD is GET without the body (RFC 9110 section 9.3.2), which the server leaves out.
        routed = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            who = admit(scope["method"], scope["path"], Headers(scope=scope), self._settings, self._static)
            scope["state"]["who"] = who
            await self.app(routed, receive, sending)
        except ServiceError as fault:
            if not status:
                await answer(fault, scope["path"])(scope, receive, sending)
        except Exception as error:  # the framework has answered, and raises the error for the log
            logger.error(json.dumps({"request": request, "error": _places(error)}))  # noqa: TRY400 - a traceback may quote
            if not status:
                await answer(unexpected(), scope["path"])(scope, receive, sending)
        route = getattr(routed.get("route"), "path", None) or ("page" if status < 400 else "none")
        self._note(scope["method"], route, request, status, time.perf_counter() - started)

    def _note(self, method: str, route: str, request: str, status: int, seconds: float) -> None:
        """Log and count a request by its route: the path may hold anything."""
        method = method if method in _METHODS else "other"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        line = {"request": request, "method": method, "route": route, "status": status}
        logger.info(json.dumps(line | {"ms": round(1000 * seconds, 1)}))


_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


def answer(fault: ServiceError, path: str) -> JSON:
    """The response for a fault at a path; under /v2 the protocol requires the error as plain text."""
    plain = path == "/v2" or path.startswith("/v2/")
    document = {"error": f"{fault.reason}; {fault.remedy}"} if plain else fault.document
    return JSON(document, status_code=fault.status, headers=dict(fault.headers))


def unexpected() -> ServiceError:
    """The answer to an unexpected error, which only the log describes."""
    return ServiceError(500, "internal", "an unexpected error occurred in the service", "see its log")


def _complete(message: Message, request: str) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in ALWAYS.items():
        headers.setdefault(name, value)
    headers["x-request-id"] = request


def _places(error: Exception) -> dict[str, Any]:
    """Type and place of an error, without its message, which may quote a film's header."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames]
    return {"type": type(error).__name__, "at": places}
