"""A checkpoint's probabilities and thresholds fitted anew to a site's own labelled films. Needs no torch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from hilum.calibrate import FEWEST, fit_intercept, fit_platt, fit_temperature, fit_threshold, probabilities
from hilum.card import CARD, Calibration, Card, Threshold, card_json
from hilum.data.cache import Cache, Tick
from hilum.errors import ConfigError
from hilum.evaluate import logits_of
from hilum.metrics import labelled
from hilum.runtime import Runtime
from hilum.store import publish
from hilum.types import Array

_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What was chosen for one label, and the log loss a film of each way on patients it was not fitted on."""

    label: str
    films: int
    events: int
    method: str
    losses: Mapping[str, float]
    calibration: Calibration


def recalibrate(
    folder: Path,
    cache: Cache,
    out: Path,
    *,
    data: str,
    prevalences: Mapping[str, float] | None = None,
    tick: Tick | None = None,
) -> tuple[Card, list[Fit]]:
    """Write the checkpoint of `folder` to ``out/checkpoint`` with calibration and thresholds of these films.

    Of the ways to correct a label's probabilities the one is taken that says best what is true of patients it
    was not fitted on; with fewer than 20 films of either class the intercept alone moves, and the thresholds
    stay where they are on the logit. `data` names the films for the card; `prevalences` are those of the
    place where the model will work, where they differ from the films'. Raises ConfigError.
    """
    runtime = Runtime(folder)
    card = runtime.card
    if card.task != "classify" or card.activation != "sigmoid":
        raise ConfigError(f"{card.name}: only classifiers with independent labels have calibrations")
    if (out / "checkpoint").exists():
        raise ConfigError(f"{out}: holds a checkpoint already; choose another out")
    truth = cache.truth(card.labels)
    if np.isnan(truth).all():
        raise ConfigError(f"the films carry none of {', '.join(card.labels)}; give other data")
    logits = logits_of(runtime, cache, tick)
    patients = np.array([sample.patient for sample in cache.samples])
    fits = [
        _fit(label, card, logits[:, i], truth[:, i], patients, (prevalences or {}).get(label))
        for i, label in enumerate(card.labels)
    ]
    fitted = card.model_copy(
        update={
            "calibration": {one.label: one.calibration for one in fits},
            "calibration_data": f"{len(truth)} films of {len(set(patients.tolist()))} patients, {data}",
        }
    )
    said = probabilities(logits, fitted)
    thresholds = {
        one.label: _threshold(card, one, said[:, i], truth[:, i])
        for i, one in enumerate(fits)
        if one.label in card.thresholds or one.events >= FEWEST
    }
    fitted = fitted.model_copy(update={"thresholds": thresholds, "threshold_data": fitted.calibration_data})
    _copy(folder, out / "checkpoint", fitted)
    return fitted, fits


def _fit(
    label: str, card: Card, logits: Array, truth: Array, patients: Array, prevalence: float | None
) -> Fit:
    """The best correction of one label's probabilities."""
    was = card.calibration.get(label, Calibration())
    ways: dict[str, Callable[[Array, Array], Calibration]] = {
        "unchanged": lambda *_: was,
        "intercept": partial(fit_intercept, slope=was.slope),
        "temperature": partial(fit_temperature, was=was),
        "Platt": fit_platt,
    }
    known = ~np.isnan(truth)
    true, own = labelled(truth, logits)
    events = int(true.sum())
    rarer = min(events, len(true) - events)
    if rarer < FEWEST:
        ways = {name: ways[name] for name in ("unchanged", "intercept")[: 1 + (rarer > 0)]}
    # Patients in the order of a draw that their number alone decides.
    _, patient = np.unique(patients[known], return_inverse=True)
    fold = np.random.default_rng(0).permutation(max(patient, default=-1) + 1)[patient] % _FOLDS
    losses = {
        name: float(
            np.sum(
                [
                    _loss(fit(own[fold != k], true[fold != k]), own[fold == k], true[fold == k])
                    for k in range(_FOLDS)
                ]
            )
            / max(len(true), 1)
        )
        for name, fit in ways.items()
    }
    method = min(losses, key=lambda name: losses[name])
    chosen = ways[method](own, true)
    if prevalence is not None and rarer:
        seen = events / len(true)
        shift = np.log(prevalence / (1 - prevalence)) - np.log(seen / (1 - seen))
        chosen = chosen.model_copy(update={"intercept": float(chosen.intercept + shift)})
    calibration = chosen.model_copy(update={"events": events})
    return Fit(
        label=label, films=len(true), events=events, method=method, losses=losses, calibration=calibration
    )


def _loss(fitted: Calibration, logits: Array, truth: Array) -> float:
    """Log loss, summed over films."""
    line = fitted.slope * logits + fitted.intercept
    return float(np.sum(np.logaddexp(0, line) - truth * line))


def _threshold(card: Card, fit: Fit, said: Array, truth: Array) -> Threshold:
    """Chosen anew where the films suffice; else the old one, at the same logit as before."""
    if min(fit.events, fit.films - fit.events) >= FEWEST:
        return fit_threshold(said, truth)
    old, was, now = (
        card.thresholds[fit.label],
        card.calibration.get(fit.label, Calibration()),
        fit.calibration,
    )

    def moved(value: float) -> float:
        inside = min(max(value, 1e-9), 1 - 1e-9)
        logit = (np.log(inside / (1 - inside)) - was.intercept) / was.slope
        return float(1 / (1 + np.exp(-(now.slope * logit + now.intercept))))

    rule = f"{old.rule}; kept at its logit, {fit.events} positive films here"
    return Threshold(value=moved(old.value), low=moved(old.low), high=moved(old.high), rule=rule)


def _copy(folder: Path, out: Path, card: Card) -> None:
    """The checkpoint's files beside another card."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for name in card.files:
            if (folder / name).is_file():  # the light install leaves out what only training needs
                shutil.copyfile(folder / name, draft / name)
        (draft / CARD).write_text(card_json(card), encoding="utf-8")
        publish(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
