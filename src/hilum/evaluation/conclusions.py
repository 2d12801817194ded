"""Conclusions from the figures of `hilum.evaluation.shortcuts`: only those that an interval supports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hilum.evaluation.blank import INSIDE, OUTSIDE, UNFRAMED
from hilum.evaluation.figures import Figure
from hilum.statistics.intervals import with_interval

AUROC = "AUROC"
CHANGE = "AUROC more than as it is"
PROBE = "AUROC of a probe"
PREVALENCE = "prevalence"
ALONE = "AUROC of the group alone"

_BLANKED = {INSIDE: "surrounds lungs and heart", UNFRAMED: "lies in the frame"}


def other_than(group: str) -> str:
    """The condition for the films outside a group."""
    return f"other than {group}"


def conclusions(figures: Sequence[Figure]) -> list[str]:
    """Sentences on what blanking changes, what the surroundings predict, and what else the features hold.

    An effect counts only if its interval excludes "no effect". Figures that could not be computed are named.
    """
    return [
        *_untold(figures),
        *(line for condition in (INSIDE, UNFRAMED) for line in _survived(figures, condition)),
        *_surroundings(figures),
        *_both(figures),
        *_probed(figures),
    ]


def _untold(figures: Sequence[Figure]) -> Iterator[str]:
    """Labels and groups with too few films or patients."""
    for one in figures:
        if one.measure in (AUROC, PROBE) and not one.condition and one.low != one.low:
            why = one.remark or "too few patients for an interval"
            yield f"{one.subject}: {why}; no conclusion."


def _survived(figures: Sequence[Figure], condition: str) -> Iterator[str]:
    """How blanking a part changes the AUROC."""
    changes = _of(figures, CHANGE, condition)
    after = {one.subject: one.value for one in _of(figures, AUROC, condition)}
    start = condition[0].upper() + condition[1:]
    why = f" Such a score uses what {_BLANKED[condition]}, or fails on a kind of film that it never saw."
    for word, sure, more in (
        ("falls", [one for one in changes if one.high < 0], why),
        ("rises", [one for one in changes if one.low > 0], ""),
    ):
        if sure:
            parts = [f"{one.subject} by {_size(one)} to {after[one.subject]:.3f}" for one in sure]
            yield f"{start}: the AUROC {word} for {_listed(parts)}.{more}"
    if rest := [one for one in changes if one.low <= 0 <= one.high]:
        parts = [f"{one.subject} ({one.low:+.3f} to {one.high:+.3f})" for one in rest]
        yield f"{start}: no change of the AUROC detectable with {_films(rest)} for {_listed(parts)}."


def _surroundings(figures: Sequence[Figure]) -> Iterator[str]:
    """What the model predicts from the surroundings of lungs and heart alone."""
    seen = _of(figures, AUROC, OUTSIDE)
    above, below = [one for one in seen if one.low > 0.5], [one for one in seen if one.high < 0.5]
    rest = [one for one in seen if one.low <= 0.5 <= one.high]
    if above:
        predicts = f"From the outside alone the model still predicts {_listed_values(above)}"
        yield f"{predicts}: it uses something there that is associated with the label."
    if below:
        yield f"From the outside alone the AUROC is below 0.5 for {_listed_values(below)}."
    if rest:
        predicts = f"From the outside alone the model predicts nothing detectable with {_films(rest)}"
        yield f"{predicts} for {_listed_values(rest)}."


def _both(figures: Sequence[Figure]) -> Iterator[str]:
    """Labels that lose without the frame and are predicted from the outside: both signs of a shortcut."""
    told = {one.subject for one in _of(figures, AUROC, OUTSIDE) if one.low > 0.5}
    lost = [one for one in _of(figures, CHANGE, UNFRAMED) if one.high < 0]
    # The two signs of a mean may come from different labels; a mean has no count of positives.
    if both := [one.subject for one in lost if one.subject in told and one.positives is not None]:
        signs = f"Both signs of a shortcut for {_listed(both)}"
        yield f"{signs}: predicted from the outside alone, and worse without the frame."


def _probed(figures: Sequence[Figure]) -> Iterator[str]:
    """What else the features predict, and whether that goes with a label."""
    for one in figures:
        if one.measure != PROBE or one.low != one.low:
            continue
        if one.low <= 0.5:
            yield f"{one.subject}: not detectable in the features with {_films([one])}."
            continue
        links = _of(figures, ALONE, one.subject)
        yield f"{one.subject}: the features predict it, AUROC {one.told}."
        for word, sure in (
            ("", [link for link in links if link.low > 0.5]),
            ("the absence of ", [link for link in links if link.high < 0.5]),
        ):
            if sure:
                predicts = f"{one.subject} alone predicts {word}{_listed_values(sure)}"
                yield f"{predicts}: such a score may rest on it."


def _of(figures: Sequence[Figure], measure: str, condition: str) -> list[Figure]:
    return [one for one in figures if (one.measure, one.condition) == (measure, condition)]


def _size(change: Figure) -> str:
    """Size of a change, without its sign."""
    low, high = sorted((abs(change.low), abs(change.high)))
    return with_interval(abs(change.value), low, high)


def _films(figures: Sequence[Figure]) -> str:
    return f"{max(one.films for one in figures)} films"


def _listed_values(figures: Sequence[Figure]) -> str:
    return _listed([f"{one.subject} {one.told}" for one in figures])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]
