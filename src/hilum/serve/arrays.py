"""The pictures of a report as arrays, for viewers that draw them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hilum.classify import Evidence, classify
from hilum.explain import heatmap
from hilum.pipeline import Pipeline
from hilum.reporting.picture import strongest
from hilum.serve.faults import ServiceError, missing
from hilum.serve.recent import Kept
from hilum.types import Anatomy, Array, Report

WINDOW = "32767.5,65535"  # centre and width that show the whole range of the film
_LONGEST = 256  # longest side of an evidence map in cells; networks resolve no more


def film(report: Report) -> Array:
    """The film's pixels times 65535, (H, W) little-endian uint16, air dark."""
    return np.rint(report.radiograph.pixels * np.float32(65535)).astype("<u2")


def mask(report: Report) -> Array:
    """The mask (H, W) uint8, 0..3 as in Anatomy. Raises ServiceError if the film was rejected."""
    if report.anatomy is None:
        raise ServiceError(404, "rejected", "the film was rejected before segmentation", "see its reasons")
    return report.anatomy.mask


def evidence(kept: Kept, pipeline: Pipeline, label: str) -> tuple[Array, float]:
    """A label's evidence map of the whole film, above the logit at which the label turns positive; its peak.

    (h, w) little-endian float32 in logits, at most 256 on the long side. Raises ServiceError if the label is
    unknown or the film was rejected.
    """
    if label not in pipeline.labels:
        raise missing("label")
    anatomy = kept.report.anatomy
    if anatomy is None or kept.report.prediction is None:
        raise ServiceError(404, "rejected", "the film was rejected, no label was scored", "see its reasons")
    one = _evidence(kept, pipeline, anatomy)[label]
    laid = heatmap(
        one.map, label=label, anatomy=anatomy, baseline=one.baseline, part=one.part, method=one.method
    )
    scale = min(1.0, _LONGEST / max(laid.shape))
    rows, columns = (max(1, round(side * scale)) for side in laid.shape)
    above = laid.over((rows, columns)) - np.float32(laid.baseline)
    return above.astype("<f4"), strongest(laid)


def _evidence(kept: Kept, pipeline: Pipeline, anatomy: Anatomy) -> Mapping[str, Evidence]:
    """Every label's evidence; a report itself has that of the labels worth telling."""
    with kept.lock:
        if kept.evidence is None and pipeline.classifier is not None:
            judged = classify(pipeline.classifier, pipeline.specialist, kept.report.radiograph, anatomy)
            kept.evidence = judged.evidence
        return kept.evidence or {}
