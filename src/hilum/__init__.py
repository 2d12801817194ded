"""Hilum: frontal chest radiographs read, segmented, classified, explained and reported.

>>> import hilum
>>> pipeline = hilum.load()
>>> report = pipeline("case.dcm")
>>> report.prediction["Edema"].probability

Research use only. Not a medical device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Anatomy",
    "HilumError",
    "Pipeline",
    "Prediction",
    "Radiograph",
    "ReadError",
    "Report",
    "__version__",
    "load",
    "push_to_hub",
    "read",
]

_HOMES = {
    "Anatomy": "hilum.types",
    "HilumError": "hilum.errors",
    "Pipeline": "hilum.pipeline",
    "Prediction": "hilum.types",
    "Radiograph": "hilum.types",
    "ReadError": "hilum.errors",
    "Report": "hilum.types",
    "load": "hilum.pipeline",
    "push_to_hub": "hilum.hub_upload",
    "read": "hilum.reading.reader",
}

if TYPE_CHECKING:
    from hilum.errors import HilumError, ReadError
    from hilum.hub_upload import push_to_hub
    from hilum.pipeline import Pipeline, load
    from hilum.reading.reader import read
    from hilum.types import Anatomy, Prediction, Radiograph, Report


def __getattr__(name: str) -> Any:
    """Resolve a public name on first use, so that ``import hilum`` costs next to nothing."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hilum' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
