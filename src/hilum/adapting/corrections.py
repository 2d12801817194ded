"""Corrections of a classifier's probabilities, tried on held-out patients; the simplest good one is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from hilum.calibration.calibrate import (
    FEWEST,
    fit_classes,
    fit_intercept,
    fit_platt,
    fit_temperature,
    fit_temperature_of_classes,
    lines,
    losses_of_classes,
    of_one_class,
)
from hilum.card import Calibration, Card
from hilum.statistics.folds import by_patient, rarer
from hilum.statistics.metrics import labelled
from hilum.statistics.scores import patient_weights
from hilum.types import Array

_Fitted = TypeVar("_Fitted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The correction chosen for one label, and the mean log loss of each method on held-out patients.

    Losses are NaN if there are too few patients.
    """

    label: str
    films: int
    events: int
    method: str
    losses: Mapping[str, float]
    calibration: Calibration


def of_label(
    label: str,
    card: Card,
    logits: Array,
    truth: Array,
    patients: Array,
    prevalence: float | None,
    about: str,
) -> Fit:
    """The best correction of one label's probabilities.

    Where a prevalence is stated, the intercept is first fitted to the films, then shifted to it.
    """
    was = card.calibration.get(label, Calibration())
    known = ~np.isnan(truth)
    true, own = labelled(truth, logits)
    names = patients[known]
    ways: dict[str, Callable[[Array, Array, Array], Calibration]] = {"unchanged": lambda *_: was}
    folds = by_patient(true, names)
    fewest = min((rarer(true[fold], names[fold]) for fold, _ in folds), default=0)
    if fewest:
        ways["intercept"] = partial(fit_intercept, slope=was.slope)
    if fewest >= FEWEST:
        ways |= {"temperature": partial(fit_temperature, was=was), "Platt": fit_platt}
    losses = _tried(ways, folds, own, true, names, _loss)
    method = _simplest(losses) if folds else "unchanged"
    if prevalence is not None and method == "unchanged":
        method = "intercept"
        ways[method] = partial(fit_intercept, slope=was.slope)
    chosen = was if method == "unchanged" else ways[method](own, true, names)
    if prevalence is not None:
        seen = np.average(true, weights=patient_weights(names))
        shift = np.log(prevalence / (1 - prevalence)) - np.log(seen / (1 - seen))
        corrected = {"intercept": float(chosen.intercept + shift), "prevalence": prevalence}
        chosen = chosen.model_copy(update=corrected)
    if chosen is not was:
        chosen = chosen.model_copy(update={"films": about})
    return Fit(
        label=label,
        films=len(true),
        events=int(true.sum()),
        method=method,
        losses=_means(losses),
        calibration=chosen,
    )


def of_classes(card: Card, logits: Array, truth: Array, patients: Array, about: str) -> list[Fit]:
    """The best correction of labels that exclude one another, all corrected together: one `Fit` a label."""
    was = tuple(card.calibration.get(label, Calibration()) for label in card.labels)
    known = of_one_class(truth)
    own, true, names = logits[known], truth[known], patients[known]
    place = np.argmax(true, axis=1)
    ways: dict[str, Callable[[Array, Array, Array], Sequence[Calibration]]] = {
        "unchanged": lambda *_: was,
        "temperature": partial(fit_temperature_of_classes, was=was),
        "Platt": fit_classes,
    }
    # The split of patients needs one class, whichever: take the commonest.
    commonest = (place == np.bincount(place, minlength=1).argmax()).astype(float)
    folds = by_patient(commonest, names) if len(own) else []
    losses = _tried(ways, folds, own, true, names, _loss_of_classes)
    method = _simplest(losses) if folds and len(np.unique(names)) >= FEWEST else "unchanged"
    chosen = was
    if method != "unchanged":
        fitted = ways[method](own, true, names)
        chosen = tuple(one.model_copy(update={"films": about}) for one in fitted)
    return [
        Fit(
            label=label,
            films=len(own),
            events=int(true[:, i].sum()),
            method=method,
            losses=_means(losses),
            calibration=chosen[i],
        )
        for i, label in enumerate(card.labels)
    ]


def _tried(
    ways: Mapping[str, Callable[[Array, Array, Array], _Fitted]],
    folds: Sequence[tuple[Array, Array]],
    logits: Array,
    truth: Array,
    patients: Array,
    loss: Callable[[_Fitted, Array, Array], Array],
) -> dict[str, Array]:
    """Each patient's loss by each method, fitted on the folds without that patient."""
    found = {}
    for name, fit in ways.items():
        of_films = np.full(len(truth), np.nan)
        for fold, other in folds:
            fitted = fit(logits[fold], truth[fold], patients[fold])
            of_films[other] = loss(fitted, logits[other], truth[other])
        found[name] = _of_patients(of_films, patients)
    return found


def _means(losses: Mapping[str, Array]) -> dict[str, float]:
    return {name: float(loss.mean()) if len(loss) else float("nan") for name, loss in losses.items()}


def _simplest(losses: Mapping[str, Array]) -> str:
    """The first method, in the order given, whose loss is within a standard error of the best one's."""
    best = min(losses.values(), key=lambda loss: float(loss.sum()))
    return next(name for name, loss in losses.items() if _close(loss - best))


def _close(more: Array) -> bool:
    return len(more) < 2 or bool(more.mean() <= more.std(ddof=1) / np.sqrt(len(more)))


def _of_patients(losses: Array, patients: Array) -> Array:
    """Mean over each patient's films."""
    _, place, films = np.unique(patients, return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(place, weights=losses) / films)


def _loss(fitted: Calibration, logits: Array, truth: Array) -> Array:
    """Log loss of each film."""
    line = fitted.slope * logits + fitted.intercept
    return np.asarray(np.logaddexp(0, line) - truth * line)


def _loss_of_classes(fitted: Sequence[Calibration], logits: Array, truth: Array) -> Array:
    """Log loss of each film, for labels that exclude one another."""
    return losses_of_classes(lines(fitted, logits), np.argmax(truth, axis=1))
