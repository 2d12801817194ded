"""Transfer learning in stages: which weights are trained when, and at which rate."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

from collections.abc import Iterator
from typing import Any

from torch import nn

_STAGES = 12  # groups of a backbone's layers, first to last


def parameter_groups(module: nn.Module, *, decay: float, first: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser, each with its ``share`` of the learning rate and its weight decay.

    The backbone's first layers learn at `first` (0..1) of the head's rate; towards the head the rate grows by
    equal factors. Biases and norms are not decayed.
    """
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for share, parameter in _shares(module, first):
        found.setdefault((share, decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    return [
        {"params": parameters, "share": share, "weight_decay": decayed}
        for (share, decayed), parameters in found.items()
    ]


def freeze(module: nn.Module, learning: float) -> None:
    """Let only the last share (0..1) of the backbone's layers learn; freeze the others and their statistics.

    Call it again after each `module.train()`.
    """
    for part in backbones(module):
        parameters = list(part.parameters())
        for i, parameter in enumerate(parameters):
            parameter.requires_grad_(i >= round((1 - learning) * len(parameters)))
        for layer in part.modules():
            own = list(layer.parameters())
            if own and not any(parameter.requires_grad for parameter in own):
                layer.eval()


def learning(epoch: int, *, frozen: int, thaw: int) -> float:
    """The share of a backbone's layers that learn in an epoch, counted from 0.

    It is 0 for `frozen` epochs, then grows in `thaw` equal steps, then is 1.
    """
    return 0.0 if epoch < frozen else min(1.0, (epoch - frozen + 1) / (thaw + 1))


def backbones(module: nn.Module) -> list[nn.Module]:
    """The backbones of a network, for which there are ImageNet weights; empty if it has none."""
    whole = getattr(module, "backbone", None)
    return list(whole) if isinstance(whole, nn.ModuleList) else [] if whole is None else [whole]


def _shares(module: nn.Module, first: float) -> Iterator[tuple[float, nn.Parameter]]:
    """Every parameter with its share of the rate."""
    inside: dict[nn.Parameter, float] = {}
    for part in backbones(module):
        parameters = list(part.parameters())
        for i, parameter in enumerate(parameters):
            stage = _STAGES * i // len(parameters)
            inside[parameter] = first ** (1 - stage / _STAGES)
    for parameter in module.parameters():
        yield inside.get(parameter, 1.0), parameter
