"""Access control: by the host a request names, the page that sends it, and its token."""

from __future__ import annotations

import hmac
from collections.abc import Collection

from starlette.datastructures import Headers

from hilum.serve.faults import ServiceError
from hilum.serve.settings import Settings

SAFE = ("GET", "HEAD", "OPTIONS")
PROBES = ("/healthz", "/readyz")
OPEN = (*PROBES, "/v1/service", "/openapi.json")  # hold nothing about patients


def admit(method: str, path: str, headers: Headers, settings: Settings, static: Collection[str]) -> str:
    """The client's name: that of its token, or "anyone" if the service has no tokens.

    `static` are the paths of the pages. Raises ServiceError if access is denied.
    """
    if path not in PROBES:  # orchestrators probe by IP address
        _check_host(headers, settings)
    harmless = method in SAFE and (path in OPEN or path in static)
    if not harmless:  # searching too: its duration reveals whether a patient exists
        _check_origin(headers)
    who = _known(headers, settings)
    if who is None and not harmless:
        raise ServiceError(
            401,
            "token",
            "the token is missing or unknown",
            "send Authorization: Bearer TOKEN",
            {"WWW-Authenticate": 'Bearer realm="hilum"'},
        )
    return who or "anyone"


def _check_host(headers: Headers, settings: Settings) -> None:
    """Refuse unknown host names: a foreign page can point its own name at this machine (DNS rebinding)."""
    named = headers.getlist("host")
    if len(named) != 1 or _host(named[0]) not in settings.allowed:
        raise ServiceError(
            400, "host", "the service does not accept this host name", "start it with --allow-host NAME"
        )


def _host(netloc: str) -> str:
    name = netloc.lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def _check_origin(headers: Headers) -> None:
    """Refuse what a page of another origin makes a browser send; other clients send no origin."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    own = origin is None or origin.lower().partition("://")[2] == headers.get("host", "").lower()
    if not own or site not in (None, "same-origin", "none"):
        raise ServiceError(
            403,
            "origin",
            "sent by a page of another origin",
            "use the service's own page, or a client other than a browser",
        )


def _known(headers: Headers, settings: Settings) -> str | None:
    if not settings.tokens:
        return "anyone"
    scheme, _, given = headers.get("authorization", "").partition(" ")
    found = None
    for name, token in settings.tokens.items():  # all of them: the duration must not reveal which one
        if hmac.compare_digest(token.encode(), given.strip().encode("utf-8", "replace")):
            found = name
    return found if scheme.lower() == "bearer" else None
