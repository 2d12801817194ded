"""From logits to probabilities: fitted on tuning films, stored in the card by label, applied from there.

Each fit takes the films' patients, (N,), if they are known. Each patient then counts once, so that patients
with daily films do not dominate the probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hilum.card import Calibration, Card
from hilum.errors import CheckpointError, ConfigError
from hilum.statistics.folds import rarer
from hilum.statistics.metrics import counted, labelled
from hilum.types import Array

_Loss = Callable[[Array], float]
_Derivatives = Callable[[Array], tuple[Array, Array]]

FEWEST = 20
"""Patients (or films, without patients) of either class below which no slope is fitted."""


def fit_platt(logits: Array, truth: Array, patients: Array | None = None) -> Calibration:
    """Fit probability = sigmoid(slope * logit + intercept) for one label.

    Takes logits (N,) and truth (N,) of 0, 1 or NaN (left out). With fewer than FEWEST patients of either
    class (films, without `patients`), or if the slope would not be positive, the slope is 1 and only the
    intercept is fitted. The targets lie a little inside 0 and 1 (Platt 1999), so that a perfect separation
    gives finite numbers.
    """
    weights = counted(truth, patients)
    known = ~np.isnan(np.asarray(truth, np.float64))
    names = None if patients is None else np.asarray(patients)[known]
    truth, logits = labelled(truth, logits)
    if not np.isfinite(logits).all():
        raise ConfigError("a labelled film has an infinite logit; leave failed films out of both arrays")
    if not len(truth):
        return Calibration()
    events = int(truth.sum())
    target = _drawn_in(truth, weights)
    if rarer(truth, names) >= FEWEST and np.ptp(logits) > 0:
        slope, intercept = _fit_line(logits, target, weights)
        if slope > 0:
            return Calibration(slope=slope, intercept=intercept, events=events)
    return Calibration(slope=1.0, intercept=_fit_intercept(logits, target, weights), events=events)


def _drawn_in(truth: Array, weights: Array) -> Array:
    """Targets a little inside 0 and 1; the more films, the closer to 0 and 1 (Platt 1999)."""
    events, others = weights @ truth, weights @ (1 - truth)
    return np.asarray(np.where(truth == 1, (events + 1) / (events + 2), 1 / (others + 2)))


def fit_intercept(logits: Array, truth: Array, patients: Array | None = None, *, slope: float) -> Calibration:
    """Fit the intercept of one label for a given slope; logits (N,) and truth (N,) of 0 and 1.

    The targets are those of `fit_platt`.
    """
    weights = counted(truth, patients)
    target = _drawn_in(truth, weights)
    intercept = _fit_intercept(slope * logits, target, weights)
    return Calibration(slope=slope, intercept=intercept, events=int(truth.sum()))


def fit_temperature(
    logits: Array, truth: Array, patients: Array | None = None, *, was: Calibration
) -> Calibration:
    """Fit one temperature, which divides the log-odds of the calibration `was` (Guo et al., ICML 2017).

    Takes logits (N,) and truth (N,) of 0 and 1.
    """
    weights, line = counted(truth, patients), was.slope * logits + was.intercept

    def loss(cold: float) -> float:
        warm = np.exp(cold) * line
        return float(weights @ (np.logaddexp(0, warm) - truth * warm))

    by = float(np.exp(_lowest(loss)))
    return Calibration(slope=by * was.slope, intercept=by * was.intercept, events=int(truth.sum()))


def of_one_class(truth: Array) -> Array:
    """Films, (N,) bool, known to have exactly one class; truth is (N, C) of 0, 1 or NaN."""
    return np.asarray(((truth == 1).sum(axis=1) == 1) & ~np.isnan(truth).any(axis=1))


def fit_temperature_of_classes(
    logits: Array, truth: Array, patients: Array | None = None, *, was: Sequence[Calibration]
) -> tuple[Calibration, ...]:
    """Fit one temperature for all classes, which divides the log-odds of `was` (Guo et al., ICML 2017).

    Takes logits (N, C) and truth (N, C). Only films `of_one_class` count; without any, `was` is returned.
    """
    films = of_one_class(truth)
    own, place = lines(was, np.asarray(logits, np.float64)[films]), np.argmax(truth[films], axis=1)
    if not len(own):
        return tuple(was)
    weights = counted(np.where(films, 1, np.nan), patients)
    by = np.exp(_lowest(lambda cold: float(weights @ losses_of_classes(np.exp(cold) * own, place))))
    return tuple(
        Calibration(slope=float(by * one.slope), intercept=float(by * one.intercept), events=int(events))
        for one, events in zip(was, np.bincount(place, minlength=len(was)), strict=True)
    )


def fit_classes(logits: Array, truth: Array, patients: Array | None = None) -> tuple[Calibration, ...]:
    """Fit one slope for the logits (N, C) of all classes, and an intercept for each; the intercepts sum to 0.

    The intercepts correct for training that made rare classes count more (Alexandari et al., ICML 2020).
    Only films `of_one_class` in truth (N, C) count; without any, slopes are 1 and intercepts 0. The targets
    lie a little inside 0 and 1 as in `fit_platt`; all other classes share the rest equally.
    """
    films, classes = of_one_class(truth), int(truth.shape[1])
    if not films.any():
        return (Calibration(),) * classes
    if not np.isfinite(logits[films]).all():
        raise ConfigError("a labelled film has an infinite logit; leave failed films out of both arrays")
    own, weights = np.asarray(logits, np.float64)[films], counted(np.where(films, 1, np.nan), patients)
    true = np.asarray(truth, np.float64)[films]
    off = true @ (1 / (weights @ true + 2))  # for each film, the share that its own class does not get
    target = np.where(true == 1, 1 - off[:, None], off[:, None] / (classes - 1))
    slope = np.exp(_lowest(lambda cold: float(weights @ _cost(np.exp(cold) * own, target))))
    loss, derivatives = _of_lines(own, target, weights)
    found = _descend(np.append(slope, np.zeros(classes - 1)), loss, derivatives)
    if found[0] <= 0:  # the logits point the wrong way: fit the intercepts alone

        def of_intercepts(at: Array) -> tuple[Array, Array]:
            gradient, hessian = derivatives(np.append(slope, at))
            return gradient[1:], hessian[1:, 1:]

        alone = _descend(np.zeros(classes - 1), lambda at: loss(np.append(slope, at)), of_intercepts)
        found = np.append(slope, alone)
    intercepts = np.append(found[1:], 0) - np.append(found[1:], 0).mean()
    return tuple(
        Calibration(slope=float(found[0]), intercept=float(one), events=int(events))
        for one, events in zip(intercepts, true.sum(axis=0), strict=True)
    )


def _of_lines(logits: Array, target: Array, weights: Array) -> tuple[_Loss, _Derivatives]:
    """Log loss, and its gradient and Hessian, of a slope and the intercepts; the last intercept is 0."""

    def lines(at: Array) -> Array:
        return np.asarray(at[0] * logits + np.append(at[1:], 0))

    def loss(at: Array) -> float:
        return float(weights @ _cost(lines(at), target))

    def derivatives(at: Array) -> tuple[Array, Array]:
        said = softmax(lines(at))
        mean = (said * logits).sum(axis=1, keepdims=True)
        gradient = np.append(weights @ ((said - target) * logits).sum(axis=1), weights @ (said - target))
        hessian = np.empty((len(gradient), len(gradient)))
        hessian[0, 0] = weights @ (said * (logits - mean) ** 2).sum(axis=1)
        hessian[0, 1:] = hessian[1:, 0] = weights @ (said * (logits - mean))
        hessian[1:, 1:] = np.diag(weights @ said) - (said.T * weights) @ said
        return gradient[:-1], hessian[:-1, :-1]

    return loss, derivatives


def _cost(logits: Array, target: Array) -> Array:
    """Log loss of each film (N,) from logits (N, C) and target shares of the classes (N, C)."""
    top = logits.max(axis=1)
    whole = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return np.asarray(whole - (target * logits).sum(axis=1))


def lines(calibrations: Sequence[Calibration], logits: Array) -> Array:
    """Logits (N, C) after each label's slope and intercept, before sigmoid or softmax."""
    slopes, intercepts = ([getattr(one, part) for one in calibrations] for part in ("slope", "intercept"))
    return np.asarray(logits * slopes + intercepts)


def losses_of_classes(logits: Array, place: Array) -> Array:
    """Log loss of each film (N,) from logits (N, C) and the index of its class (N,)."""
    return _cost(logits, np.eye(logits.shape[1])[place])


def _lowest(loss: Callable[[float], float]) -> float:
    """The log of the number from 1/20 to 20 with the least loss, by golden-section search."""
    low, high = -np.log(20), np.log(20)
    step = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        one, other = high - step * (high - low), low + step * (high - low)
        low, high = (low, other) if loss(one) < loss(other) else (one, high)
    return float((low + high) / 2)


def _fit_line(logits: Array, target: Array, weights: Array) -> tuple[float, float]:
    """Slope and intercept with the least log loss."""
    centre, scale = logits.mean(), logits.std()
    design = np.stack([(logits - centre) / scale, np.ones_like(logits)], axis=1)

    def loss(line: Array) -> float:
        said = design @ line
        return float(weights @ (np.logaddexp(0, said) - target * said))

    def derivatives(line: Array) -> tuple[Array, Array]:
        probability = sigmoid(design @ line)
        gradient = design.T @ (weights * (probability - target))
        return gradient, (design.T * (weights * probability * (1 - probability))) @ design

    start = np.array([0.0, logit(np.average(target, weights=weights))])
    line = _descend(start, loss, derivatives)
    slope = line[0] / scale
    return float(slope), float(line[1] - slope * centre)


def _descend(at: Array, loss: _Loss, derivatives: _Derivatives) -> Array:
    """The minimum of a convex loss, by Newton steps that are halved until they lower the loss."""
    for _ in range(100):
        gradient, hessian = derivatives(at)
        step = np.linalg.solve(hessian + 1e-9 * np.eye(len(at)), gradient)
        size = 1.0
        while size > 1e-9 and not loss(at - size * step) <= loss(at):
            size /= 2
        if size <= 1e-9:  # no step lowers the loss further
            break
        at = at - size * step
        if np.abs(step).max() < 1e-9:
            break
    return at


def _fit_intercept(logits: Array, target: Array, weights: Array) -> float:
    """The intercept at which mean probability and mean target agree, by bisection."""
    low, high = -logits.max() - 40, -logits.min() + 40  # sigmoid(-40) is 4e-18, below any mean target
    for _ in range(80):
        middle = (low + high) / 2
        if weights @ (sigmoid(logits + middle) - target) < 0:
            low = middle
        else:
            high = middle
    return float((low + high) / 2)


def probabilities(logits: Array, card: Card) -> Array:
    """Turn logits (N, C) in the order of card.labels into probabilities (N, C) float64.

    Each label's calibration, if the card has one, is applied to its logits; for a softmax before the softmax,
    so that rows still sum to 1. Raises CheckpointError if the number of outputs is not the card's, or an
    output is not finite.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or logits.shape[1] != len(card.labels):
        raise CheckpointError(
            f"{card.name}: logits {logits.shape}, expected (films, {len(card.labels)}); "
            "use the card that was written with this model"
        )
    if not np.isfinite(logits).all():
        raise CheckpointError(f"{card.name}: a logit is not finite; check the film, then the model's files")
    line = lines([card.calibration.get(label, Calibration()) for label in card.labels], logits)
    if card.activation == "softmax":
        return softmax(line)
    return sigmoid(line)


def softmax(logits: Array) -> Array:
    """Probabilities (N, C) from logits (N, C); each row sums to 1."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def sigmoid(logits: Array) -> Array:
    """1 / (1 + exp(-logits)), without overflow at either end."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits)))


def logit(probability: Array | float) -> Array:
    """The log-odds of a probability; 0 and 1 count as 1e-15 and 1 - 1e-15."""
    inside = np.clip(probability, 1e-15, 1 - 1e-15)
    return np.asarray(np.log(inside) - np.log1p(-inside))
