"""A checkpoint's probabilities and thresholds, fitted to a site's own labelled films. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hilum.adapting.corrections import Fit, of_classes, of_label
from hilum.calibration.calibrate import FEWEST, probabilities
from hilum.calibration.conformal import fit_sets
from hilum.calibration.decide import POINTS, YOUDEN, fit_threshold, moved
from hilum.card import Calibration, Card, Threshold, copied, refuse_overwrite
from hilum.data.cache import Cache
from hilum.errors import ConfigError
from hilum.evaluation.evaluate import logits_of
from hilum.runtime import Runtime
from hilum.types import Array, Tick


def recalibrate(
    folder: Path,
    cache: Cache,
    out: Path,
    *,
    data: str,
    point: str = YOUDEN,
    prevalences: Mapping[str, float] | None = None,
    tick: Tick | None = None,
) -> tuple[Card, list[Fit]]:
    """Write the checkpoint of `folder` to ``out/checkpoint``, recalibrated on these films.

    Several corrections of a label's probabilities are tried on patients they were not fitted on. The simplest
    one is taken whose loss is within a standard error of the best one's. With fewer than 20 patients of
    either class to fit on, only the intercept moves. With fewer than 20 films of either class, a threshold
    keeps its logit. A label with too few patients gets no prediction sets.
    Labels that exclude one another are corrected together: by a temperature, or by a temperature and an
    intercept each ("Platt"). If the card leans, its calls stay.
    Calls are made at the operating `point`. `data` names the films for the card. `prevalences` are those of
    the place where the model will work, if they differ from the films'. Raises ConfigError, also if the films
    can tell nothing about any label.
    """
    runtime = Runtime(folder)
    card = runtime.card
    ready(card, out, prevalences)
    if point not in POINTS:
        raise ConfigError(f"{point!r}: no operating point; choose from {', '.join(POINTS)}")
    truth = cache.truth(card.labels)
    if np.isnan(truth).all():
        raise ConfigError(f"the films have none of {', '.join(card.labels)}; give other data")
    for label in prevalences or {}:
        if not {0.0, 1.0} <= set(truth[:, card.labels.index(label)].tolist()):
            raise ConfigError(
                f"{label}: the films do not show both classes, its prevalence cannot be corrected"
            )
    logits = logits_of(runtime, cache, tick)
    patients = np.array([sample.patient for sample in cache.samples])
    about = f"{len(truth)} films of {len(set(patients.tolist()))} patients, {data}"
    if card.activation == "softmax":
        fits = of_classes(card, logits, truth, patients, about)
    else:
        fits = [
            of_label(label, card, logits[:, i], truth[:, i], patients, (prevalences or {}).get(label), about)
            for i, label in enumerate(card.labels)
        ]
    if not prevalences and all(np.isnan(one.losses["unchanged"]) for one in fits):
        raise ConfigError(
            f"{len(set(patients.tolist()))} patients: too few, or alike in every label, to fit anything to; "
            "give more films"
        )
    if card.activation == "softmax":
        fitted = {one.label: one.calibration for one in fits}
        now = card.model_copy(update={"calibration": fitted, "leaning": _leaning(card, fits)})
    else:
        now = _refitted(card, fits, logits, truth, patients, point, about)
    return _written(folder, out, card, now), fits


def _refitted(
    card: Card,
    fits: Sequence[Fit],
    logits: Array,
    truth: Array,
    patients: Array,
    point: str,
    about: str,
) -> Card:
    """The card with each label's calibration, and the operating points and sets that go with it."""
    fitted = card.model_copy(update={"calibration": {one.label: one.calibration for one in fits}})
    said = dict(zip(card.labels, probabilities(logits, fitted).T, strict=True))
    true = dict(zip(card.labels, truth.T, strict=True))
    points = {name: _thresholds(card, name, fits, said, true, about) for name in POINTS}
    sets = {label: fit_sets(said[label], true[label], patients) for label in card.labels}
    promised = {label: one.model_copy(update={"films": about}) for label, one in sets.items() if one}
    return fitted.model_copy(update={"thresholds": points[point], "points": points, "sets": promised})


def _written(folder: Path, out: Path, was: Card, now: Card) -> Card:
    """Write the new card beside the old model's files, with a new version: its results differ."""
    said = repr((now.calibration, now.thresholds, now.points, now.sets, *([now.leaning] * bool(now.leaning))))
    mark = hashlib.sha256(said.encode()).hexdigest()[:8]
    card = now.model_copy(update={"version": f"{was.version.partition('+')[0]}+{mark}"})
    copied(folder, out / "checkpoint", card)
    return card


def ready(card: Card, out: Path, prevalences: Mapping[str, float] | None = None) -> None:
    """Raise ConfigError if the model cannot be recalibrated, not by prevalences, or not to `out`."""
    if card.task != "classify":
        raise ConfigError(f"{card.name}: made to {card.task}; only classifiers have calibrations")
    if card.activation == "softmax" and prevalences:
        raise ConfigError(
            f"{card.name}: its labels exclude one another, a prevalence cannot be set for one; leave it out, "
            "or train with activation=sigmoid"
        )
    refuse_overwrite(out)


def _leaning(card: Card, fits: Sequence[Fit]) -> dict[str, float]:
    """The leaning that keeps the calls as in training, if training made rare classes count more.

    Cards of older versions lean without saying so: they had no intercepts.
    """
    was = card.leaning or (dict.fromkeys(card.labels, 0.0) if card.weighed else {})
    now = {one.label: one.calibration for one in fits}
    slope = now[card.labels[0]].slope / card.calibration.get(card.labels[0], Calibration()).slope
    leaning = {
        label: slope * (lean + card.calibration.get(label, Calibration()).intercept) - now[label].intercept
        for label, lean in was.items()
    }
    return leaning if any(leaning.values()) else {}


def _thresholds(
    card: Card,
    point: str,
    fits: Sequence[Fit],
    said: Mapping[str, Array],
    true: Mapping[str, Array],
    about: str,
) -> dict[str, Threshold]:
    """Thresholds of an operating point: chosen on these films if they suffice, else kept at their logit."""
    found = {}
    for fit in fits:
        if min(fit.events, fit.films - fit.events) >= FEWEST:
            chosen = fit_threshold(said[fit.label], true[fit.label], point=point)
            found[fit.label] = chosen.model_copy(update={"films": about})
        elif old := card.points.get(point, {}).get(fit.label) or card.thresholds.get(fit.label):
            found[fit.label] = _kept(card, fit, old)
    return found


def _kept(card: Card, fit: Fit, old: Threshold) -> Threshold:
    """A threshold at the same logit as before."""
    was = card.calibration.get(fit.label, Calibration())
    if fit.calibration == was:
        return old
    rule = f"{old.rule}; kept at its logit, {fit.events} positive films here"
    value, low, high = (moved(bound, was, fit.calibration) for bound in (old.value, old.low, old.high))
    return Threshold(value=value, low=low, high=high, rule=rule)
