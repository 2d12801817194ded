"""Two classifiers on the same films: how much more one scores, paired by film and patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from hilum.errors import DataError
from hilum.evaluation.figures import WITHIN, Bench, too_few
from hilum.evaluation.six_way import MEASURES, six_way
from hilum.evaluation.verdicts import Verdicts, in_pairs, mean_auroc, mean_auroc_within, mean_name
from hilum.statistics.delong import delong_difference
from hilum.statistics.intervals import around, holm, two_sided, weighed
from hilum.statistics.scores import Statistic, mean_of
from hilum.types import Array

BY_PATIENT = "AUROC by patient"

_SEED = 0  # of the draws of patients that studies compare runs by


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """How much more one classifier scores than another."""

    subject: str  # a label, the mean over several, or the films with exactly one
    measure: str = "AUROC"
    condition: str = ""  # of which pairs of films, as a figure's
    films: int
    value: float
    low: float  # of 95 %, over patients drawn with replacement
    high: float
    p: float  # from the same draws
    corrected: float = float("nan")  # the same after Holm, over all that was compared with it
    delong_low: float = float("nan")  # of one label: films taken as independent
    delong_high: float = float("nan")
    delong_p: float = float("nan")


def gain(
    ours: Sequence[Verdicts],
    theirs: Sequence[Verdicts],
    labels: Sequence[str],
    *,
    subject: str,
    measure: str = "AUROC",
    within: str = "",
    repeats: int = 2000,
) -> Gain:
    """Of the mean AUROC over the labels; of several verdicts, a seed each, the mean of theirs.

    With the measure "AUROC by patient" every patient counts once, however many films there are. `within`
    names one of our groups, "sex" say: only films of one group are then compared with each other, each as
    one. Raises DataError where they share neither a film nor a label, or the films are not grouped so.
    """
    both = common([*ours, *theirs])
    bench = Bench(both[0].patients, _SEED, repeats)
    return _by_labels(both, len(ours), labels, subject, bench, measure, within)


def six_gain(
    ours: Sequence[Verdicts],
    theirs: Sequence[Verdicts],
    measure: str,
    *,
    repeats: int = 2000,
) -> Gain:
    """Of a measure of `six_way` on the films with exactly one label; several verdicts as in `gain`.

    Raises DataError where they share no film, or cannot be asked for one of the same labels.
    """
    both = common([*ours, *theirs])
    return _by_six(both, len(ours), measure, Bench(both[0].patients, _SEED, repeats))


def gains(ours: Verdicts, theirs: Verdicts, *, seed: int = 0, repeats: int = 2000) -> list[Gain]:
    """Of every label that both judge, P values corrected for their number, of the mean over the findings, and
    of the films with exactly one label. Labels and mean also by pairs of films of one group, of ours.

    Raises DataError where they share neither a film nor a label.
    """
    shared = [label for label in ours.labels if label in theirs.labels]
    if not shared:
        raise DataError("the verdicts to compare share no label; compare models of the same labels")
    both = common([ours, theirs])
    bench = Bench(both[0].patients, seed, repeats)
    found = _by_all(both, shared, bench)
    with suppress(DataError):
        found += [_by_six(both, 1, measure, bench) for measure in MEASURES]
    for name in both[0].groups:
        with suppress(DataError):  # where all are of one
            found += _by_all(both, shared, bench, name)
    return found


def _by_all(both: Sequence[Verdicts], labels: Sequence[str], bench: Bench, within: str = "") -> list[Gain]:
    """Of each label, P values corrected for their number, and of the mean over the findings.

    Of pairs of one group without those labels of which the films are too few for a figure.
    """
    told = [label for label in labels if not (within and _too_few(both[0], label, within))]
    found = [_by_label(both, label, bench, within) for label in told]
    corrected = holm([each.p for each in found])
    found = [replace(each, corrected=p) for each, p in zip(found, corrected, strict=True)]
    findings = findings_of(both[0], labels, within)
    if len(findings) > 1:
        found.append(_by_labels(both, 1, findings, mean_name(findings), bench, within=within))
    return found


def findings_of(one: Verdicts, labels: Sequence[str], within: str = "") -> list[str]:
    """Of the labels those that the mean over findings is of; raises DataError as `gain`."""
    if within:
        _groups(one, within)
    return [one.labels[i] for i in one.told(within) if one.labels[i] in labels]


def _groups(one: Verdicts, within: str) -> Array:
    """The films' groups (N,), of which there are several; raises DataError."""
    if within not in one.groups:
        raise DataError(f"the verdicts to compare tell no {within} of films; evaluate them --by it")
    if len({*one.groups[within].tolist()} - {""}) < 2:
        raise DataError(f"the films to compare are all of one {within}; compare them as they are")
    return one.groups[within]


def _too_few(one: Verdicts, label: str, within: str) -> str:
    """Why the films that groups compare are too few for a figure of a label; empty where they are not."""
    truth = one.truth[:, one.labels.index(label)]
    films = in_pairs(truth, one.groups[within])
    return too_few(int(films.sum()), int((truth[films] == 1).sum()))


def _by_label(both: Sequence[Verdicts], label: str, bench: Bench, within: str) -> Gain:
    """Of one label and two verdicts, over all pairs with the interval in closed form beside the other."""
    found = _by_labels(both, 1, [label], label, bench, within=within)
    if within:
        return found
    truth = both[0].truth[:, both[0].labels.index(label)]
    known = ~np.isnan(truth)
    said = (one.probabilities[known, one.labels.index(label)] for one in both)
    interval, p = delong_difference(truth[known], *said)
    return replace(found, delong_low=interval.low, delong_high=interval.high, delong_p=p)


def _by_labels(
    both: Sequence[Verdicts],
    ours: int,
    labels: Sequence[str],
    subject: str,
    bench: Bench,
    measure: str = "AUROC",
    within: str = "",
) -> Gain:
    """Of the mean AUROC over the labels, each where it is known; the first verdicts, so many, are ours."""
    if not labels:
        raise DataError("the verdicts to compare share no label; compare models of the same labels")
    truth = _columns(both[0], labels, both[0].truth)
    known = np.asarray(~np.isnan(truth).all(axis=1))
    score: Callable[..., Statistic] = mean_auroc
    parts = [both[0].patients] if measure == BY_PATIENT else []
    if within:
        if parts:
            raise DataError(f"{measure!r} is not told of {WITHIN}{within}; compare the AUROC")
        score, parts = mean_auroc_within, [_groups(both[0], within)]
        known &= parts[0] != ""
        if len(labels) == 1:
            known &= in_pairs(truth[:, 0], parts[0])
    said = [_columns(one, labels, one.probabilities)[known] for one in both]
    each = [score(truth[known], some, *(part[known] for part in parts)) for some in said]
    condition = WITHIN + within if within else ""
    return _paired(each, ours, known, bench, subject=subject, measure=measure, condition=condition)


def _by_six(both: Sequence[Verdicts], ours: int, measure: str, bench: Bench) -> Gain:
    """Of a measure of the films with exactly one label."""
    found = [six for one in both if (six := six_way(one))]
    if len(found) < len(both) or len({frozenset(six.names) for six in found}) > 1:
        raise DataError("the verdicts to compare are not about one of the same labels; compare others")
    each = [MEASURES[measure](six) for six in found]
    return _paired(each, ours, found[0].films, bench, subject=found[0].subject, measure=measure)


def _paired(
    each: Sequence[Statistic],
    ours: int,
    films: Array,
    bench: Bench,
    *,
    subject: str,
    measure: str,
    condition: str = "",
) -> Gain:
    """The mean of the first scores, so many, less that of the others, on the films (N,) bool."""
    first, second = mean_of(each[:ours]), mean_of(each[ours:])
    value, drawn = weighed(lambda rows: first(rows) - second(rows), bench.weights(films))
    interval = around(value, drawn)
    return Gain(
        subject=subject,
        measure=measure,
        condition=condition,
        films=int(films.sum()),
        value=value,
        low=interval.low,
        high=interval.high,
        p=two_sided(drawn),
    )


def common(several: Sequence[Verdicts]) -> list[Verdicts]:
    """The verdicts on the films that all of them are about, in one order; raises DataError without any."""
    films = sorted(set(several[0].films).intersection(*(one.films for one in several)))
    if not films:
        raise DataError("the verdicts to compare share no film; evaluate both models on the same data")
    return [one.on(films) for one in several]


def _columns(one: Verdicts, labels: Sequence[str], table: Array) -> Array:
    return table[:, [one.labels.index(label) for label in labels]]
