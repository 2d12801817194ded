"""Networks on timm backbones: classifiers with a pooled linear head, and a U-Net."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hilum.errors import ConfigError
from hilum.models import imagenet
from hilum.models.evidence import Evidence
from hilum.models.unet import double, scaled


class Transfer(nn.Module):
    """timm backbones side by side and a 1 x 1 convolution that turns their features into evidence.

    Input (N, channels, S, S); outputs as of `Evidence`. Names of several backbones are joined by +: their
    features are concatenated before the head, and S must be divisible by 32. `stages` keeps only the first of
    a MobileNet's seven stages; four hold a tenth of its weights. `options` are timm's.
    """

    def __init__(
        self, labels: int, *, backbone: str, channels: int = 1, stages: int | None = None, **options: Any
    ) -> None:
        super().__init__()
        self._names = backbone.split("+")
        parts = [_headless(name, channels, options) for name in self._names]
        if stages is not None:
            _shorten(parts[0], stages)
        # A single backbone keeps its place in older checkpoints, from before stacks of several.
        self.backbone = parts[0] if len(parts) == 1 else nn.ModuleList(parts)
        self.head = Evidence(sum(part.num_features for part in parts), labels)

    @property
    def _parts(self) -> list[Any]:
        return list(self.backbone) if isinstance(self.backbone, nn.ModuleList) else [self.backbone]

    def forward(self, films: Tensor) -> dict[str, Tensor]:
        if len(self._names) > 1 and films.shape[-1] % 32:
            # Some backbones round a map's side up, others down.
            raise ConfigError(f"preparation.size={films.shape[-1]}: must be a multiple of 32; change it")
        outputs: dict[str, Tensor] = self.head(
            torch.cat([part.forward_features(films) for part in self._parts], dim=1)
        )
        return outputs

    def load_imagenet(self) -> str:
        """Fill the backbones with ImageNet weights; returns where they came from. Raises TrainingError."""
        pairs = zip(self._parts, self._names, strict=True)
        return " + ".join(imagenet.fill(part, name) for part, name in pairs)


def _headless(name: str, channels: int, options: dict[str, Any]) -> Any:
    """A backbone of timm's whose ``forward_features`` gives maps that a head can average."""
    module = imagenet.timm().create_model(name, pretrained=False, in_chans=channels, num_classes=0, **options)
    if name.startswith("vgg"):
        # The dense layers hold nine tenths of the weights, and the last pooling halves the grid: drop both.
        module.pre_logits = nn.Identity()
        module.features[-1] = nn.Identity()
    return module


def _shorten(module: Any, stages: int) -> None:
    """Drop the last stages of a MobileNet, and the layer that widens their features."""
    if not 1 <= stages <= len(getattr(module, "blocks", ())):
        raise ConfigError(f"arguments.stages={stages}: a MobileNet has 1 to 7, other backbones none")
    module.blocks = module.blocks[:stages]
    module.conv_head, module.bn2 = nn.Identity(), nn.Identity()
    module.num_features = [m for m in module.blocks.modules() if isinstance(m, nn.Conv2d)][-1].out_channels


class TransferUNet(nn.Module):
    """A U-Net whose encoder is a timm backbone; its finest level has stride 2, and its logits are upsampled.

    Input (N, 1, S, S) with S divisible by 32; output ``logits`` (N, labels, S, S), one channel a structure.
    A decoder level has twice the channels of its skip connection, between `width` and `widest`.
    """

    def __init__(self, labels: int, *, backbone: str, width: int = 16, widest: int = 96) -> None:
        super().__init__()
        self.backbone = imagenet.timm().create_model(
            backbone, pretrained=False, in_chans=1, features_only=True
        )
        *skips, channels = self.backbone.feature_info.channels()
        self.merge = nn.ModuleList()
        for skip in reversed(skips):
            outputs = min(max(2 * skip, width), widest)
            self.merge.append(double(channels + skip, outputs))
            channels = outputs
        self.head = nn.Conv2d(channels, labels, 1)
        self._name = backbone

    def forward(self, films: Tensor) -> dict[str, Tensor]:
        if films.shape[-2] % 32 or films.shape[-1] % 32:
            raise ConfigError(f"preparation.size={films.shape[-1]}: must be a multiple of 32; change it")
        *skips, x = self.backbone(films)
        for merge in self.merge:
            x = merge(torch.cat([F.interpolate(x, scale_factor=2.0), skips.pop()], dim=1))
        return {"logits": scaled(self.head(x), 2)}

    def load_imagenet(self) -> str:
        """Fill the backbone with ImageNet weights; returns where they came from. Raises TrainingError."""
        return imagenet.fill(self.backbone, self._name)
