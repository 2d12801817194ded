"""Trained classifiers -> one checkpoint that says their mean, calibrated on films none of them learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hilum.card import Card
from hilum.checkpoint import load
from hilum.config import TrainConfig, train_config
from hilum.data.cache import Tick
from hilum.errors import ConfigError
from hilum.finish import finish
from hilum.models.ensemble import Ensemble
from hilum.plan import make_plan

_SHARED = ("labels", "activation", "preparation", "split_sha256")


def ensemble(
    models: Sequence[str | Path],
    *,
    split: Path,
    out: Path,
    name: str,
    version: str = "0.1.0",
    data: Sequence[str] = (),
    tick: Tick | None = None,
) -> Card:
    """Write ``out/checkpoint``, the mean of `models`' logits, and return its card.

    The models share labels, preparation and the fold of one `split` that none of them learned from: on its
    films, of `data` or of the data the first model was trained on, the ensemble is calibrated and measured.
    Raises ConfigError where they do not.
    """
    if len(models) < 2:
        raise ConfigError(f"{len(models)} model: an ensemble has two or more")
    if (out / "checkpoint").exists():
        raise ConfigError(f"{out}: holds a checkpoint already; choose another out")
    loaded = [load(model) for model in models]
    first = loaded[0][1]
    for model, (_, card) in zip(models, loaded, strict=True):
        if card.task != "classify":
            raise ConfigError(f"{model}: made to {card.task}; an ensemble is of classifiers")
        for field in _SHARED:
            if getattr(card, field) != getattr(first, field):
                raise ConfigError(
                    f"{model}: its {field} is not {models[0]}'s; an ensemble's members share it"
                )
        if card.config.get("fold") != first.config.get("fold"):
            raise ConfigError(f"{model}: learned from films that {models[0]} was tuned on; share the fold")
    config = _config(first, loaded, split=split, out=out, name=name, version=version, data=data)
    plan = make_plan(config, tick)
    if plan.split.sha256 != first.split_sha256:
        raise ConfigError(f"{split}: not the split that the models were trained by; give that one")
    return finish(Ensemble([module for module, _ in loaded]).eval(), config, plan)


def _config(
    first: Card,
    loaded: Sequence[tuple[object, Card]],
    *,
    split: Path,
    out: Path,
    name: str,
    version: str,
    data: Sequence[str],
) -> TrainConfig:
    """The first model's settings, as far as they say which films are whose, with all members' in it."""
    members = [{"architecture": card.architecture, "arguments": card.arguments} for _, card in loaded]
    own = {"name": name, "version": version, "split": split, "out": out, "architecture": "ensemble"}
    own |= {"arguments": {"members": members}, "auxiliary": (), "teachers": (), "start": "random"}
    own |= {"labels": first.labels, "activation": first.activation}
    return train_config({**first.config, **own, **({"data": tuple(data)} if data else {})})
