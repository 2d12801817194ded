"""A small vision transformer whose averaged patches are the film's features."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hilum.errors import ConfigError
from hilum.models import imagenet
from hilum.models.evidence import Evidence


class ViT(nn.Module):
    """A timm vision transformer without class token: each patch gives evidence, and the mean is the logit.

    Input (N, channels, S, S) with S divisible by `patch`, the patches' side. The learned positions are scaled
    to the film's grid of patches, so that one network takes any size. Outputs as of `Evidence`. `drop_path`
    is the share of residual branches dropped in training (stochastic depth) at the last block. With `stem`
    "convolutions", several small convolutions replace the single large one of the patches, which helps with
    few films; `patch` must then be a power of two, and there are no ImageNet weights.
    Sources: Dosovitskiy et al., ICLR 2021; patches averaged as in Beyer et al., arXiv 2205.01580; the stem
    after Xiao et al., NeurIPS 2021, without their last convolution of 1 x 1.
    """

    def __init__(
        self,
        labels: int,
        *,
        channels: int = 1,
        backbone: str = "vit_tiny_patch16_224",
        patch: int = 16,
        stem: Literal["patches", "convolutions"] = "patches",
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.backbone = imagenet.timm().create_model(
            backbone,
            pretrained=False,
            in_chans=channels,
            num_classes=0,
            patch_size=patch,
            img_size=14 * patch,  # the number of patches, and positions, of the original
            class_token=False,
            global_pool="avg",
            fc_norm=False,
            drop_path_rate=drop_path,
        )
        if stem == "convolutions":
            self.backbone.patch_embed.proj = _convolutions(channels, patch, self.backbone.num_features)
        elif stem != "patches":
            raise ConfigError(f"arguments.stem={stem!r}: must be 'patches' or 'convolutions'")
        self.head = Evidence(self.backbone.num_features, labels)
        self._name = backbone

    def forward(self, films: Tensor) -> dict[str, Tensor]:
        patch = self.backbone.patch_embed.patch_size[0]
        if films.shape[-1] % patch:
            raise ConfigError(f"preparation.size={films.shape[-1]}: must be a multiple of {patch}; change it")
        maps = self.backbone.patch_embed.proj(films)
        rows, columns = self.backbone.patch_embed.grid_size
        positions = self.backbone.pos_embed.transpose(1, 2).unflatten(2, (rows, columns))
        maps = maps + F.interpolate(positions, size=maps.shape[-2:], mode="bilinear", align_corners=False)
        patches = self.backbone.norm(self.backbone.blocks(maps.flatten(2).transpose(1, 2)))
        outputs: dict[str, Tensor] = self.head(patches.transpose(1, 2).unflatten(2, maps.shape[-2:]))
        return outputs

    def load_imagenet(self) -> str:
        """Fill the backbone with ImageNet weights; returns where they came from.

        Raises TrainingError, and ConfigError for the stem "convolutions", which has none.
        """
        if not isinstance(self.backbone.patch_embed.proj, nn.Conv2d):
            raise ConfigError("start='imagenet': none for arguments.stem='convolutions'; use start='random'")
        return imagenet.fill(self.backbone, self._name)


def _convolutions(channels: int, patch: int, features: int) -> nn.Sequential:
    """Convolutions of stride 2 from `patch` x `patch` pixels to a vector, each twice as wide as the last."""
    if patch < 2 or patch & (patch - 1):
        raise ConfigError(f"arguments.patch={patch}: must be a power of two for stem='convolutions'")
    layers: list[nn.Module] = []
    for halvings in reversed(range(patch.bit_length() - 1)):
        width = features >> halvings
        layers += [nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.GELU()]
        channels = width
    return nn.Sequential(*layers[:-1])
