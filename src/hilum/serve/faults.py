"""The errors that the service answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hilum.errors import HilumError


@dataclass(eq=False)
class ServiceError(HilumError):
    """An answer with an HTTP error status; nothing in it names a patient."""

    status: int
    code: str  # a stable, machine-readable word
    reason: str
    remedy: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """The answer's body."""
        return {"error": {"code": self.code, "reason": self.reason, "remedy": self.remedy}}


def busy() -> ServiceError:
    """The answer if the queue is full."""
    return ServiceError(
        503,
        "busy",
        "the queue is full, too many films are waiting",
        "try again in a few seconds, or send the films as a job",
        {"Retry-After": "2"},
    )


def full() -> ServiceError:
    """The answer if the disk is full."""
    return ServiceError(
        507, "disk-full", "the service's disk is full", "free some space, or lower --keep-days"
    )


def unreachable() -> ServiceError:
    """The answer if the database cannot be reached."""
    return ServiceError(
        503, "database", "the database cannot be reached", "try again later", {"Retry-After": "5"}
    )


def missing(what: str = "result") -> ServiceError:
    """The answer if there is no object of that name or id."""
    there = {
        "result": "list the results with GET /v1/results",
        "model": "list the models with GET /v1/service",
    }
    return ServiceError(404, "missing", f"no such {what}", there.get(what, "check whether it was deleted"))
