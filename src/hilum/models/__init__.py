"""Every architecture, in one table. torch lives here and in training, never under prediction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from hilum.errors import ConfigError
from hilum.models.transfer import Transfer, TransferUNet
from hilum.models.unet import UNet

MODELS: dict[str, Callable[..., nn.Module]] = {
    "unet": UNet,
    "unet-mobilenetv2": partial(TransferUNet, backbone="mobilenetv2_100"),
    "unet-efficientnet-lite0": partial(TransferUNet, backbone="tf_efficientnet_lite0"),
    "mobilenetv2": partial(Transfer, backbone="mobilenetv2_100"),
}

TASKS: dict[str, Literal["segment", "classify"]] = {
    "unet": "segment",
    "unet-mobilenetv2": "segment",
    "unet-efficientnet-lite0": "segment",
    "mobilenetv2": "classify",
}


def build(architecture: str, labels: int, *, seed: int, **arguments: Any) -> nn.Module:
    """A network by name with random weights drawn from `seed`; raises ConfigError for an unknown name."""
    if architecture not in MODELS:
        raise ConfigError(f"architecture={architecture!r}: must be one of {', '.join(MODELS)}")
    # torch draws initial weights from its global generator: borrow it and give it back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            return MODELS[architecture](labels, **arguments)
        except TypeError as error:
            raise ConfigError(
                f"architecture={architecture!r}: {error}; see its arguments in hilum.models"
            ) from None
