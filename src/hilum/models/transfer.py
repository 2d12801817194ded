"""Networks on a timm backbone: a classifier with a pooled linear head, and a U-Net."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hilum.errors import ConfigError
from hilum.models import imagenet
from hilum.models.unet import double, scaled


class Transfer(nn.Module):
    """A timm backbone at stride 16 and a 1 x 1 convolution that turns features into evidence.

    Input (N, 1, S, S); output ``logits`` (N, labels), ``features`` (N, D) and ``evidence``
    (N, labels, h, w), whose spatial mean is the logit, bias included.
    """

    def __init__(self, labels: int, *, backbone: str) -> None:
        super().__init__()
        self.backbone = imagenet.timm().create_model(
            backbone, pretrained=False, in_chans=1, num_classes=0, output_stride=16
        )
        self.head = nn.Conv2d(self.backbone.num_features, labels, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        self._name = backbone

    def forward(self, films: Tensor) -> dict[str, Tensor]:
        maps = self.backbone.forward_features(films)
        evidence = self.head(maps)
        return {
            "logits": evidence.mean(dim=(2, 3)),
            "features": maps.mean(dim=(2, 3)),
            "evidence": evidence,
        }

    def load_imagenet(self) -> str:
        """Fill the backbone with ImageNet weights; returns where they came from. Raises TrainingError."""
        return imagenet.fill(self.backbone, self._name)


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
            raise ConfigError(f"preparation.size={films.shape[-1]}: must divide by 32; change it")
        *skips, x = self.backbone(films)
        for merge in self.merge:
            x = merge(torch.cat([F.interpolate(x, scale_factor=2.0), skips.pop()], dim=1))
        return {"logits": scaled(self.head(x), 2)}

    def load_imagenet(self) -> str:
        """Fill the backbone with ImageNet weights; returns where they came from. Raises TrainingError."""
        return imagenet.fill(self.backbone, self._name)
