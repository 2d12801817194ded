"""Does this installation give what the shipped models gave when they were released?

Generated films go through the shipped models, and a generated image through every DICOM decoder; what comes
out is held against what stands in the package (`golden/`, made anew by `make golden`).
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

from hilum import __version__
from hilum.calibration.calibrate import logit
from hilum.pipeline import Pipeline, load
from hilum.reading.dicom import stored
from hilum.runtime import Runtime, find
from hilum.types import STRUCTURES, Array, Report

GOLDEN = Path(__file__).parent / "golden"
RESULTS = "golden.json"
IMAGE = "image.png"  # what the DICOM files hold, 12 bits

# Machines add up in different orders, and ONNX Runtime and OpenCV round differently from version to
# version. With onnxruntime 1.20 and 1.32, OpenCV 4.10 and 5.0, NumPy 1.26 and 2.4, on processors with
# AVX-512, AVX2 and without fused multiply-add (the last two emulated), and with ONNX Runtime's
# optimisations off, the films here moved by 2.3e-6 in log-odds and 1.5e-7 of the evidence, and no pixel of
# an outline did. What is allowed leaves room for a pixel at an outline's edge, which moves the cut that the
# classifier sees; a tenth of a percentile more in the preparation goes beyond it.
LOG_ODDS = 0.01
DICE = 0.999
RATIO = 0.003
SHARE = 0.005  # of a map's evidence in lungs and heart
LOSSY = 1.0  # grey levels of 255, on average: decoders of a lossy JPEG may round as they like

_PACKAGES = (
    "numpy", "onnxruntime", "opencv-python-headless", "pillow", "pydicom", "pyjpegls", "pylibjpeg",
    "pylibjpeg-openjpeg", "pylibjpeg-rle", "python-gdcm",
)  # fmt: skip

Outcome: TypeAlias = tuple[str, str, str, bool]
"""What was looked at, what was found, what is allowed, and whether that fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the self test."""

    what: str
    found: str
    allowed: str
    passed: bool
    seconds: float


def versions() -> dict[str, str]:
    """What the outcome may depend on: versions, and what the processor can do of all that NumPy asks for."""
    found = {"hilum": __version__, "python": platform.python_version(), "machine": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return found | {
        "processor": " ".join(
            simd.get("baseline", []) + simd.get("found", [])
        ),  # NumPy leaves empty ones out
        "cores": str(cv2.getNumberOfCPUs()),
    }


def checks(golden: Path = GOLDEN) -> Iterator[Check]:
    """Every check in turn; one that cannot be made has failed."""
    results = json.loads((golden / RESULTS).read_bytes())
    for name, sha256 in results["models"].items():
        yield from _timed(f"model {name}", partial(_model, name, sha256))
    pipeline = cache(load)
    for name, expected in results["films"].items():
        yield from _timed(f"film {name}", partial(_film, pipeline, golden / name, expected))
    for name, syntax in results["dicom"].items():
        yield from _timed(f"DICOM {syntax}", partial(_decoded, golden / name, golden / IMAGE))


def _timed(subject: str, look: Callable[[], list[Outcome]]) -> Iterator[Check]:
    start = time.perf_counter()
    try:
        outcomes = look()
    except Exception as error:  # whatever a broken installation raises is what was to be found out
        outcomes = [("", f"{type(error).__name__}: {error}", "", False)]
    seconds = time.perf_counter() - start
    for what, found, allowed, passed in outcomes:
        name = f"{subject}: {what}" if what else subject
        yield Check(what=name, found=found, allowed=allowed, passed=passed, seconds=seconds / len(outcomes))


def _model(name: str, sha256: str) -> list[Outcome]:
    """Whether a shipped graph is the one the golden outputs are of; it is opened, and so held to its card."""
    found = Runtime(find(name), threads=1).card.sha256
    return [("", found[:12], sha256[:12], found == sha256)]


def _film(pipeline: Callable[[], Pipeline], path: Path, expected: Mapping[str, Any]) -> list[Outcome]:
    mask = cv2.imread(f"{path}.mask.png", cv2.IMREAD_UNCHANGED) if expected["status"] == "ok" else None
    return compared(pipeline()(path), mask, expected)


def compared(report: Report, mask: Array | None, expected: Mapping[str, Any]) -> list[Outcome]:
    """A film's report against its golden outputs, as `outputs` gives them, and its golden mask (H, W)."""
    found = outputs(report)
    told = ", ".join([found["status"], *found["codes"]])
    same: Outcome = (
        "status and calls",
        told,
        "the same",
        all(expected[part] == found[part] for part in ("status", "codes", "calls")),
    )
    if report.anatomy is None or report.prediction is None or expected["status"] != "ok":
        return [same]
    odds = {
        label: abs(float(logit(p) - logit(expected["probabilities"][label])))
        for label, p in found["probabilities"].items()
    }
    outlines = dice(report.anatomy.mask, mask)
    worst, least = max(odds, key=odds.__getitem__), min(outlines, key=outlines.__getitem__)
    ratio = abs((found["ratio"] or 0) - (expected["ratio"] or 0))
    # A map of the one that the other lacks is as far off as can be.
    here, there = found["in_lungs"], expected["in_lungs"]
    shares = [abs(here.get(label, 9) - there.get(label, 9)) for label in here.keys() | there.keys()]
    return [
        same,
        ("log-odds", f"{odds[worst]:.1e} apart ({worst})", f"<= {LOG_ODDS}", odds[worst] <= LOG_ODDS),
        ("outlines", f"Dice {outlines[least]:.5f} ({least})", f">= {DICE}", outlines[least] >= DICE),
        ("cardiothoracic ratio", f"{ratio:.1e} apart", f"<= {RATIO}", ratio <= RATIO),
        (
            "evidence in lungs",
            f"{max(shares, default=0):.1e} apart",
            f"<= {SHARE}",
            max(shares, default=0) <= SHARE,
        ),
    ]


def outputs(report: Report) -> dict[str, Any]:
    """Of a report, what is held against the golden outputs, ready for JSON."""
    prediction, measured = report.prediction, report.measurements
    scores = [prediction[label] for label in prediction.labels] if prediction else []
    return {
        "status": report.status,
        "codes": [reason.code for reason in (*report.reasons, *report.flags)],
        "calls": {
            s.label: "open" if s.abstained else "positive" if s.positive else "negative" for s in scores
        },
        "probabilities": {score.label: score.probability for score in scores},
        "ratio": measured.cardiothoracic_ratio if measured else None,
        "in_lungs": {one.label: one.in_lungs for one in report.heatmaps if one.in_lungs >= 0},
    }


def dice(found: Array, expected: Array | None) -> dict[str, float]:
    """Structure -> Dice of two masks (H, W) of 0..3; 0 if they differ in size, 1 where neither has it."""
    if expected is None or found.shape != expected.shape:
        return dict.fromkeys(STRUCTURES, 0.0)
    values = {}
    for value, name in enumerate(STRUCTURES, start=1):
        one, other = found == value, expected == value
        total = int(one.sum() + other.sum())
        values[name] = 2 * int((one & other).sum()) / total if total else 1.0
    return values


def _decoded(path: Path, original: Path) -> list[Outcome]:
    """Whether a DICOM file holds the image that it was made of."""
    _, _, layout, grey = stored(path.read_bytes(), 2**20, [])
    image = cv2.imread(str(original), cv2.IMREAD_UNCHANGED)
    assert image is not None  # noqa: S101
    if layout.allocated == 16:
        wrong = int((grey != image).sum())
        return [("", f"{wrong} of {image.size} pixels differ", "0", wrong == 0)]
    apart = float(np.abs(grey.astype(int) - (image >> 4)).mean())
    return [("", f"{apart:.2f} grey levels apart", f"<= {LOSSY:g}", apart <= LOSSY)]
