"""Two classifiers on the same films: how much more one scores, paired by film and patient."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from hilum.delong import delong_difference
from hilum.errors import DataError
from hilum.intervals import around, holm, resamples, two_sided, weighed
from hilum.labels import NO_FINDING
from hilum.scores import Statistic, mean_of
from hilum.six_way import MEASURES, six_way
from hilum.types import Array
from hilum.verdicts import Verdicts, mean_auroc, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """How much more one classifier scores than another."""

    subject: str  # a label, the mean over several, or the films with exactly one
    measure: str = "AUROC"
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
    seed: int = 0,
    repeats: int = 2000,
) -> Gain:
    """Of the mean AUROC over the labels; of several verdicts, a seed each, the mean of theirs.

    Raises DataError where they share neither a film nor a label.
    """
    if not labels:
        raise DataError("the verdicts to compare share no label; compare models of the same labels")
    both = common([*ours, *theirs])
    truth = _columns(both[0], labels, both[0].truth)
    known = ~np.isnan(truth).all(axis=1)
    each = [mean_auroc(truth[known], _columns(one, labels, one.probabilities)[known]) for one in both]
    return _paired(
        each[: len(ours)],
        each[len(ours) :],
        both[0].patients[known],
        subject=subject,
        measure="AUROC",
        seed=seed,
        repeats=repeats,
    )


def six_gain(
    ours: Sequence[Verdicts],
    theirs: Sequence[Verdicts],
    measure: str,
    *,
    seed: int = 0,
    repeats: int = 2000,
) -> Gain:
    """Of a measure of `hilum.six_way` on the films with exactly one label; several verdicts as in `gain`.

    Raises DataError where they share no film, or cannot be asked for one of the same labels.
    """
    both = common([*ours, *theirs])
    found = [six for one in both if (six := six_way(one))]
    if len(found) < len(both) or len({frozenset(six.names) for six in found}) > 1:
        raise DataError("the verdicts to compare are not about one of the same labels; compare others")
    each = [MEASURES[measure](six) for six in found]
    return _paired(
        each[: len(ours)],
        each[len(ours) :],
        both[0].patients[found[0].films],
        subject=found[0].subject,
        measure=measure,
        seed=seed,
        repeats=repeats,
    )


def _paired(
    ours: Sequence[Statistic],
    theirs: Sequence[Statistic],
    patients: Array,
    *,
    subject: str,
    measure: str,
    seed: int,
    repeats: int,
) -> Gain:
    """The mean of the first scores less that of the others, all on the films of these patients (N,)."""
    first, second = mean_of(ours), mean_of(theirs)
    weights = resamples(patients, rng=np.random.default_rng(seed), repeats=repeats)
    value, drawn = weighed(lambda rows: first(rows) - second(rows), weights)
    interval = around(value, drawn)
    return Gain(
        subject=subject,
        measure=measure,
        films=len(patients),
        value=value,
        low=interval.low,
        high=interval.high,
        p=two_sided(drawn),
    )


def gains(ours: Verdicts, theirs: Verdicts, *, seed: int = 0, repeats: int = 2000) -> list[Gain]:
    """Of every label that both judge, P values corrected for their number, of the mean over the findings, and
    of the films with exactly one label.

    Raises DataError where they share neither a film nor a label.
    """
    shared = [label for label in ours.labels if label in theirs.labels]
    one, other = common([ours, theirs])
    places = [one.labels.index(label) for label in shared if label != NO_FINDING]
    findings = [one.labels[i] for i in shown(one.truth, places)]
    draw = {"seed": seed, "repeats": repeats}
    found = [_gain_of(one, other, label, **draw) for label in shared]
    corrected = holm([each.p for each in found])
    found = [replace(each, corrected=p) for each, p in zip(found, corrected, strict=True)]
    if not shared:
        raise DataError("the verdicts to compare share no label; compare models of the same labels")
    if len(findings) > 1:
        found.append(gain([one], [other], findings, subject=f"mean of {len(findings)} findings", **draw))
    with suppress(DataError):
        found += [six_gain([one], [other], measure, **draw) for measure in MEASURES]
    return found


def _gain_of(ours: Verdicts, theirs: Verdicts, label: str, **draw: int) -> Gain:
    """Of one label, on films in one order, with the interval in closed form beside the other."""
    truth = ours.truth[:, ours.labels.index(label)]
    known = ~np.isnan(truth)
    said = (one.probabilities[known, one.labels.index(label)] for one in (ours, theirs))
    interval, p = delong_difference(truth[known], *said)
    found = gain([ours], [theirs], [label], subject=label, **draw)
    return replace(found, delong_low=interval.low, delong_high=interval.high, delong_p=p)


def common(several: Sequence[Verdicts]) -> list[Verdicts]:
    """The verdicts on the films that all of them are about, in one order; raises DataError without any."""
    films = sorted(set(several[0].films).intersection(*(one.films for one in several)))
    if not films:
        raise DataError("the verdicts to compare share no film; evaluate both models on the same data")
    return [one.on(films) for one in several]


def _columns(one: Verdicts, labels: Sequence[str], table: Array) -> Array:
    return table[:, [one.labels.index(label) for label in labels]]
