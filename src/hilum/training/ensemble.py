"""Trained classifiers -> one checkpoint with their mean, calibrated on films that none of them learned."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from hilum.card import ANY, Card, refuse_overwrite
from hilum.config import train_config
from hilum.data.split import read_split
from hilum.errors import ConfigError
from hilum.models.ensemble import Ensemble
from hilum.training.checkpoint import load
from hilum.training.finish import finish
from hilum.training.plan import make_tuning_plan
from hilum.training.starts import flattered
from hilum.types import Tick

_logger = logging.getLogger(__name__)

_SHARED = ("labels", "activation", "preparation", "split_sha256", "outlines_sha256")


def ensemble(
    models: Sequence[str | Path],
    *,
    split: Path,
    out: Path,
    name: str,
    version: str = "0.1.0",
    data: Sequence[str] = (),
    mirrored: bool = False,
    tick: Tick | None = None,
) -> Card:
    """Write ``out/checkpoint``, the mean of `models`' logits, and return its card.

    The models must share labels, preparation and a fold of one `split` that none of them learned from. The
    ensemble is calibrated and measured on that fold of `data`, by default the first model's data. With
    `mirrored`, each model also sees the film's mirror image. Raises ConfigError if the models do not go
    together.
    """
    if len(models) < 2 and not mirrored:
        raise ConfigError(f"{len(models)} model: an ensemble has two or more, or one and its mirror image")
    refuse_overwrite(out)
    loaded = [load(model) for model in models]
    cards = [card for _, card in loaded]
    if read_split(split).sha256 != cards[0].split_sha256:
        raise ConfigError(f"{split}: not the split that the models were trained by; give that one")
    _agree(models, cards)
    if mirrored and cards[0].preparation.channels > 1:
        raise ConfigError(f"{models[0]}: takes outlines with right and left lung; leave its mirror image out")
    members = [{"architecture": card.architecture, "arguments": card.arguments} for card in cards]
    own = {"name": name, "version": version, "split": split, "out": out, "architecture": "ensemble"}
    own |= {"arguments": {"members": members, "mirrored": mirrored}, "start": "random"}
    own |= {"auxiliary": (), "teachers": (), "labels": cards[0].labels, "activation": cards[0].activation}
    own |= {"patients": 0, "extra": ()}  # of the training part, which is not opened
    fold = cards[0].config.get("fold")
    held = frozenset.intersection(*(card.unlearned for card in cards)) - {fold}
    # The first model's settings define the films and their split.
    config = train_config(
        {**cards[0].config, **own, "held": sorted(held), **({"data": tuple(data)} if data else {})}
    )
    plan = make_tuning_plan(config, tick)
    informed = _informed(cards, {str(fold), *map(str, held)})
    if informed:
        _logger.warning(flattered(informed))
    whole = Ensemble([module for module, _ in loaded], mirrored=mirrored).eval()
    sources = dict.fromkeys(source for card in cards for source in card.sources)
    return finish(whole, config, plan, _start(cards), informed, tuple(sources))


def _informed(cards: Sequence[Card], kept: Collection[str]) -> list[str]:
    """The folds of `kept` that a member may know, or ANY, as `Card.informed`."""
    known = {fold for card in cards for fold in card.informed}
    return [ANY] if ANY in known else sorted(known & set(kept), key=int)


def _start(cards: Sequence[Card]) -> str:
    """Where the members' initial weights came from, each origin once; "" if all were random."""
    starts = dict.fromkeys(card.weights or "random weights" for card in cards)
    return "" if [*starts] == ["random weights"] else "; ".join(starts)


def _agree(models: Sequence[str | Path], cards: Sequence[Card]) -> None:
    """Raise ConfigError unless all models share with the first what an honest mean needs."""
    first = cards[0]
    for model, card in zip(models, cards, strict=True):
        if card.task != "classify":
            raise ConfigError(f"{model}: made to {card.task}; an ensemble is of classifiers")
        for field in _SHARED:
            if getattr(card, field) != getattr(first, field):
                raise ConfigError(
                    f"{model}: its {field} is not {models[0]}'s; an ensemble's members share it"
                )
        if card.activation == "softmax" and card.weighed != first.weighed:
            raise ConfigError(
                f"{model}: weighs rare classes differently from {models[0]}; train both with the same "
                "weighting, sampling and loss"
            )
        if card.config.get("fold") != first.config.get("fold"):
            raise ConfigError(f"{model}: learned from films that {models[0]} was tuned on; share the fold")
