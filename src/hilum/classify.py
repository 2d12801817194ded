"""From films to what the classifiers say of them: a general one and, where it hesitates, a specialist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hilum.calibration.decide import baseline, predict, settled, without_sets
from hilum.explain import occlusion
from hilum.gate import shown
from hilum.prepare import chest, prepare
from hilum.runtime import Runtime
from hilum.types import Anatomy, Array, Explain, Prediction, Radiograph

_BATCH = 4  # films a run of a network; more gains nothing on a CPU and costs memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is said of one film, and what for."""

    prediction: Prediction
    evidence: Mapping[str, Evidence]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Where on the film one label's logit comes from."""

    map: Array  # (h, w) in logits
    method: str  # as in Heatmap
    baseline: float  # the logit at which the label turns positive
    part: tuple[slice, slice] | None  # rows and columns of the film that were seen; None: all


def classify(
    general: Runtime,
    specialist: Runtime | None,
    films: Sequence[Radiograph],
    anatomies: Sequence[Anatomy | None],
    *,
    explain: Explain = "evidence",
) -> list[Judgement]:
    """Judge films with a classifier; those on which it hesitates among the specialist's labels, with both.

    `anatomies` are the films' outlines, for models that look at a part of the film or are told of outlines.
    `explain` says what for; occlusion, also in the place of evidence that a model does not give, takes
    hundreds of runs a film.
    """
    found = _judged(general, films, anatomies, explain)
    doubled: tuple[str, ...] = ()
    if specialist is not None:
        _ask(specialist, found, films, anatomies, explain)
        doubled = specialist.card.labels
    return [replace(one, prediction=settled(without_sets(one.prediction, doubled))) for one in found]


def _ask(
    specialist: Runtime,
    found: list[Judgement],
    films: Sequence[Radiograph],
    anatomies: Sequence[Anatomy | None],
    explain: Explain,
) -> None:
    """Write the specialist's word over the judgements of those films on which the classifier hesitates."""
    asked = [i for i, one in enumerate(found) if hesitates(one.prediction, specialist.card.labels)]
    seconds = _judged(specialist, [films[i] for i in asked], [anatomies[i] for i in asked], explain)
    for i, second in zip(asked, seconds, strict=True):
        prediction = consult(found[i].prediction, second.prediction)
        evidence = {
            label: shown for label, shown in found[i].evidence.items() if label not in specialist.card.labels
        }
        found[i] = Judgement(prediction=prediction, evidence=evidence | dict(second.evidence))


def hesitates(prediction: Prediction, labels: Sequence[str]) -> bool:
    """Whether the call on any of these labels was left open."""
    return any(prediction[label].abstained for label in labels)


def consult(general: Prediction, specialist: Prediction) -> Prediction:
    """The general prediction with the specialist's word on the specialist's labels, stage "specialist"."""
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
    """The labels worth a heatmap: the positive ones, or the most probable where none is."""
    positive = [name for name, yes in zip(prediction.labels, prediction.positive, strict=True) if yes]
    return positive or [max(prediction.labels, key=lambda name: prediction[name].probability)]


def _judged(
    runtime: Runtime, films: Sequence[Radiograph], anatomies: Sequence[Anatomy | None], explain: Explain
) -> list[Judgement]:
    """One classifier's word on each film, a few films at a time."""
    found = []
    preparation = runtime.card.preparation
    for first in range(0, len(films), _BATCH):
        some = films[first : first + _BATCH]
        some_anatomies = anatomies[first : first + _BATCH]
        masks = [None if one is None else shown(one, preparation) for one in some_anatomies]
        inputs = np.stack(
            [prepare(film.pixels, preparation, mask) for film, mask in zip(some, masks, strict=True)]
        )
        outputs = runtime(inputs)
        for i, mask in enumerate(masks):
            part = None if mask is None or not preparation.cut else chest(mask)
            own = outputs["evidence"][i] if explain == "evidence" and "evidence" in outputs else None
            evidence = {} if explain == "none" else _evidence(runtime, inputs[i], own, part)
            prediction = predict(outputs["logits"][i], runtime.card)
            found.append(Judgement(prediction=prediction, evidence=evidence))
    return found


def _evidence(
    runtime: Runtime, film: Array, own: Array | None, part: tuple[slice, slice] | None
) -> dict[str, Evidence]:
    """Every label's map of a prepared film: the network's `own` (C, h, w), or, without one, by occlusion."""
    starts = [baseline(runtime.card, label) for label in runtime.card.labels]
    method = "occlusion" if own is None else "evidence"
    if own is None:
        # A place that costs nothing when hidden speaks neither for the label nor against it.
        own = (
            occlusion(runtime, film, softmax=runtime.card.activation == "softmax")
            + np.array(starts, np.float32)[:, None, None]
        )
    return {
        label: Evidence(map=plane, method=method, baseline=start, part=part)
        for label, plane, start in zip(runtime.card.labels, own, starts, strict=True)
    }
