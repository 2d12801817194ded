"""Log lines of name=value pairs, without patient data and without identifiers that a PACS knows."""

from __future__ import annotations

import hashlib
import json
import logging
import re

LOGGER = logging.getLogger("hilum.pacs")

_PLAIN = re.compile(r"[\w.,:/+%-]+", re.ASCII)


def key(sop: str) -> str:
    """A film's key in the log: twelve hexadecimal digits of the SHA-256 of its UID.

    A UID identifies the patient in the PACS (PS3.15 table E.1-1 has it replaced). Users who may read the
    state file find the UID of a key with `hilum pacs --status`.
    """
    return hashlib.sha256(sop.encode("utf-8", "backslashreplace")).hexdigest()[:12]


def tell(event: str, *, level: int = logging.INFO, **facts: str | float) -> None:
    """Log one event. Text with special characters is quoted as JSON, so that no value can forge a line."""
    pairs = (f"{name}={_value(fact)}" for name, fact in facts.items())
    LOGGER.log(level, "%s", " ".join((f"event={event}", *pairs)))


def _value(fact: str | float) -> str:
    if isinstance(fact, float):
        return f"{fact:.3g}"
    text = str(fact)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
