"""Which of a data set's films a verb works on, and what must be told of that."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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
    from hilum.data.split import may_know, read_split, select

    if split is None and (part or fold):
        raise typer.BadParameter("is of a split; give --split", param_hint="--part" if part else "--fold")
    part = part or default
    if part not in PARTS:
        raise typer.BadParameter(f"must be one of {', '.join(PARTS)}", param_hint="--part")
    brief = [short(name) for name in names]
    # Where two would be called alike, as every import's films.csv, they go by their whole names.
    given = [
        (name if brief.count(called) > 1 else called, open_data(name))
        for name, called in zip(names, brief, strict=True)
    ]
    samples = join([some for _, some in given])
    # As `join` takes films: of one that stands in several data sets, the first.
    sources = {sample.id: name for name, some in reversed(given) for sample in some}
    about: dict[str, object] = {"data": [name for name, _ in given]}
    learned = [source.name for card in cards for source in card.sources]
    warnings = [UNSPLIT] if may_know(learned, names, samples) else []
    if split is not None:
        parts = read_split(split)
        known = sorted({*parts.parts.values()} - {"test"}, key=int)
        if part != "test" and known and str(fold) not in known:
            raise typer.BadParameter(f"{split} has {', '.join(known)}", param_hint="--fold")
        samples = select(samples, parts, cast("Part", part), fold=fold)
        about |= {"part": part, "split_sha256": parts.sha256}
        warnings = _informed(cards, parts.sha256, part, fold)
    for warning in warnings:
        print(warning, file=sys.stderr)
    return Chosen(samples=samples, sources=sources, about=about | {"warnings": warnings})


def _informed(cards: Sequence[Card], split: str, part: str, fold: int) -> list[str]:
    """Warnings of models that may have learned from the films, for all that the cards tell."""
    from hilum.card import ANY

    found = []
    for card in cards:
        if card.split_sha256 != split:
            why = "trained by another split, it may have learned from these films"
        elif part == "train" or (part == "tune" and fold not in card.kept):
            why = "learned from these films; its figures are too good"
        elif part == "tune" and str(fold) in card.informed:
            why = "its start or a teacher learned from these films; its figures are too good"
        elif ANY in card.informed:
            why = "its start or a teacher, trained by another split, may have learned from these films"
        else:
            continue
        found.append(f"{card.name}: {why}")
    return found
