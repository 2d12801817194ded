"""What a training starts from: random weights, ImageNet's, or a checkpoint; and what that may know."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

import logging
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from hilum.card import ANY, Card, read_card
from hilum.config import TrainConfig
from hilum.data.split import may_know
from hilum.errors import ConfigError, HilumError
from hilum.models import MODELS, build
from hilum.runtime import find
from hilum.training.checkpoint import transplant
from hilum.training.plan import Plan

_logger = logging.getLogger(__name__)


def started(config: TrainConfig) -> TrainConfig:
    """The settings with start "auto" resolved: "imagenet" if there are such weights, else "random"."""
    if config.start != "auto":
        return config
    make = MODELS.get(config.architecture)
    has = hasattr(make.func if isinstance(make, partial) else make, "load_imagenet")
    # A vision transformer with a stem of convolutions has none.
    has &= config.arguments.get("stem", "patches") == "patches"
    return config.model_copy(update={"start": "imagenet" if has else "random"})


def sized(config: TrainConfig) -> None:
    """Raise ConfigError if the network cannot take films of this size, before any film is read."""
    channels, side = config.preparation.channels, config.preparation.size
    module = build(
        config.architecture, max(3, len(config.labels)), seed=0, channels=channels, **config.arguments
    )
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, channels, side, side))
    except HilumError:
        raise
    except Exception as error:  # as of `build`
        raise ConfigError(
            f"architecture={config.architecture!r}, arguments={config.arguments}: cannot take films of "
            f"{side} x {side} ({error}); change preparation.size, or the arguments"
        ) from None


def network(config: TrainConfig, plan: Plan) -> tuple[nn.Module, str]:
    """The network with the weights that training begins from, and where those come from.

    The settings are those after `started`.
    """
    outputs = len(plan.labels) + len(config.auxiliary)
    module = build(
        config.architecture,
        outputs,
        seed=config.seed,
        channels=config.preparation.channels,
        **config.arguments,
    )
    if config.start == "imagenet":
        if not hasattr(module, "load_imagenet"):
            raise ConfigError(
                f"start='imagenet': {config.architecture} has no ImageNet weights; use 'random'"
            )
        return module, f"ImageNet, {module.load_imagenet()}"  # type: ignore[operator]
    if config.start != "random":
        labels, head = (*plan.labels, *config.auxiliary), _head(module, config, outputs)
        card, left = transplant(module, config.start, labels, head)
        if random := sorted({*left} - head):
            _logger.warning(f"{config.start}: has no fitting {', '.join(random)}; these start at random")
        return module, origin(card)
    return module, ""


def _head(module: nn.Module, config: TrainConfig, outputs: int) -> set[str]:
    """The weights with a row for each output: those whose shape changes with one output more."""
    channels = config.preparation.channels
    larger = build(
        config.architecture, outputs + 1, seed=0, channels=channels, **config.arguments
    ).state_dict()
    return {key for key, value in module.state_dict().items() if larger[key].shape != value.shape}


def informed(config: TrainConfig, plan: Plan) -> tuple[str, ...]:
    """Folds held back from the run that its start or teachers learned from, or ANY, as `Card.informed`."""
    names = {config.start, *config.teachers} - {"random", "imagenet"}
    samples = [*plan.train.cache.samples, *plan.tune.cache.samples]
    found: set[str] = set()
    for card in (read_card(find(name)) for name in names):
        if card.split_sha256 == plan.split.sha256:
            found |= {str(fold) for fold in {config.fold, *config.held} - card.unlearned}
            found |= {ANY} & set(card.informed)
        elif may_know([source.name for source in card.sources], config.data, samples):
            found.add(ANY)
    return (ANY,) if ANY in found else tuple(sorted(found, key=int))


def flattered(informed: Sequence[str]) -> str:
    """A warning for a run whose start or teachers learned from films that its split holds back."""
    if ANY in informed:
        return (
            "the start or a teacher was trained by another split and may have learned from patients "
            "that this one holds back: scores on them will be too high"
        )
    return (
        f"the start or a teacher learned from fold {', '.join(informed)}, which this run holds back: scores "
        "on it will be too high"
    )


def origin(card: Card) -> str:
    """How another card names this checkpoint as the start of its training."""
    return f"{card.name} {card.version}, SHA-256 {card.sha256[:12]}"
