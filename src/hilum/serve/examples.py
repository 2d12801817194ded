"""What the OpenAPI document shows: examples of what is sent and answered."""

from __future__ import annotations

from typing import Any

FORM: dict[str, Any] = {
    "schema": {
        "type": "object",
        "properties": {
            "files": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
        },
        "required": ["files"],
    }
}

SUMMARY: dict[str, Any] = {
    "id": "0f8fad5bd9cb469fa16570867728950e",
    "file": "case.dcm",
    "status": "ok",
    "received": "2026-01-02T03:04:05.678901Z",
    "patient": {"id": "123", "name": "Doe, Jane", "birth_date": "1950-01-02", "sex": "F"},
    "study": {
        "uid": "1.2.3",
        "date": "2026-01-01",
        "time": "08:15:00",
        "description": "CHEST PA",
        "accession": "A1",
    },
    "view": "PA",
    "probabilities": {"Cardiomegaly": 0.62},
    "positive": ["Cardiomegaly"],
    "abstained": [],
    "cardiothoracic_ratio": 0.54,
    "reasons": [],
}

_SCORE = {"probability": 0.62, "threshold": 0.2, "positive": True, "abstained": False, "plausible": "present"}

DOCUMENT: dict[str, Any] = {
    **{key: SUMMARY[key] for key in ("id", "file", "status", "received", "patient", "study", "reasons")},
    "prediction": {"Cardiomegaly": _SCORE},
    "measurements": {"cardiothoracic_ratio": 0.54},
    "disclaimer": "Research use only. Not a medical device.",
}

_FAULT = {
    "error": {
        "code": "unreadable",
        "reason": "not a DICOM, PNG, JPEG or TIFF file",
        "remedy": "convert it to one of these",
    }
}


def shown(description: str, example: Any) -> dict[str, Any]:
    """An answer in JSON with its example."""
    return {"description": description, "content": {"application/json": {"example": example}}}


RESULT = shown("The film's result, or several", DOCUMENT)
FAULTS: dict[int | str, dict[str, Any]] = {
    400: shown("A film that cannot be read", _FAULT),
    401: {"description": "No token"},
    413: {"description": "Too many bytes or films"},
    415: {"description": "Neither a film nor a form"},
    503: {"description": "The queue is full; `Retry-After` tells when to try again"},
}
