"""Summary of an evaluation of a classifier in sentences: only what its figures support."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hilum.evaluation.figures import WITHIN, Figure

_BETWEEN = " more than "


def summary(figures: Sequence[Figure], about: Mapping[str, Any], films: int, patients: int) -> list[str]:
    """Sentences: which model on which films, the mean AUROC, the calibration, the worst group.

    `about` is what `hilum evaluate` writes of itself: "model", "data" and "groups".
    """
    judged = f"{about['model']['name']} was evaluated on {films} films of {patients} patients"
    return [
        f"{judged} from {' and '.join(about['data'])}.",
        *_ranking(figures),
        *_calibration(figures),
        *_worst_group(figures, about["groups"]),
    ]


def _ranking(figures: Sequence[Figure]) -> Iterator[str]:
    """The mean AUROC, in words."""
    for one in figures:
        if one.measure == "AUROC" and not one.condition and one.subject.startswith("mean of "):
            if one.value != one.value:
                yield f"The AUROC as a {one.subject} cannot be computed: a finding lacks films of a class."
                continue
            chance = ", which chance alone can explain" if one.low <= 0.5 <= one.high else ""
            yield (
                f"AUROC, {one.subject}: {one.told}{chance}; of a film with a finding and one without it, the "
                f"first has the higher probability {100 * one.value:.0f} % of the time."
            )
    within = [
        f"{one.condition.removeprefix(WITHIN)} {one.told}"
        for one in figures
        if one.subject.startswith("mean of ") and one.condition.startswith(WITHIN) and one.low == one.low
    ]
    if within:
        yield f"If films are compared only with films of the same group: {', '.join(within)}."


def _calibration(figures: Sequence[Figure]) -> Iterator[str]:
    """For which labels the probabilities are calibrated; those with too few patients are not judged."""
    own = [one for one in figures if not one.condition]
    sums = {one.subject: one for one in own if one.measure == "observed over expected"}
    slopes = {one.subject: one for one in own if one.measure == "calibration slope"}
    judged = [label for label, one in sums.items() if not one.remark and one.low == one.low]
    if not sums:
        return
    if not judged:
        yield "The calibration cannot be judged: each label has too few patients of one class."
        return
    off = {
        label: " and ".join(
            [
                *_outside(sums[label], "too high", "too low"),
                *(_outside(slopes[label], "too extreme", "too moderate") if label in slopes else ()),
            ]
        )
        for label in judged
    }
    wrong = [f"{label} ({how})" for label, how in off.items() if how]
    unjudged = [label for label in sums if label not in judged]
    left = f"; not judged, too few patients: {', '.join(unjudged)}" if unjudged else ""
    if wrong:
        rest = ", and calibrated for the others" if len(wrong) < len(judged) else ""
        yield f"Probabilities are off for {', '.join(wrong)}{rest}{left}."
    else:
        yield f"Probabilities are calibrated for {', '.join(judged)}{left}."


def _outside(one: Figure, below: str, above: str) -> list[str]:
    """How a figure that should be 1 is off, if its interval excludes 1."""
    return [below] if one.high < 1 else [above] if one.low > 1 else []


def _worst_group(figures: Sequence[Figure], groups: Sequence[str]) -> Iterator[str]:
    """The group in which a label's AUROC lies furthest below that of another group."""
    found = {
        (one.subject, one.condition, name): one
        for one in figures
        for name in groups
        if one.measure == "AUROC" and one.condition.startswith(f"{name} ")
    }
    gaps = [(name, one) for (_, condition, name), one in found.items() if _BETWEEN in condition]
    if gaps:
        name, gap = max(gaps, key=lambda pair: pair[1].value)
        best, worst = gap.condition.removeprefix(f"{name} ").split(_BETWEEN)
        low, high = (found[gap.subject, f"{name} {group}", name] for group in (worst, best))
        yield (
            f"Worst group: {gap.subject} with {name} {worst}, AUROC {low.told}, "
            f"compared with {high.told} with {name} {best}."
        )
    elif found:
        yield "No groups are large enough to compare."
