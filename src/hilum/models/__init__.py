"""Every architecture, in one table. This package needs torch, as training does; prediction does not."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from hilum.errors import ConfigError, HilumError
from hilum.models.cnn import CNN
from hilum.models.ensemble import Ensemble
from hilum.models.transfer import Transfer, TransferUNet
from hilum.models.unet import UNet
from hilum.models.vit import ViT


def _ensemble(
    labels: int, *, members: Sequence[dict[str, Any]], mirrored: bool = False, **shared: Any
) -> Ensemble:
    """An ensemble of networks of the table; each member gives its ``architecture`` and ``arguments``."""
    networks = [MODELS[one["architecture"]](labels, **shared, **one.get("arguments", {})) for one in members]
    return Ensemble(networks, mirrored=mirrored)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "unet": UNet,
    "unet-mobilenetv2": partial(TransferUNet, backbone="mobilenetv2_100"),
    "unet-efficientnet-lite0": partial(TransferUNet, backbone="tf_efficientnet_lite0"),
    "cnn": CNN,
    "vgg16": partial(Transfer, backbone="vgg16_bn"),
    "resnet50": partial(Transfer, backbone="resnet50", output_stride=16),
    "mobilenetv2": partial(Transfer, backbone="mobilenetv2_100", output_stride=16),
    "densenet121": partial(Transfer, backbone="densenet121"),
    "densenet169": partial(Transfer, backbone="densenet169"),
    "efficientnet-lite0": partial(Transfer, backbone="tf_efficientnet_lite0", output_stride=16),
    # Normalised before its maps are averaged, not after, so that their mean is the logit.
    "convnext": partial(Transfer, backbone="convnext_atto", output_stride=16, head_norm_first=True),
    "stacked": partial(Transfer, backbone="mobilenetv2_100+densenet169"),
    "vit": ViT,
    "ensemble": _ensemble,
}

Purpose = Literal["segment", "classify"]

TASKS: dict[str, Purpose] = {name: "segment" if name.startswith("unet") else "classify" for name in MODELS}


def purpose(task: str) -> Purpose:
    """What a network must be made for, to be trained on a task: classifiers pretrain too."""
    return "segment" if task == "segment" else "classify"


def arguments(task: str) -> dict[str, list[str]]:
    """For each architecture of a task, its arguments with their defaults."""
    found = {}
    for name, make in MODELS.items():
        if TASKS[name] == purpose(task) and name != "ensemble":
            given = make.keywords if isinstance(make, partial) else {}
            named = inspect.signature(make.func if isinstance(make, partial) else make).parameters.values()
            defaults = {one.name: one.default for one in named if one.kind is one.KEYWORD_ONLY} | given
            found[name] = [f"{key}={value}" for key, value in defaults.items() if key != "channels"]
    return found


def build(architecture: str, labels: int, *, seed: int, channels: int = 1, **arguments: Any) -> nn.Module:
    """A network by name with random weights drawn from `seed`; raises ConfigError for an unknown name.

    A film has one channel; for more, the architecture must take the argument `channels`.
    """
    if architecture not in MODELS:
        raise ConfigError(f"architecture={architecture!r}: must be one of {', '.join(MODELS)}")
    # torch draws initial weights from its global generator: borrow it and give it back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            more = {} if channels == 1 else {"channels": channels}
            return MODELS[architecture](labels, **more, **arguments)
        except HilumError:
            raise
        except Exception as error:  # for wrong arguments torch and timm raise various errors
            raise ConfigError(
                f"architecture={architecture!r}, arguments={arguments}: {error}; "
                "'hilum train --settings' lists its arguments"
            ) from None
