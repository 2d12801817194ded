"""What the classifiers say of a film: a general one and, where it abstains, a specialist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hilum.calibration.decide import baseline, predict, with_consistent_calls, without_sets
from hilum.explain import occlusion
from hilum.gate import shown
from hilum.prepare import chest, prepare
from hilum.runtime import Runtime
from hilum.types import Anatomy, Array, Explain, Prediction, Radiograph


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The prediction for one film, and the evidence for it."""

    prediction: Prediction
    evidence: Mapping[str, Evidence]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Where on the film the logit of one label comes from."""

    map: Array  # (h, w) in logits
    method: str  # as in Heatmap
    baseline: float  # the logit at which the label turns positive
    part: tuple[slice, slice] | None  # rows and columns of the film that were seen; None: all


def classify(
    general: Runtime,
    specialist: Runtime | None,
    film: Radiograph,
    anatomy: Anatomy,
    *,
    explain: Explain = "evidence",
) -> Judgement:
    """Judge a film with a classifier, and with the specialist if one of the specialist's labels is left open.

    `anatomy` holds the film's outlines, for models that see a part of the film or take outlines as input.
    `explain` chooses the heatmaps. Occlusion, which also replaces evidence that a model does not give, takes
    hundreds of runs a film.
    """
    found = _judged(general, film, anatomy, explain)
    doubled: tuple[str, ...] = ()
    if specialist is not None:
        doubled = specialist.card.labels
        if hesitates(found.prediction, doubled):
            second = _judged(specialist, film, anatomy, explain)
            prediction = consult(found.prediction, second.prediction)
            # The general model's maps of these labels explain scores that no longer count.
            own = {label: one for label, one in found.evidence.items() if label not in doubled}
            found = Judgement(prediction=prediction, evidence=own | dict(second.evidence))
    return replace(found, prediction=with_consistent_calls(without_sets(found.prediction, doubled)))


def hesitates(prediction: Prediction, labels: Sequence[str]) -> bool:
    """Whether the model abstained on any of these labels."""
    return any(prediction[label].abstained for label in labels)


def consult(general: Prediction, specialist: Prediction) -> Prediction:
    """The general prediction with the specialist's scores for the specialist's labels, stage "specialist"."""
    said = {label: specialist[label] for label in specialist.labels}
    scores = [said.get(label, general[label]) for label in general.labels]
    return replace(
        general,
        probabilities=tuple(score.probability for score in scores),
        thresholds=tuple(score.threshold for score in scores),
        positive=tuple(score.positive for score in scores),
        abstained=tuple(score.abstained for score in scores),
        plausible=tuple(score.plausible for score in scores),
        stage="specialist",
    )


def explained(prediction: Prediction) -> list[str]:
    """The labels worth a heatmap: the positive ones, or the most probable one if none is positive."""
    positive = [name for name, yes in zip(prediction.labels, prediction.positive, strict=True) if yes]
    return positive or [max(prediction.labels, key=lambda name: prediction[name].probability)]


def _judged(runtime: Runtime, film: Radiograph, anatomy: Anatomy, explain: Explain) -> Judgement:
    """What one classifier says of a film."""
    preparation = runtime.card.preparation
    mask = shown(anatomy, preparation)
    prepared = prepare(film.pixels, preparation, mask)
    outputs = runtime(prepared[None])
    own = outputs["evidence"][0] if explain == "evidence" and "evidence" in outputs else None
    part = chest(mask) if preparation.cut else None
    evidence = {} if explain == "none" else _evidence(runtime, prepared, own, part)
    return Judgement(prediction=predict(outputs["logits"][0], runtime.card), evidence=evidence)


def _evidence(
    runtime: Runtime, film: Array, own: Array | None, part: tuple[slice, slice] | None
) -> dict[str, Evidence]:
    """A map for every label of a prepared film: the network's `own` (C, h, w), else by occlusion."""
    starts = [baseline(runtime.card, label) for label in runtime.card.labels]
    method = "occlusion" if own is None else "evidence"
    if own is None:
        # A place that costs nothing when hidden is evidence neither for the label nor against it.
        own = (
            occlusion(runtime, film, softmax=runtime.card.activation == "softmax")
            + np.array(starts, np.float32)[:, None, None]
        )
    return {
        label: Evidence(map=plane, method=method, baseline=start, part=part)
        for label, plane, start in zip(runtime.card.labels, own, starts, strict=True)
    }
