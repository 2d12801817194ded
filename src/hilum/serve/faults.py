"""What the service answers when it cannot do what it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hilum.errors import HilumError


@dataclass(eq=False)
class ServiceError(HilumError):
    """An answer with an HTTP status other than success; nothing in it names a patient."""

    status: int
    code: str  # one word, the same for equal reasons
    reason: str
    remedy: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """The answer's body."""
        return {"error": {"code": self.code, "reason": self.reason, "remedy": self.remedy}}


def busy() -> ServiceError:
    """The answer where the queue is full."""
    return ServiceError(
        503,
        "busy",
        "as many films as may wait are waiting",
        "try again in a few seconds, or send a job",
        {"Retry-After": "2"},
    )


def full() -> ServiceError:
    """The answer where nothing more can be written."""
    return ServiceError(
        507, "disk-full", "the service's disk is full", "free some of it, or keep films for less"
    )


def unreachable() -> ServiceError:
    """The answer where the database does not."""
    return ServiceError(
        503, "database", "the database cannot be reached", "try again later", {"Retry-After": "5"}
    )


def missing(what: str = "result") -> ServiceError:
    """The answer where nothing goes by the name that was asked for."""
    there = {"result": "look for it among GET /v1/results", "model": "GET /v1/service names the models"}
    return ServiceError(404, "missing", f"no such {what}", there.get(what, "see whether it was deleted"))
