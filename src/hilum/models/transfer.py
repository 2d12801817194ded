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

    Input (N, channels, S, S); outputs as of `Evidence`. Of several backbones, given with + in between, the
    features are joined before the one head, and S must divide by 32. `stages` keeps a MobileNet's first ones
    alone, of seven: four are a tenth of its weights. `options` are timm's own.
    """

    def __init__(
        self, labels: int, *, backbone: str, channels: int = 1, stages: int | None = None, **options: Any
    ) -> None:
        super().__init__()
        self._names = backbone.split("+")
        parts = [_headless(name, channels, options) for name in self._names]
        if stages is not None:
            _shorten(parts[0], stages)
        # One backbone keeps the place it has in the checkpoints of before there were stacks.
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
    """A backbone of timm's whose ``forward_features`` gives the maps that a head may average."""
    module = imagenet.timm().create_model(name, pretrained=False, in_chans=channels, num_classes=0, **options)
    if name.startswith("vgg"):
        # Its dense layers hold nine tenths of its weights, and its last pooling half of its grid.
        module.pre_logits = nn.Identity()
        module.features[-1] = nn.Identity()
    return module


def _shorten(module: Any, stages: int) -> None:
    """Leave the last stages of a MobileNet out, and the layer that widens their features."""
    if not 1 <= stages <= len(getattr(module, "blocks", ())):
        raise ConfigError(f"arguments.stages={stages}: a MobileNet has 1 to 7, other backbones none")
    module.blocks = module.blocks[:stages]
    module.conv_head, module.bn2 = nn.Identity(), nn.Identity()
    module.num_features = [m for m in module.blocks.modules() if isinstance(m, nn.Conv2d)][-1].out_channels


class TransferUNet(nn.Module):
    """A U-Net whose way down is a timm backbone; its finest level is at stride 2, its logits scaled up.

    Input (N, 1, S, S) with S divisible by 32; output ``logits`` (N, labels, S, S), one channel a structure.
    A level of the decoder is twice as wide as the skip connection it takes in, from `width` to `widest`.
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
