"""Chooses the films that a command works on, and warns about the choice."""

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

_FOREIGN = "trained by another split, it may have learned from these films"
UNSPLIT = "no --split: films that the model learned from, or that are kept to test it, may be among these"

PARTS = ("test", "tune", "train")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The films of a command."""

    samples: list[Sample]
    sources: dict[str, str]  # sample id -> the data set that it was taken from
    about: dict[str, object]  # what results say about the choice
    data: str  # data sets, part and split in one line, as in a card


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

    Warns about models (`cards`) that may have learned from them. Raises DataError, and BadParameter for an
    unknown part or fold, or one without a split.
    """
    from hilum.data import join, open_data, short
    from hilum.data.split import may_know, read_split, select

    if split is None and (part or fold):
        raise typer.BadParameter("needs --split", param_hint="--part" if part else "--fold")
    part = part or default
    if part not in PARTS:
        raise typer.BadParameter(f"must be one of {', '.join(PARTS)}", param_hint="--part")
    brief = [short(name) for name in names]
    # Two that share a short name, such as films.csv of every import, are named in full.
    given = [
        (name if brief.count(called) > 1 else called, open_data(name))
        for name, called in zip(names, brief, strict=True)
    ]
    samples = join([some for _, some in given])
    # Like `join`: a film in several data sets is taken from the first.
    sources = {sample.id: name for name, some in reversed(given) for sample in some}
    about: dict[str, object] = {"data": [name for name, _ in given]}
    learned = [name for card in cards for name in _learned(card)]
    warnings = [UNSPLIT] if may_know(learned, names, samples) else []
    data = " + ".join(brief)  # never a path or a signed URL: cards are published
    if split is not None:
        parts = read_split(split)
        known = sorted({*parts.parts.values()} - {"test"}, key=int)
        if part != "test" and known and str(fold) not in known:
            raise typer.BadParameter(
                f"no fold {fold} in {split}; choose from {', '.join(known)}", param_hint="--fold"
            )
        samples = select(samples, parts, cast("Part", part), fold=fold)
        about |= {"part": part, "split_sha256": parts.sha256}
        which = f"tuning fold {fold}" if part == "tune" else f"{part} part"
        data += f", {which} of split {parts.sha256[:12]}"
        others = [card for card in cards if card.split_sha256 != parts.sha256]
        foreign = [card.name for card in others if _began(card) or may_know(_learned(card), names, samples)]
        warnings = [f"{name}: {_FOREIGN}" for name in foreign]
        warnings += _informed([card for card in cards if card not in others], part, fold)
    warnings += [f"{card.name}: {why}" for card in cards if (why := _calibrated(card, data))]
    for warning in warnings:
        print(warning, file=sys.stderr)
    return Chosen(samples=samples, sources=sources, about=about | {"warnings": warnings}, data=data)


def _learned(card: Card) -> list[str]:
    """The names of the data sets that a model was trained on."""
    return [source.name for source in card.sources]


def _began(card: Card) -> bool:
    """Whether a model began from another one or was taught by one: its card does not name their films."""
    starts = [one for one in card.weights.split("; ") if one not in ("", "random weights")]
    return bool(card.config.get("teachers")) or not all(one.startswith("ImageNet") for one in starts)


def _calibrated(card: Card, data: str) -> str:
    """A warning if a model was calibrated on films called `data`, or of which those are a part; else ""."""
    fitted = {one.films for one in card.calibration.values()} | {one.films for one in card.sets.values()}
    fitted |= {one.films for one in card.thresholds.values()}
    for films in sorted({told.partition(" patients, ")[2] for told in fitted} - {""}):
        if f"{data}, ".startswith(f"{films}, "):
            return (
                f"calibrated on {films}, perhaps these films; its probabilities and calls may look too good"
            )
    return ""


def _informed(cards: Sequence[Card], part: str, fold: int) -> list[str]:
    """Warnings about models that, by their cards, learned or may have learned from a part of their split."""
    from hilum.card import ANY

    found = []
    for card in cards:
        if part == "train" or (part == "tune" and fold not in card.kept):
            why = "learned from these films; its figures are too good"
        elif part == "tune" and str(fold) in card.informed:
            why = "its start or a teacher learned from these films; its figures are too good"
        elif ANY in card.informed:
            why = "its start or a teacher, trained by another split, may have learned from these films"
        else:
            continue
        found.append(f"{card.name}: {why}")
    return found
