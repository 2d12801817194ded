"""Two classifiers on the same films: how much more one's AUROC is, paired by film and patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hilum.delong import delong_difference
from hilum.errors import DataError
from hilum.intervals import around, holm, resamples, two_sided, weighed
from hilum.labels import NO_FINDING
from hilum.scores import mean_of
from hilum.types import Array
from hilum.verdicts import Verdicts, mean_auroc


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """How much more one classifier's AUROC is than another's."""

    subject: str  # a label, or the mean over several
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
    known = ~np.isnan(truth).any(axis=1)
    each = [mean_auroc(truth[known], _columns(one, labels, one.probabilities)[known]) for one in both]
    first, second = mean_of(each[: len(ours)]), mean_of(each[len(ours) :])
    weights = resamples(both[0].patients[known], rng=np.random.default_rng(seed), repeats=repeats)
    value, drawn = weighed(lambda rows: first(rows) - second(rows), weights)
    interval = around(value, drawn)
    return Gain(
        subject=subject,
        films=int(known.sum()),
        value=value,
        low=interval.low,
        high=interval.high,
        p=two_sided(drawn),
    )


def gains(ours: Verdicts, theirs: Verdicts, *, seed: int = 0, repeats: int = 2000) -> list[Gain]:
    """Of every label that both judge, P values corrected for their number, and of the mean over the findings.

    Raises DataError where they share neither a film nor a label.
    """
    shared = [label for label in ours.labels if label in theirs.labels]
    findings = [label for label in shared if label != NO_FINDING]
    one, other = common([ours, theirs])
    draw = {"seed": seed, "repeats": repeats}
    found = [_gain_of(one, other, label, **draw) for label in shared]
    corrected = holm([each.p for each in found])
    found = [replace(each, corrected=p) for each, p in zip(found, corrected, strict=True)]
    if not shared:
        raise DataError("the verdicts to compare share no label; compare models of the same labels")
    if len(findings) > 1:
        found.append(gain([one], [other], findings, subject=f"mean of {len(findings)} findings", **draw))
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
