"""Differences between two classifiers on the same films, paired by film and patient."""

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
    """One classifier's score minus another's."""

    subject: str  # a label, the mean over several, or the films with exactly one label
    measure: str = "AUROC"
    condition: str = ""  # which pairs of films, as in `Figure`
    films: int
    value: float
    low: float  # 95 % interval, over patients drawn with replacement
    high: float
    p: float  # from the same draws
    corrected: float = float("nan")  # after Holm, over the comparisons made together
    delong_low: float = float("nan")  # for a single label, films taken as independent
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
    """Difference of the mean AUROC over the labels; with several verdicts, one a seed, of their means.

    With the measure "AUROC by patient" every patient counts once. `within` names one of our groups, such as
    "sex": only films of the same group are then compared with each other, each film counting once. Raises
    DataError if the verdicts share no film or no label, or the films do not have this group.
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
    """Difference of a measure of `six_way` on the films with exactly one label; verdicts as in `gain`.

    Raises DataError if the verdicts share no film, or do not allow the same choice of labels.
    """
    both = common([*ours, *theirs])
    return _by_six(both, len(ours), measure, Bench(both[0].patients, _SEED, repeats))


def gains(ours: Verdicts, theirs: Verdicts, *, seed: int = 0, repeats: int = 2000) -> list[Gain]:
    """Differences for every shared label, the mean over the findings, and films with exactly one label.

    P values are corrected over the labels. Labels and mean are also compared within each of our groups.
    Raises DataError if the verdicts share no film or no label.
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
        with suppress(DataError):  # all films are of one group
            found += _by_all(both, shared, bench, name)
    return found


def _by_all(both: Sequence[Verdicts], labels: Sequence[str], bench: Bench, within: str = "") -> list[Gain]:
    """Differences for each label, P values corrected over the labels, and for the mean over the findings.

    Within groups, labels with too few films for a figure are left out.
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
    """Those labels that the mean over findings averages; raises DataError as `gain`."""
    if within:
        _groups(one, within)
    return [one.labels[i] for i in one.told(within) if one.labels[i] in labels]


def _groups(one: Verdicts, within: str) -> Array:
    """The films' groups (N,); raises DataError unless there are several."""
    if within not in one.groups:
        raise DataError(
            f"the films to compare have no {within} in both tables; evaluate both with --by {within!r}"
        )
    if len({*one.groups[within].tolist()} - {""}) < 2:
        raise DataError(f"the films to compare are all of one {within}; compare them without groups")
    return one.groups[within]


def _too_few(one: Verdicts, label: str, within: str) -> str:
    """Why there are too few films for a within-group figure of a label; "" if there are enough."""
    truth = one.truth[:, one.labels.index(label)]
    films = in_pairs(truth, one.groups[within])
    return too_few(int(films.sum()), int((truth[films] == 1).sum()))


def _by_label(both: Sequence[Verdicts], label: str, bench: Bench, within: str) -> Gain:
    """Difference for one label; over all pairs of films also with DeLong's interval."""
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
    """Difference of the mean AUROC over the labels, each where it is known; the first `ours` are ours."""
    if not labels:
        raise DataError("the verdicts to compare share no label; compare models of the same labels")
    truth = _columns(both[0], labels, both[0].truth)
    known = np.asarray(~np.isnan(truth).all(axis=1))
    score: Callable[..., Statistic] = mean_auroc
    parts = [both[0].patients] if measure == BY_PATIENT else []
    if within:
        if parts:
            raise DataError(f"{measure!r} does not exist for {WITHIN}{within}; compare the AUROC")
        score, parts = mean_auroc_within, [_groups(both[0], within)]
        known &= parts[0] != ""
        if len(labels) == 1:
            known &= in_pairs(truth[:, 0], parts[0])
    said = [_columns(one, labels, one.probabilities)[known] for one in both]
    each = [score(truth[known], some, *(part[known] for part in parts)) for some in said]
    condition = WITHIN + within if within else ""
    return _paired(each, ours, known, bench, subject=subject, measure=measure, condition=condition)


def _by_six(both: Sequence[Verdicts], ours: int, measure: str, bench: Bench) -> Gain:
    """Difference of a measure on the films with exactly one label."""
    found = [six for one in both if (six := six_way(_by_truth_of(both[0], one)))]
    if len(found) < len(both) or len({frozenset(six.names) for six in found}) > 1:
        raise DataError("the verdicts to compare choose among different labels; compare others")
    each = [MEASURES[measure](six) for six in found]
    return _paired(each, ours, found[0].films, bench, subject=found[0].subject, measure=measure)


def _by_truth_of(first: Verdicts, one: Verdicts) -> Verdicts:
    """The verdicts with the truth of the first where both have the label: theirs may be of an older reading.

    Scores of another program have no truth and stay without: of these no label can be chosen.
    """
    if np.isnan(one.truth).all():
        return one
    truth = [
        first.truth[:, first.labels.index(label)] if label in first.labels else own
        for label, own in zip(one.labels, one.truth.T, strict=True)
    ]
    return replace(one, truth=np.stack(truth, axis=1))


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
    """The mean of the first `ours` scores minus that of the others, on the films (N,) bool."""
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
    """The verdicts on the films that all of them share, in one order; raises DataError if there are none."""
    films = sorted(set(several[0].films).intersection(*(one.films for one in several)))
    if not films:
        raise DataError("the verdicts to compare share no film; evaluate both models on the same data")
    return [one.on(films) for one in several]


def _columns(one: Verdicts, labels: Sequence[str], table: Array) -> Array:
    return table[:, [one.labels.index(label) for label in labels]]
