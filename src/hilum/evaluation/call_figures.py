"""Figures of a classifier's calls: at its threshold, at other points, when it abstains, of No Finding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from hilum.calibration.decide import at_operating_point, called, margins
from hilum.card import Card, Sets
from hilum.evaluation.figures import Bench, Figure
from hilum.evaluation.verdicts import Verdicts
from hilum.labels import NO_FINDING
from hilum.statistics import scores
from hilum.statistics.scores import Statistic
from hilum.types import Array

AT_THRESHOLD = "at the threshold"
BY_POINT = "at the point of "

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Shares of the films that are called; the model abstains on the others."""

_HARMS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Probabilities from which someone may want to act, for the net benefit."""

_RATES: dict[str, Callable[..., Statistic]] = {
    "sensitivity": scores.sensitivity,
    "specificity": scores.specificity,
    "positive predictive value": partial(scores.predictive_value, positive=True),
    "negative predictive value": partial(scores.predictive_value, positive=False),
    "positive likelihood ratio": partial(scores.likelihood_ratio, positive=True),
    "negative likelihood ratio": partial(scores.likelihood_ratio, positive=False),
}


def figures_of_calls(
    verdicts: Verdicts, bench: Bench, card: Card | None, prevalences: Mapping[str, float]
) -> Iterator[Figure]:
    """Figures of each label's calls at the thresholds and, without a specialist, at the card's other points.

    `prevalences` are label prevalences elsewhere; predictive values are given for them too. Without interval
    if every resample gives the same value, such as an infinite ratio: they say nothing of other patients.
    """
    for one in _figures(verdicts, bench, card, prevalences):
        yield replace(one, low=math.nan, high=math.nan) if one.low == one.high else one


def _figures(
    verdicts: Verdicts, bench: Bench, card: Card | None, prevalences: Mapping[str, float]
) -> Iterator[Figure]:
    yield from _rates(verdicts, bench, verdicts.called, AT_THRESHOLD, prevalences)
    yield from _selective(verdicts, bench)
    yield from _of_no_finding(verdicts, bench)
    if card is None or verdicts.asked is not None:
        return
    for point, thresholds in card.points.items():
        if thresholds == card.thresholds:  # done above
            continue
        at = margins(verdicts.probabilities, at_operating_point(card, point=point))
        yield from _rates(verdicts, bench, called(at, verdicts.labels), BY_POINT + point, prevalences)
    for label, sets in card.sets.items():
        yield from _of_sets(verdicts, bench, label, sets)


def _rates(
    verdicts: Verdicts, bench: Bench, calls: Array, condition: str, prevalences: Mapping[str, float]
) -> Iterator[Figure]:
    """Rates of calls (N, C) bool."""
    for i, label in enumerate(verdicts.labels):
        truth, own = verdicts.truth[:, i], calls[:, i]
        about: dict[str, Any] = {"films": ~np.isnan(truth), "positives": int((truth == 1).sum())}
        among = {
            "sensitivity": truth == 1,
            "specificity": truth == 0,
            "positive predictive value": own,
            "negative predictive value": ~own,
        }
        for name, measure in _RATES.items():
            some = among.get(name)
            yield bench.figure(label, name, measure, truth, own, condition=condition, among=some, **about)
        if label in prevalences:
            rate = prevalences[label]
            elsewhere = f"{condition}, prevalence {rate:.2%}"
            for name in ("positive predictive value", "negative predictive value"):
                moved = partial(_RATES[name], prevalence=rate)
                yield bench.figure(label, name, moved, truth, own, condition=elsewhere, **about)


def _selective(verdicts: Verdicts, bench: Bench) -> Iterator[Figure]:
    """Balanced error of the films furthest from each label's threshold, for each coverage."""
    for i, label in enumerate(verdicts.labels):
        truth, margin, calls = verdicts.truth[:, i], verdicts.margins[:, i], verdicts.called[:, i]
        known = ~np.isnan(truth)
        order = np.argsort(-np.abs(margin[known]), kind="stable")
        for coverage in COVERAGES:
            kept = np.zeros(len(truth), bool)
            kept[np.flatnonzero(known)[order[: round(coverage * known.sum())]]] = True
            yield bench.figure(
                label,
                "balanced error",
                _balanced_error,
                truth,
                calls,
                condition=f"coverage {coverage:.0%}",
                films=kept,
                positives=int((truth[kept] == 1).sum()),
            )


def _balanced_error(truth: Array, calls: Array) -> Statistic:
    """The mean of the shares of positive and of negative films that are called wrongly."""
    both = scores.mean_of([scores.sensitivity(truth, calls), scores.specificity(truth, calls)])
    return lambda weights: 1 - both(weights)


def _of_no_finding(verdicts: Verdicts, bench: Bench) -> Iterator[Figure]:
    """How well No Finding is separated from the findings, and from other disease alone."""
    if NO_FINDING not in verdicts.labels or not verdicts.findings:
        return
    place = verdicts.labels.index(NO_FINDING)
    none, said = verdicts.truth[:, place], verdicts.probabilities[:, place]
    calls, findings = verdicts.called, verdicts.truth[:, verdicts.findings]
    everyone = np.ones(len(none), bool)
    reached = verdicts.margins >= 0
    both = np.logical_and(reached[:, place], reached[:, verdicts.findings].any(axis=1))
    measure = f"{NO_FINDING} and a finding both reach their thresholds"
    yield bench.figure("films", measure, scores.average, both, films=everyone, among=everyone)
    neither = np.logical_not(calls.any(axis=1))
    measure = f"called neither {NO_FINDING} nor a finding"
    yield bench.figure("films", measure, scores.average, neither, films=everyone, among=everyone)
    for whose, others in (
        ("films with one of the findings", (none == 0) & (findings == 1).any(axis=1)),
        ("films with another finding alone", (none == 0) & (findings == 0).all(axis=1)),
    ):
        about: dict[str, Any] = {"films": (none == 1) | others, "positives": int((none == 1).sum())}
        against = f"against {whose}"
        yield bench.figure(NO_FINDING, "AUROC", scores.auroc, none, said, condition=against, **about)
        about = {"films": others, "among": others, "condition": f"of {whose}"}
        yield bench.figure(NO_FINDING, "share called", scores.average, calls[:, place], **about)


def _of_sets(verdicts: Verdicts, bench: Bench, label: str, sets: Sets) -> Iterator[Figure]:
    """How often prediction sets hold the truth, against their promise, and how often they hold one answer."""
    i = verdicts.labels.index(label)
    truth, said = verdicts.truth[:, i], verdicts.probabilities[:, i]
    present, absent = said >= sets.present, said <= sets.absent
    promise = f"promised {sets.coverage:.0%}"
    for name, holds, films in (
        ("coverage of the sets, present", present, truth == 1),
        ("coverage of the sets, absent", absent, truth == 0),
    ):
        about: dict[str, Any] = {"films": films, "among": films, "condition": promise}
        held = scores.by_patient(scores.average)
        yield bench.figure(label, name, held, holds, verdicts.patients, **about)
    known = ~np.isnan(truth)
    about = {"films": known, "among": known, "condition": promise}
    yield bench.figure(label, "sets of one answer", scores.average, present != absent, **about)


def net_benefits(verdicts: Verdicts, bench: Bench) -> list[dict[str, Any]]:
    """The decision curve: for each label and probability from which someone acts, what that is worth.

    Net benefit is the share of patients rightly acted on less that of those wrongly acted on, which weighs as
    much as the probability's odds (Vickers and Elkin, Med Decis Making 2006); beside it that of acting on
    all. Each patient counts as one.
    """
    benefit = scores.by_patient(scores.average)
    rows = []
    for i, label in enumerate(verdicts.labels):
        truth, said = verdicts.truth[:, i], verdicts.probabilities[:, i]
        known = ~np.isnan(truth)
        for harm in _HARMS:
            worth = np.where(truth == 1, 1.0, -harm / (1 - harm))
            acted = worth * (said >= harm)
            own = bench.figure(label, "", benefit, acted, verdicts.patients, films=known)
            weights = np.ones((1, int(known.sum())))
            everyone = float(benefit(worth[known], verdicts.patients[known])(weights)[0])
            rows.append(
                {
                    "label": label,
                    "probability": harm,
                    "net benefit": own.value,
                    "low": own.low,
                    "high": own.high,
                    "acting on all": everyone,
                }
            )
    return rows
