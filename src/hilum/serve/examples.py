"""Examples of requests and answers in the OpenAPI document."""

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
    """A JSON response with an example."""
    return {"description": description, "content": {"application/json": {"example": example}}}


RESULT = shown("The result of the film; for several films, `results`", DOCUMENT)
FAULTS: dict[int | str, dict[str, Any]] = {
    400: shown("The film cannot be read", _FAULT),
    401: {"description": "The token is missing or unknown"},
    413: {"description": "Too many bytes or too many films"},
    415: {"description": "The body is neither a film nor a form"},
    503: {"description": "The queue is full; try again after `Retry-After` seconds"},
}
