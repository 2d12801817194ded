"""From logits to probabilities, thresholds and the films that are better left open.

Everything is fitted on tuning films, stored in the card by label name, and applied from there.
"""

from __future__ import annotations

import numpy as np

from hilum.card import Calibration, Card, Threshold
from hilum.errors import CheckpointError, ConfigError
from hilum.metrics import forecasts, labelled, tally
from hilum.types import Array, Prediction

FEWEST = 20
"""Films of either class below which a slope is not worth fitting."""


def fit_platt(logits: Array, truth: Array) -> Calibration:
    """Fit probability = sigmoid(slope * logit + intercept) for one label.

    Takes logits (N,) and truth (N,) of 0, 1 or NaN (left out). With fewer than FEWEST films of either class,
    or if the slope would not be positive, the slope is 1 and the intercept alone is fitted. The targets are
    drawn in from 0 and 1 (Platt 1999), so that films which the logit parts cleanly give finite numbers.
    """
    truth, logits = labelled(truth, logits)
    if not np.isfinite(logits).all():
        raise ConfigError("a labelled film has an infinite logit; leave failed films out of both arrays")
    if not len(truth):
        return Calibration()
    events = int(truth.sum())
    others = len(truth) - events
    target = _drawn_in(truth)
    if min(events, others) >= FEWEST and np.ptp(logits) > 0:
        slope, intercept = _fit_line(logits, target)
        if slope > 0:
            return Calibration(slope=slope, intercept=intercept, events=events)
    return Calibration(slope=1.0, intercept=_fit_intercept(logits, target), events=events)


def _drawn_in(truth: Array) -> Array:
    """Targets a little inside 0 and 1, the less the more films there are (Platt 1999)."""
    events = truth.sum()
    return np.asarray(np.where(truth == 1, (events + 1) / (events + 2), 1 / (len(truth) - events + 2)))


def fit_intercept(logits: Array, truth: Array, *, slope: float) -> Calibration:
    """Fit the intercept of one label, its slope given; logits (N,) and truth (N,) of 0 and 1.

    The targets are drawn in as in `fit_platt`.
    """
    events = int(truth.sum())
    target = _drawn_in(truth)
    return Calibration(slope=slope, intercept=_fit_intercept(slope * logits, target), events=events)


def fit_temperature(logits: Array, truth: Array, was: Calibration) -> Calibration:
    """Fit what the log-odds of a calibration are divided by, where 0 stays 0 (Guo et al., ICML 2017).

    Takes logits (N,) and truth (N,) of 0 and 1. By golden section over temperatures from a twentieth to 20.
    """
    line = was.slope * logits + was.intercept

    def loss(cold: float) -> float:
        return float(np.sum(np.logaddexp(0, np.exp(cold) * line) - truth * np.exp(cold) * line))

    low, high = -np.log(20), np.log(20)
    step = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        one, other = high - step * (high - low), low + step * (high - low)
        low, high = (low, other) if loss(one) < loss(other) else (one, high)
    by = float(np.exp((low + high) / 2))
    return Calibration(slope=by * was.slope, intercept=by * was.intercept, events=int(truth.sum()))


def _fit_line(logits: Array, target: Array) -> tuple[float, float]:
    """Slope and intercept of least log loss, by Newton steps that are halved until they help."""
    centre, scale = logits.mean(), logits.std()
    design = np.stack([(logits - centre) / scale, np.ones_like(logits)], axis=1)

    def loss(weights: Array) -> float:
        line = design @ weights
        return float(np.sum(np.logaddexp(0, line) - target * line))

    weights = np.array([0.0, _logit(target.mean())])
    for _ in range(100):
        probability = _sigmoid(design @ weights)
        gradient = design.T @ (probability - target)
        hessian = (design.T * (probability * (1 - probability))) @ design
        step = np.linalg.solve(hessian + 1e-9 * np.eye(2), gradient)
        size = 1.0
        while loss(weights - size * step) > loss(weights) and size > 1e-9:
            size /= 2
        weights = weights - size * step
        if np.abs(step).max() < 1e-9:
            break
    slope = weights[0] / scale
    return float(slope), float(weights[1] - slope * centre)


def _fit_intercept(logits: Array, target: Array) -> float:
    """The intercept at which mean probability and mean target agree, by halving an interval."""
    low, high = -logits.max() - 40, -logits.min() + 40  # sigmoid(-40) is 4e-18, below any mean target
    for _ in range(80):
        middle = (low + high) / 2
        if _sigmoid(logits + middle).mean() < target.mean():
            low = middle
        else:
            high = middle
    return float((low + high) / 2)


def fit_threshold(probabilities: Array, truth: Array, *, abstain: float = 0.1) -> Threshold:
    """Choose where one label turns positive, and the band around it that is left open.

    Takes probabilities (N,) and truth (N,) of 0, 1 or NaN (left out). The value lies midway between the two
    neighbouring scores that give the largest Youden index (of equals, the most sensitive). The band reaches
    equally far to both sides in log-odds and holds the `abstain` share (0..1) of the labelled films, those
    nearest to the value; films of equal distance go in or stay out together, so ties can make it less.
    Where no cut beats chance, value, low and high are 0.5 and the rule says why.
    """
    if not 0 <= abstain < 1:
        raise ConfigError(f"abstain is {abstain:g}; give the share of films to leave open, from 0 up to 1")
    values, positives, negatives = tally(*forecasts(truth, probabilities))
    if not positives.sum() or not negatives.sum():
        return Threshold(value=0.5, low=0.5, high=0.5, rule="0.5: tuning films of both classes are lacking")
    # Youden's index times both counts: whole numbers, so equal cuts compare as equal.
    youden = np.cumsum(negatives) * positives.sum() - np.cumsum(positives) * negatives.sum()
    best = int(np.argmax(youden))
    if youden[best] <= 0:
        return Threshold(value=0.5, low=0.5, high=0.5, rule="0.5: no cut on the tuning films beats chance")
    value = float((values[best] + values[best + 1]) / 2)
    low, high = _band(np.repeat(values, (positives + negatives).astype(int)), value, abstain)
    rule = f"Youden index; the nearest {100 * abstain:g} % of tuning films are left open"
    return Threshold(value=value, low=low, high=high, rule=rule)


def _band(scores: Array, value: float, share: float) -> tuple[float, float]:
    """Bounds that lie equally far from value in log-odds and hold this share of the scores."""
    centre = _logit(value)
    distances = np.sort(np.abs(_logit(scores) - centre))
    outside = distances[min(round(share * len(scores)), len(scores) - 1)]
    inside = distances[distances < outside]
    if not len(inside):
        return value, value
    reach = (inside[-1] + outside) / 2
    return float(_sigmoid(centre - reach)), float(_sigmoid(centre + reach))


def probabilities(logits: Array, card: Card) -> Array:
    """Turn logits (N, C) in the order of card.labels into probabilities (N, C) float64.

    Sigmoid cards apply each label's calibration, if the card has one; softmax cards ignore calibration, for
    rows that were bent label by label would no longer sum to 1. Raises CheckpointError where the model
    returned another number of outputs than the card names, or anything but finite numbers.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or logits.shape[1] != len(card.labels):
        raise CheckpointError(
            f"{card.name}: logits {logits.shape}, expected (films, {len(card.labels)}); "
            "use the card that was written with this model"
        )
    if not np.isfinite(logits).all():
        raise CheckpointError(f"{card.name}: a logit is not finite; check the film, then the model's files")
    if card.activation == "softmax":
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))
    scales = [card.calibration.get(label, Calibration()) for label in card.labels]
    return _sigmoid(logits * [scale.slope for scale in scales] + [scale.intercept for scale in scales])


def margins(scores: Array, card: Card) -> Array:
    """How far probabilities (N, C) lie above where `predict` turns their labels positive, in logits."""
    if card.activation == "softmax" and not card.thresholds:
        return np.asarray(_logit(scores) - _logit(scores.max(axis=1, keepdims=True)))
    levels = [card.thresholds[name].value if name in card.thresholds else 0.5 for name in card.labels]
    return np.asarray(_logit(scores) - _logit(np.array(levels)))


def predict(logits_row: Array, card: Card) -> Prediction:
    """Judge one film from its logits (C,): positive from the threshold up, abstained within its band.

    A label without a threshold turns positive at 0.5. A softmax card without any thresholds calls the most
    probable label: every label's threshold is then the largest probability of this film.
    """
    row = probabilities(np.asarray(logits_row)[None], card)[0].tolist()
    middle = max(row) if card.activation == "softmax" and not card.thresholds else 0.5
    unset = Threshold(value=middle, low=middle, high=middle, rule="")
    rules = [card.thresholds.get(label, unset) for label in card.labels]
    return Prediction(
        labels=card.labels,
        probabilities=tuple(row),
        thresholds=tuple(rule.value for rule in rules),
        positive=tuple(p >= rule.value for p, rule in zip(row, rules, strict=True)),
        abstained=tuple(rule.low <= p < rule.high for p, rule in zip(row, rules, strict=True)),
    )


def moved(probability: float, was: Calibration, now: Calibration) -> float:
    """What one calibration says of the logit of which another said `probability`."""
    logit = (_logit(probability) - was.intercept) / was.slope
    return float(_sigmoid(now.slope * logit + now.intercept))


def baseline(card: Card, label: str) -> float:
    """The logit at which one label turns positive; 0 for softmax, where only differences count."""
    if card.activation == "softmax" or label not in card.thresholds:
        return 0.0
    fitted = card.calibration.get(label, Calibration())
    return float((_logit(card.thresholds[label].value) - fitted.intercept) / fitted.slope)


def _sigmoid(logits: Array) -> Array:
    """1 / (1 + exp(-logits)), without overflow at either end."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits)))


def _logit(probability: Array | float) -> Array:
    """The log-odds of a probability; 0 and 1 count as 1e-15 away from themselves."""
    inside = np.clip(probability, 1e-15, 1 - 1e-15)
    return np.asarray(np.log(inside) - np.log1p(-inside))
