"""Which of a data set's films a verb works on, and what must be told of that."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, cast

import typer

if TYPE_CHECKING:
    from hilum.card import Card
    from hilum.data.split import Part
    from hilum.types import Sample

UNSPLIT = "no --split: films that the model learned from, or that are kept to test it, may be among these"

PARTS = ("test", "tune", "train")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The films of a verb."""

    samples: list[Sample]
    sources: dict[str, str]  # sample id -> the data set that it was taken from
    about: dict[str, object]  # what results say of the choice


def choose(
    names: Sequence[str],
    cards: Sequence[Card],
    *,
    split: Path | None,
    part: str | None = None,
    fold: int = 0,
    default: str = "test",
) -> Chosen:
    """The films of data sets, or of a part of a split.

    Warns of models (`cards`) that may have learned from them. Raises DataError, and BadParameter for a part
    or fold that is no such, or that no split is given for.
    """
    from hilum.data import join, open_data, short
    from hilum.data.split import read_split, select

    if split is None and (part or fold):
        raise typer.BadParameter("is of a split; give --split", param_hint="--part" if part else "--fold")
    part = part or default
    if part not in PARTS:
        raise typer.BadParameter(f"must be one of {', '.join(PARTS)}", param_hint="--part")
    given = [(short(name), open_data(name)) for name in names]
    samples = join([some for _, some in given])
    # As `join` takes films: of one that stands in several data sets, the first.
    sources = {sample.id: name for name, some in reversed(given) for sample in some}
    about: dict[str, object] = {"data": [name for name, _ in given]}
    warnings = _unsplit(names, samples, cards)
    if split is not None:
        parts = read_split(split)
        samples = select(samples, parts, cast("Part", part), fold=fold)
        about |= {"part": part, "split_sha256": parts.sha256}
        warnings = _informed(cards, parts.sha256, part, fold)
    for warning in warnings:
        print(warning, file=sys.stderr)
    return Chosen(samples=samples, sources=sources, about=about | {"warnings": warnings})


_NAMED = {"nih": r"\d{8}_\d{3}", "jsrt": r"JPC(LN|NN)\d{3}", "shenzhen": r"CHNCXR_\d{4}_[01]"}
"""Published films by the names of their files, without the ending."""


def _unsplit(names: Sequence[str], samples: Sequence[Sample], cards: Sequence[Card]) -> list[str]:
    """A warning where a model learned from a data set of the same kind, or with films of such names."""
    kinds = {name.partition(":")[0] for name in names}
    learned = {name for card in cards for one in card.sources for name in one.name.split(" + ")}
    called = {PurePath(sample.id.rpartition(":")[2]).stem for sample in samples}
    known = any(
        re.fullmatch(pattern, stem)
        for source, pattern in _NAMED.items()
        if source in " ".join(learned).lower()
        for stem in called
    )
    return [UNSPLIT] if known or kinds & {name.partition(":")[0] for name in learned} else []


def _informed(cards: Sequence[Card], split: str, part: str, fold: int) -> list[str]:
    """Warnings of models that may have learned from the films, for all that the cards tell."""
    found = []
    for card in cards:
        if card.split_sha256 != split:
            found.append(f"{card.name}: trained by another split, it may have learned from these films")
        elif part == "train" or (part == "tune" and fold not in card.unlearned):
            found.append(f"{card.name}: learned from these films; its figures are too good")
    return found
