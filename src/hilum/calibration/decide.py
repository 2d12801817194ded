"""From probabilities to calls: operating points, when to abstain, and what No Finding means.

Operating points are chosen on tuning films and stored in the card; calls use the card.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hilum.calibration.calibrate import logit, probabilities, sigmoid
from hilum.calibration.conformal import plausible
from hilum.card import Calibration, Card, Threshold
from hilum.errors import ConfigError
from hilum.labels import NO_FINDING
from hilum.statistics.metrics import forecasts, tally
from hilum.types import Array, Prediction

YOUDEN = "Youden index"

_FURTHEST = 100.0  # log-odds that a card may lean at most, so that factors stay finite
_ABSTAIN = 0.1  # the share of the tuning films, those nearest to a threshold, that it abstains on
_LEAST = 0.95  # sensitivity or specificity of the operating points named after them


def _youden(positives: Array, negatives: Array) -> int:
    # Youden's index times both counts: whole numbers, so equal cuts compare as equal.
    index = np.cumsum(negatives) * positives.sum() - np.cumsum(positives) * negatives.sum()
    best = int(np.argmax(index))
    return best if index[best] > 0 else len(index) - 1


def _sensitive(positives: Array, negatives: Array) -> int:
    """The last cut with enough positives above it; -1 if that is the cut below all scores."""
    del negatives
    missed = np.cumsum(positives)
    return int(np.searchsorted(missed, (1 - _LEAST) * positives.sum() + 1e-9, side="right")) - 1


def _specific(positives: Array, negatives: Array) -> int:
    """The first cut with enough negatives below it."""
    del positives
    return int(np.searchsorted(np.cumsum(negatives), _LEAST * negatives.sum() - 1e-9))


POINTS: dict[str, Callable[[Array, Array], int]] = {
    YOUDEN: _youden,
    f"sensitivity {_LEAST}": _sensitive,
    f"specificity {_LEAST}": _specific,
}
"""Operating points: positives and negatives at each distinct score, ascending -> the score to cut after."""


def fit_threshold(probabilities: Array, truth: Array, *, point: str = YOUDEN) -> Threshold:
    """Choose the threshold of one label, and the band around it in which the model abstains.

    Takes probabilities (N,) and truth (N,) of 0, 1 or NaN (left out). `point` of POINTS names the cut: the
    largest Youden index (of equals, the most sensitive), or the cut nearest to the other class with a
    sensitivity or specificity of at least 0.95. The threshold lies midway between the two scores next to the
    cut. Scores of exactly 1 can keep a specificity out of reach.
    The band reaches equally far to both sides in log-odds. It holds the tenth of the labelled films that is
    nearest to the threshold; films of equal distance go in or stay out together, so ties can make it less.
    If the films are of one class, or no cut has a Youden index above 0, threshold and band are 0.5 and the
    rule says why. Raises ConfigError for an unknown point.
    """
    if point not in POINTS:
        raise ConfigError(f"{point!r}: no operating point; choose from {', '.join(POINTS)}")
    values, positives, negatives = tally(*forecasts(truth, probabilities))
    if not positives.sum() or not negatives.sum():
        return _unset("0.5: tuning films of both classes are lacking")
    cut = POINTS[point](positives, negatives)
    if point == YOUDEN and cut == len(values) - 1:
        return _unset("0.5: no cut on the tuning films beats chance")
    edges = np.concatenate([[0.0], values, [1.0]])
    # Midway, and above the lower score even if no number lies between the two.
    value = max(float((edges[cut + 1] + edges[cut + 2]) / 2), float(np.nextafter(edges[cut + 1], 1)))
    low, high = _band(np.repeat(values, (positives + negatives).astype(int)), value, _ABSTAIN)
    rule = f"{point}; the nearest {100 * _ABSTAIN:g} % of tuning films are left open"
    return Threshold(value=value, low=low, high=high, rule=rule)


def _unset(why: str) -> Threshold:
    return Threshold(value=0.5, low=0.5, high=0.5, rule=why)


def _band(scores: Array, value: float, share: float) -> tuple[float, float]:
    """Bounds equally far from value in log-odds that hold this share of the scores."""
    centre = logit(value)
    distances = np.sort(np.abs(logit(scores) - centre))
    outside = distances[min(round(share * len(scores)), len(scores) - 1)]
    inside = distances[distances < outside]
    if not len(inside):
        return value, value
    reach = (inside[-1] + outside) / 2
    return float(sigmoid(centre - reach)), float(sigmoid(centre + reach))


def at_operating_point(card: Card, *, point: str = "", thresholds: Mapping[str, float] | None = None) -> Card:
    """The card with the thresholds of one of its operating points, and with the user's own.

    `thresholds` are probabilities, 0..1, by label; the model does not abstain around them. Raises ConfigError
    for a point or label that the card does not have, and for thresholds of a model that ranks its labels.
    """
    chosen = dict(card.thresholds)
    if point:
        if point not in card.points:
            known = ", ".join(card.points) or "none; fit some with hilum calibrate"
            raise ConfigError(f"{card.name} has no operating point {point!r}; its points: {known}")
        chosen |= card.points[point]
    if thresholds and card.ranks:
        raise ConfigError(f"{card.name}: calls the label that ranks first and has no thresholds to set")
    for label, value in (thresholds or {}).items():
        if label not in card.labels or not 0 <= value <= 1:
            raise ConfigError(
                f"threshold {label}={value:g}: give one of {', '.join(card.labels)} and a probability"
            )
        chosen[label] = Threshold(value=value, low=value, high=value, rule="the user's own")
    return card.model_copy(update={"thresholds": chosen})


def specialist_card(card: Card, *, point: str = "", thresholds: Mapping[str, float] | None = None) -> Card:
    """A specialist's card at the operating point of its classifier.

    Raises ConfigError for a point that it does not have, and if one of the user's `thresholds` is for a label
    of the specialist: the classifier would not abstain there, and so never ask the specialist.
    """
    if shared := [label for label in thresholds or {} if label in card.labels]:
        raise ConfigError(
            f"threshold {shared[0]}: {card.name} is asked only where the classifier abstains on that label, "
            "and with your own threshold it never abstains; leave out the threshold or the specialist"
        )
    return at_operating_point(card, point=point)


def lent(card: Card, others: Sequence[Card]) -> Card:
    """The card with the other folds' thresholds: for each label, their mean in log-odds.

    In a cross-validation, a fold's own thresholds were chosen on the films that it is judged by. Thresholds
    that could not be tuned are left out; if all are, the value is 0.5. Without others the card is unchanged.
    """
    thresholds = {}
    for label in card.thresholds if others else ():
        told = [other.thresholds[label] for other in others if label in other.thresholds]
        values = [float(logit(one.value)) for one in told if one.rule.startswith(YOUDEN)]
        if not values:
            thresholds[label] = _unset("0.5: no threshold could be tuned on the films of other folds")
            continue
        value = float(sigmoid(np.asarray(np.mean(values))))
        rule = f"{YOUDEN}, on the films of other folds"
        thresholds[label] = Threshold(value=value, low=value, high=value, rule=rule)
    return card.model_copy(update={"thresholds": {**card.thresholds, **thresholds}})


def margins(scores: Array, card: Card) -> Array:
    """Log-odds of each probability (N, C) minus those of its threshold.

    For a card that ranks its labels: minus those of the best other label, after `Card.leaning`.
    """
    if card.ranks and scores.shape[1] > 1:
        odds = scores * _weights(card)
        worth = odds / odds.sum(axis=1, keepdims=True) if card.leaning else scores
        second, first = np.sort(worth, axis=1)[:, -2:, None].transpose(1, 0, 2)
        return np.asarray(logit(worth) - logit(np.where(worth == first, second, first)))
    levels = [card.thresholds[name].value if name in card.thresholds else 0.5 for name in card.labels]
    return np.asarray(logit(scores) - logit(np.array(levels)))


def _weights(card: Card) -> Array:
    """The factor of each label's probability before the largest is called, (C,): 1 unless the card leans."""
    leaning = np.array([card.leaning.get(label, 0.0) for label in card.labels])
    return np.asarray(np.exp(np.clip(leaning, -_FURTHEST, _FURTHEST)))


def called(margins: Array, labels: tuple[str, ...]) -> Array:
    """Which labels are called positive, (N, C) bool, from their margins over the threshold, (N, C).

    A label is called from its threshold up; No Finding only if no finding is called.
    """
    calls = np.asarray(margins) >= 0
    if NO_FINDING in labels and len(labels) > 1:
        place = labels.index(NO_FINDING)
        calls[:, place] &= ~np.delete(calls, place, axis=1).any(axis=1)
    return calls


def predict(logits_row: Array, card: Card) -> Prediction:
    """Judge one film from its logits (C,): positive from the threshold up, abstained within its band.

    A label without a threshold turns positive at 0.5. A softmax card without thresholds calls the label that
    ranks first: the most probable one, unless the card leans. A label's threshold is then the probability at
    which it would rank first on this film. Each label is judged on its own;
    `with_consistent_calls` makes the calls agree.
    """
    scores = probabilities(np.asarray(logits_row)[None], card)
    row, rules = scores[0].tolist(), [_rule(card, label) for label in card.labels]
    levels = np.array([rule.value for rule in rules])
    calls = scores[0] >= levels
    if card.ranks:
        odds = scores[0] * _weights(card)
        calls = odds == odds.max()
        levels = np.where(calls, scores[0], np.minimum(odds.max() / _weights(card), 1))
    return Prediction(
        labels=card.labels,
        probabilities=tuple(row),
        thresholds=tuple(levels.tolist()),
        positive=tuple(calls.tolist()),
        abstained=tuple(rule.low <= p < rule.high for p, rule in zip(row, rules, strict=True)),
        plausible=tuple(
            plausible(p, card.sets.get(label)) for p, label in zip(row, card.labels, strict=True)
        ),
    )


def _rule(card: Card, label: str) -> Threshold:
    return card.thresholds.get(label, Threshold(value=0.5, low=0.5, high=0.5, rule=""))


def with_consistent_calls(prediction: Prediction) -> Prediction:
    """The prediction with a call on No Finding that agrees with those on the findings.

    A called finding excludes No Finding. If No Finding's own score would call it, but a finding is abstained,
    No Finding is abstained too.
    """
    labels = prediction.labels
    if NO_FINDING not in labels:
        return prediction
    place = labels.index(NO_FINDING)
    others = [i for i in range(len(labels)) if i != place]
    own = prediction.probabilities[place] >= prediction.thresholds[place]
    found = [prediction.positive[i] for i in others]
    positive, abstained = list(prediction.positive), list(prediction.abstained)
    positive[place] = own and not any(found)
    unsure = any(prediction.abstained[i] for i in others)
    sure = any(prediction.positive[i] and not prediction.abstained[i] for i in others)
    abstained[place] = not sure and (abstained[place] or (own and unsure))
    return replace(prediction, positive=tuple(positive), abstained=tuple(abstained))


def remarks(prediction: Prediction) -> tuple[str, ...]:
    """Notes on how the calls go together."""
    if NO_FINDING not in prediction.labels:
        return ()
    if not any(prediction.positive) and not any(prediction.abstained):
        return (f"neither {NO_FINDING} nor a finding is called: something else, or unsure",)
    none = prediction[NO_FINDING]
    if none.probability >= none.threshold and not none.positive:
        return (f"{NO_FINDING} would be called by its own score; a finding that is called excludes it",)
    return ()


def without_sets(prediction: Prediction, labels: Collection[str]) -> Prediction:
    """The prediction without sets for these labels: two models answered them, and sets are fitted for one."""
    pairs = zip(prediction.labels, prediction.plausible, strict=True) if prediction.plausible else ()
    return replace(prediction, plausible=tuple("" if name in labels else answer for name, answer in pairs))


def moved(probability: float, was: Calibration, now: Calibration) -> float:
    """The probability under calibration `now` of the logit that has this `probability` under `was`."""
    own = (logit(probability) - was.intercept) / was.slope
    return float(sigmoid(now.slope * own + now.intercept))


def baseline(card: Card, label: str) -> float:
    """The logit at which a label turns positive; 0 for softmax, where only differences matter."""
    if card.activation == "softmax":
        return 0.0
    fitted = card.calibration.get(label, Calibration())
    return float((logit(_rule(card, label).value) - fitted.intercept) / fitted.slope)
