"""Leakage: pictures, patients and studies in several data sets, or in several parts of a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hilum.data import short
from hilum.data.split import Split
from hilum.data.ties import tied
from hilum.engines import cores
from hilum.leakage import LEAST
from hilum.leakage.likeness import likeness
from hilum.leakage.looks import Looks
from hilum.leakage.search import TURNS, candidates
from hilum.types import Sample, Tick

OUTSIDE = "not in the split"
"""The side of patients that the split does not name."""

FILE, PIXELS, PICTURE = "file", "pixels", "picture"
"""What two films have in common: all bytes of the file; size and grey levels; the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A sample, its data set and its part."""

    sample: Sample
    data_set: str
    part: (
        str  # of the split: "test" or a fold's number; "" without a split, or if it does not name the patient
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two films that are the same, by their places in the list."""

    one: int
    other: int
    kind: str  # FILE, PIXELS or PICTURE
    turn: str  # what turns the one into the other, of `hilum.leakage.search.TURNS`
    likeness: float  # -1..1; 1 of a file or pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Counts of what two sides share."""

    one: str
    other: str
    pictures: int
    patients: int
    studies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the films have in common."""

    films: tuple[Film, ...]
    pairs: tuple[Pair, ...]
    groups: tuple[tuple[int, ...], ...]  # films of one picture each, by place; two or more
    data_sets: tuple[Shared, ...]  # every two data sets that share something
    parts: tuple[Shared, ...]  # likewise for parts of the split, and for the test part and OUTSIDE
    split: bool  # whether there is one
    named_alike: int  # names of films in two or more data sets
    of_one_picture: int  # those of them whose films are all the same
    failures: tuple[str, ...]  # why films could not be read


def listed(data_sets: Mapping[str, Sequence[Sample]], split: Split | None = None) -> list[Film]:
    """The films of several data sets, under short names if these are unique, else under whole names."""
    brief = {name: short(name) for name in data_sets}
    if len(set(brief.values())) < len(brief):
        brief = {name: name for name in data_sets}
    parts = split.parts if split else {}
    return [
        Film(sample=sample, data_set=brief[name], part=parts.get(sample.patient, ""))
        for name, samples in data_sets.items()
        for sample in samples
    ]


def audit(
    films: Sequence[Film],
    looks: Looks,
    *,
    split: bool = False,
    least: float = LEAST,
    tick: Tick | None = None,
) -> Audit:
    """What the films have in common; `looks` are theirs, in the same order."""
    exact = _exact(looks)
    pairs = [*exact, *_alike(looks, {pair.other for pair in exact}, least, tick)]
    picture = tied((pair.one, pair.other) for pair in pairs)
    groups = defaultdict(list)
    for place in sorted(picture):
        groups[picture[place]].append(place)
    names = defaultdict(list)
    for place, film in enumerate(films):
        names[film.sample.id].append(place)
    alike = [some for some in names.values() if len({films[place].data_set for place in some}) > 1]
    return Audit(
        films=tuple(films),
        pairs=tuple(sorted(pairs, key=lambda pair: (pair.one, pair.other))),
        groups=tuple(map(tuple, groups.values())),
        data_sets=_shared(films, groups.values(), lambda film: film.data_set),
        parts=_parts(films, groups.values()) if split else (),
        split=split,
        named_alike=len(alike),
        of_one_picture=sum(len({picture.get(place, -place - 1) for place in some}) == 1 for some in alike),
        failures=tuple(looks.failures.values()),
    )


def _parts(films: Sequence[Film], groups: Collection[Sequence[int]]) -> tuple[Shared, ...]:
    """What parts of the split share, and what its test part shares with patients that it does not name."""
    found = _shared(films, groups, lambda film: film.part or OUTSIDE)
    return tuple(
        one for one in found if OUTSIDE not in (one.one, one.other) or "test" in (one.one, one.other)
    )


def leaks(found: Audit) -> tuple[Shared, ...]:
    """What two sides share: parts of the split if there is one, else data sets."""
    return found.parts if found.split else found.data_sets


def _exact(looks: Looks) -> list[Pair]:
    """Each film with the file or pixels of an earlier film, paired with the first such film."""
    files: dict[str, int] = {}
    pixels: dict[str, int] = {}
    pairs = []
    for place, (file, grey) in enumerate(zip(looks.files, looks.pixels, strict=True)):
        if not grey:
            continue
        if file and file in files:
            pairs.append(Pair(one=files[file], other=place, kind=FILE, turn="", likeness=1.0))
        elif grey in pixels:
            pairs.append(Pair(one=pixels[grey], other=place, kind=PIXELS, turn="", likeness=1.0))
        files.setdefault(file, place)
        pixels.setdefault(grey, place)
    return pairs


def _alike(looks: Looks, known: set[int], least: float, tick: Tick | None) -> list[Pair]:
    """Films that show the same picture, except those `known` to be copies of an earlier film."""
    own = np.array([i for i, grey in enumerate(looks.pixels) if grey and i not in known], int)
    found = candidates(looks.looks, own, tick=tick)
    turns = [*TURNS]

    def compare(pair: tuple[int, int, int]) -> Pair:
        one, other, view = pair
        turn = turns[view] if view < len(turns) else ""
        value = likeness(looks.looks[one], looks.looks[other], view)
        return Pair(one=min(one, other), other=max(one, other), kind=PICTURE, turn=turn, likeness=value)

    kept = []
    with ThreadPoolExecutor(cores()) as pool:
        for done, pair in enumerate(pool.map(compare, found.tolist()), 1):
            if pair.likeness >= least:
                kept.append(pair)
            if tick:
                tick(done, len(found), "comparing films that look alike")
    return kept


def _shared(
    films: Sequence[Film], groups: Iterable[Sequence[int]], side: Callable[[Film], str]
) -> tuple[Shared, ...]:
    """For every two sides, how many pictures, patients and studies they share."""
    members: dict[str, list[set[str]]] = {
        "pictures": [{side(films[place]) for place in group} for group in groups],
        "patients": _sides(films, side, lambda film: film.sample.patient),
        "studies": _sides(films, side, lambda film: film.sample.study),
    }
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(members, 0))
    for what, some in members.items():
        for sides in some:
            for pair in combinations(sorted(sides), 2):
                counts[pair][what] += 1
    return tuple(Shared(one=one, other=other, **count) for (one, other), count in sorted(counts.items()))


def _sides(
    films: Sequence[Film], side: Callable[[Film], str], of: Callable[[Film], str | None]
) -> list[set[str]]:
    """The sides of each patient or study."""
    found: dict[str, set[str]] = defaultdict(set)
    for film in films:
        if name := of(film):
            found[name].add(side(film))
    return list(found.values())
