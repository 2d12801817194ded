"""Scores under many sets of weights at once: a resample of patients only changes how often each film counts.

Each function sorts its films once and returns a `Statistic`: a function from weights (R, N) to the score
under each row, (R,) float64, NaN where it cannot be computed. Truth is (N,) of 0 and 1, none unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hilum.types import Array

Statistic = Callable[[Array], Array]


def auroc(truth: Array, score: Array) -> Statistic:
    """Chance that a positive film outscores a negative one, ties counting half: 0..1.

    The Mann-Whitney statistic (Hanley and McNeil 1982).
    """
    wins = _wins(truth, score)

    def statistic(weights: Array) -> Array:
        won, positives, negatives = wins(weights)
        return _ratio(won, positives * negatives)

    return statistic


def auroc_within(truth: Array, score: Array, groups: Array) -> Statistic:
    """Within-group AUROC: chance that a positive film outscores a negative one of its own group, 0..1.

    `groups` (N,) names each film's group. Differences between groups do not count, even if one has far more
    positive films. Groups without a negative film do not count either. Source: the covariate-adjusted AUROC,
    Janes and Pepe, Biometrika 2009.
    """
    parts = [groups == group for group in np.unique(groups)]
    each = [(own, _wins(truth[own], score[own])) for own in parts]

    def statistic(weights: Array) -> Array:
        shares, ill = np.zeros(len(weights)), np.zeros(len(weights))
        for own, wins in each:
            won, positives, negatives = wins(weights[:, own])
            shares += np.divide(won, negatives, out=np.zeros(len(weights)), where=negatives > 0)
            ill += positives * (negatives > 0)
        return _ratio(shares, ill)

    return statistic


def _wins(truth: Array, score: Array) -> Callable[[Array], tuple[Array, Array, Array]]:
    """Weights (R, N) -> pairs won by the positive film (ties count half), positives, negatives, each (R,)."""
    tally = _tally(truth, score)

    def counted(weights: Array) -> tuple[Array, Array, Array]:
        positives, negatives = tally(weights)
        beaten = np.cumsum(negatives, axis=1) - negatives / 2
        return (positives * beaten).sum(axis=1), positives.sum(axis=1), negatives.sum(axis=1)

    return counted


def average_precision(truth: Array, score: Array) -> Statistic:
    """Precision averaged over the steps in recall, without interpolation: 0..1; tied films enter together."""
    tally = _tally(truth, -np.asarray(score))

    def statistic(weights: Array) -> Array:
        positives, negatives = tally(weights)
        found = np.cumsum(positives, axis=1)
        precision = _ratio(found, found + np.cumsum(negatives, axis=1))
        return _ratio(np.nansum(positives * precision, axis=1), positives.sum(axis=1))

    return statistic


def average(values: Array) -> Statistic:
    """Mean of values (N,)."""
    return share(values, np.ones(len(values)))


def share(of: Array, among: Array) -> Statistic:
    """Share of the films `among` (N,) bool that are also in `of` (N,) bool."""
    both, all_ = (np.asarray(part, np.float64) for part in (np.asarray(of) * np.asarray(among), among))
    return lambda weights: _ratio(weights @ both, weights @ all_)


def brier(truth: Array, probability: Array) -> Statistic:
    """Mean squared difference between probability and truth: 0 (best) to 1."""
    return average((np.asarray(probability) - truth) ** 2)


def brier_skill(truth: Array, probability: Array) -> Statistic:
    """Brier skill: 1 minus the Brier score over that of always predicting the prevalence; 1 is best."""
    own, prevalence = brier(truth, probability), average(np.asarray(truth, np.float64))

    def statistic(weights: Array) -> Array:
        rate = prevalence(weights)
        return 1 - _ratio(own(weights), rate * (1 - rate))

    return statistic


def calibration_error(truth: Array, probability: Array, bins: int = 15) -> Statistic:
    """Expected calibration error: mean gap between predicted and observed frequency over bins, 0..1.

    Bins have equal mass, because a rare label would put nearly all films into the first bin of equal width.
    A film's mid-rank gives its bin, so films of equal probability share a bin, whatever their order.
    """
    binned = calibration_bins(truth, probability, bins)

    def statistic(weights: Array) -> Array:
        _, stated, seen = binned(weights)
        return _ratio(np.abs(stated - seen).sum(axis=1), weights.sum(axis=1))

    return statistic


def calibration_bins(
    truth: Array, probability: Array, bins: int = 15
) -> Callable[[Array], tuple[Array, Array, Array]]:
    """Weights (R, N) -> films, sum of probabilities and of truths in bins of equal mass, each (R, bins)."""
    tally, values = _tally(truth, probability), np.unique(probability)

    def binned(weights: Array) -> tuple[Array, Array, Array]:
        positives, negatives = tally(weights)
        films = positives + negatives
        middle = np.cumsum(films, axis=1) - films / 2
        total = np.maximum(films.sum(axis=1, keepdims=True), 1e-12)
        place = np.minimum((middle * bins / total + 1e-9).astype(int), bins - 1)
        place += bins * np.arange(len(films))[:, None]
        columns = films, films * values, positives
        found = (
            np.bincount(place.ravel(), weights=column.ravel(), minlength=bins * len(films))
            for column in columns
        )
        first, second, third = (column.reshape(len(films), bins) for column in found)
        return first, second, third

    return binned


def observed_expected(truth: Array, probability: Array) -> Statistic:
    """Positive films over the sum of the probabilities: 1 is right, less means too high ones."""
    truth, probability = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
    return lambda weights: _ratio(weights @ truth, weights @ probability)


def sensitivity(truth: Array, called: Array) -> Statistic:
    """Share of the positive films that are called so; `called` (N,) bool."""
    return share(called, truth == 1)


def specificity(truth: Array, called: Array) -> Statistic:
    """Share of the negative films that are not called positive; `called` (N,) bool."""
    return share(np.logical_not(called), truth == 0)


def likelihood_ratio(truth: Array, called: Array, *, positive: bool) -> Statistic:
    """Share of positive films with this call, positive or negative, over that of negative films."""
    answer = np.asarray(called) == positive
    ill, well = share(answer, truth == 1), share(answer, truth == 0)

    def statistic(weights: Array) -> Array:
        caught, spared = ill(weights), well(weights)
        # A call that no negative film gets has an infinite ratio, not an unknown one.
        return np.where((spared == 0) & (caught > 0), np.inf, _ratio(caught, spared))

    return statistic


def predictive_value(
    truth: Array, called: Array, *, positive: bool, prevalence: float | None = None
) -> Statistic:
    """Share of right calls among the positive or negative ones; given a `prevalence`, by Bayes' rule."""
    if prevalence is None:
        return share(truth == positive, np.asarray(called) == positive)
    ill, well = sensitivity(truth, called), specificity(truth, called)

    def statistic(weights: Array) -> Array:
        found, spared = ill(weights), well(weights)
        right, wrong = found * prevalence, (1 - spared) * (1 - prevalence)
        if not positive:
            right, wrong = spared * (1 - prevalence), (1 - found) * prevalence
        return _ratio(right, right + wrong)

    return statistic


def balanced_accuracy(truth: Array, predicted: Array, classes: Sequence[str] | Sequence[int]) -> Statistic:
    """Mean, over the classes that occur, of the share of their films given their class."""
    shares = [share(predicted == name, truth == name) for name in classes]
    return lambda weights: _mean([one(weights) for one in shares])


def macro_f1(truth: Array, predicted: Array, classes: Sequence[str] | Sequence[int]) -> Statistic:
    """Mean F1 over the classes that occur in truth or prediction: 0..1."""
    hits = [((truth == name) & (predicted == name)).astype(float) for name in classes]
    members = [(truth == name).astype(float) + (predicted == name) for name in classes]

    def statistic(weights: Array) -> Array:
        pairs = zip(hits, members, strict=True)
        return _mean([_ratio(2 * (weights @ hit), weights @ member) for hit, member in pairs])

    return statistic


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of several scores; NaN if one of them is."""
    return lambda weights: np.mean([one(weights) for one in statistics], axis=0)


def scaled(statistic: Statistic, by: Array) -> Statistic:
    """The score with each film's weight multiplied by `by` (N,)."""
    return lambda weights: statistic(weights * by)


def by_patient(score: Callable[..., Statistic]) -> Callable[..., Statistic]:
    """The patient-weighted score: each patient counts once. The last column (N,) names the patients."""
    return lambda *columns: scaled(score(*columns[:-1]), patient_weights(columns[-1]))


def patient_weights(patients: Array) -> Array:
    """Weights (N,) float64 with which each patient counts once: 1 over the number of the patient's films."""
    _, place, films = np.unique(patients, return_inverse=True, return_counts=True)
    return np.asarray(1 / films[place])


def _tally(truth: Array, score: Array) -> Callable[[Array], tuple[Array, Array]]:
    """Weights (R, N) -> weights of positives and of negatives at each distinct score, ascending, (R, K)."""
    order = np.argsort(score, kind="stable")
    ranked, positive = np.asarray(score)[order], np.asarray(truth, np.float64)[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(ranked) else np.zeros(0, int)

    def counted(weights: Array) -> tuple[Array, Array]:
        sorted_ = weights[:, order]
        if not len(starts):
            return sorted_, sorted_
        both = np.add.reduceat(sorted_, starts, axis=1, dtype=np.float64)
        positives = np.add.reduceat(sorted_ * positive, starts, axis=1, dtype=np.float64)
        return positives, both - positives

    return counted


def _ratio(part: Array, whole: Array) -> Array:
    """Part over whole; NaN where the whole is 0."""
    nothing = np.full(np.shape(whole), np.nan)
    return np.asarray(np.divide(part, whole, out=nothing, where=np.asarray(whole) > 0))


def _mean(columns: Sequence[Array]) -> Array:
    """Mean over the columns, each (R,), that are not NaN; NaN where all are."""
    table = np.array(columns)
    known = ~np.isnan(table)
    return _ratio(np.where(known, table, 0).sum(axis=0), known.sum(axis=0).astype(float))
