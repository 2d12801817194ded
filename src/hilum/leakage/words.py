"""The results of an audit in sentences, with what to do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

from hilum.leakage.audit import FILE, OUTSIDE, PICTURE, PIXELS, Audit, Film, Shared


def counts(found: Audit) -> dict[str, int]:
    """Counts by name."""
    kinds = Counter(pair.kind for pair in found.pairs)
    copies = sum(len(group) - 1 for group in found.groups)
    return {
        "films": len(found.films),
        "patients": len({film.sample.patient for film in found.films}),
        "different pictures": len(found.films) - copies - len(found.failures),
        "copies of another film": copies,
        "pairs of the same file": kinds[FILE],
        "pairs of the same pixels": kinds[PIXELS],
        "pairs of the same picture": kinds[PICTURE],
        "pairs of different patients": strangers(found),
        "unreadable": len(found.failures),
    }


def strangers(found: Audit) -> int:
    """Pairs of films of one picture with different patients."""
    every = sum(math.comb(len(group), 2) for group in found.groups)
    return every - _twins(found, lambda film: film.sample.patient)


def _twins(found: Audit, of: Callable[[Film], str]) -> int:
    """Pairs of films of one picture that agree in `of`, also if found through other films."""
    return sum(
        math.comb(count, 2)
        for group in found.groups
        for count in Counter(of(found.films[place]) for place in group).values()
    )


def sentences(found: Audit) -> list[str]:
    """What leaks, what only seems to, and what to do."""
    return [
        *_between(found),
        *_across(found),
        *_named(found),
        *_inside(found),
        *_unseen(found),
    ] or ["No film, patient or study stands in two places."]


def _between(found: Audit) -> Iterator[str]:
    for shared in found.data_sets:
        yield (
            f"{shared.one} and {shared.other} share {_what(shared)}: never train on one and test on the "
            "other; give both to one call of 'hilum data split', so that a patient's films stay in one part."
        )


def _across(found: Audit) -> Iterator[str]:
    for shared in found.parts:
        if OUTSIDE in (shared.one, shared.other):
            yield (
                f"Films of patients that the split does not name share {_what(shared)} with its test part: "
                "never train on them; split all again with 'hilum data split --together duplicates.csv'."
            )
            continue
        yield (
            f"The split leaks: its parts {shared.one} and {shared.other} share {_what(shared)}; "
            "make a new one with 'hilum data split --together duplicates.csv'."
        )
    if found.split and not found.parts:
        yield "The split holds: no picture, patient or study stands in two of its parts."


def _named(found: Audit) -> Iterator[str]:
    if alone := found.named_alike - found.of_one_picture:
        yield (
            f"Of {found.named_alike} names that films of several data sets share, {alone} are of films "
            "that do not look the same: they were changed too much, or are different films."
        )


def _inside(found: Audit) -> Iterator[str]:
    if pairs := strangers(found):
        what = (
            "this split keeps them together, but a new one may not"
            if found.split and not found.parts
            else "no split by patient keeps them together"
        )
        yield (
            f"{pairs} pairs show one picture under the names of two patients: {what}; "
            "give duplicates.csv to 'hilum data split --together'."
        )
    if inner := _twins(found, lambda film: film.data_set):
        yield f"Pairs within one data set: {inner}. Such a film counts twice in every score; remove one."


def _unseen(found: Audit) -> Iterator[str]:
    if found.failures:
        yield f"{len(found.failures)} films cannot be read: nothing is known about them."
    if outside := sum(not film.part for film in found.films) if found.split else 0:
        yield (
            f"{outside} films are of patients that the split does not name; they were compared with its test "
            "part alone."
        )


def _what(shared: Shared) -> str:
    found = (
        (shared.pictures, "picture", "pictures"),
        (shared.patients, "patient", "patients"),
        (shared.studies, "study", "studies"),
    )
    return ", ".join(f"{count:,} {one if count == 1 else many}" for count, one, many in found if count)
