"""Log lines of name=value pairs, which hold no patient's data and no identifier that an archive knows."""

from __future__ import annotations

import hashlib
import json
import logging
import re

LOGGER = logging.getLogger("hilum.pacs")

_PLAIN = re.compile(r"[\w.,:/+%-]+", re.ASCII)


def key(sop: str) -> str:
    """A film's name in the log: twelve hexadecimal digits of its UID's SHA-256.

    A UID leads to the patient in the archive (PS3.15 table E.1-1 has it replaced); to those who may read the
    worker's place, `hilum pacs --status` tells which film it is.
    """
    return hashlib.sha256(sop.encode("utf-8", "backslashreplace")).hexdigest()[:12]


def tell(event: str, *, level: int = logging.INFO, **facts: str | float) -> None:
    """Log one event; a text of other than plain characters is quoted as JSON, so that no line is forged."""
    pairs = (f"{name}={_value(fact)}" for name, fact in facts.items())
    LOGGER.log(level, "%s", " ".join((f"event={event}", *pairs)))


def _value(fact: str | float) -> str:
    if isinstance(fact, float):
        return f"{fact:.3g}"
    text = str(fact)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
