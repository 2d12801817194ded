"""Unique identifiers derived from film and models, so that a second run makes the same object."""

from __future__ import annotations

import hashlib
import json
import uuid

from pydicom.uid import UID

from hilum import __version__
from hilum.types import Report

_SPACE = uuid.UUID("d6c8a1de-4a0b-5e0c-9d43-2f5f1f6f7b1e")  # Hilum's own; never changes

IMPLEMENTATION = UID("2.25.114766126589252684913310879347120102356")  # PS3.7 D.3.3.2
VERSION_NAME = f"HILUM {__version__}"[:16]

# Fields of a card that a result depends on; a change of any of them gives a different object.
_DECIDES = {"name", "version", "calibration", "leaning", "thresholds", "sets", "reliability", "preparation"}


def uid(*parts: str) -> UID:
    """The identifier that belongs to these parts: a name-based UUID under 2.25 (PS3.5 B.2, RFC 9562 5.5)."""
    return UID(f"2.25.{uuid.uuid5(_SPACE, json.dumps(parts)).int}")


def models(report: Report) -> str:
    """What a report depends on, as one text: models, builds, calibration, thresholds, and Hilum's version."""
    cards = {
        task: [card.sha256, card.build, _digest(card.model_dump_json(include=_DECIDES))]
        for task, card in report.cards.items()
    }
    return json.dumps([__version__, cards], sort_keys=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
