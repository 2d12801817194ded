"""A small vision transformer whose patches, averaged, are the film's features."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hilum.errors import ConfigError
from hilum.models import imagenet
from hilum.models.evidence import Evidence


class ViT(nn.Module):
    """A timm vision transformer without class token: each patch gives evidence, their mean is the logit.

    Input (N, channels, S, S) with S divisible by `patch`, the patches' side; the grid of learned positions is
    scaled to that of the film's patches, so that one network takes any size. Outputs as of `Evidence`.
    `drop_path` is the share of residual branches left out in training (stochastic depth), at the last block.
    Source: Dosovitskiy et al., ICLR 2021; patches averaged as in Beyer et al., arXiv 2205.01580.
    """

    def __init__(
        self,
        labels: int,
        *,
        channels: int = 1,
        backbone: str = "vit_tiny_patch16_224",
        patch: int = 16,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.backbone = imagenet.timm().create_model(
            backbone,
            pretrained=False,
            in_chans=channels,
            num_classes=0,
            patch_size=patch,
            img_size=14 * patch,  # as many patches, and positions, as it was made for
            class_token=False,
            global_pool="avg",
            fc_norm=False,
            drop_path_rate=drop_path,
        )
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
        """Fill the backbone with ImageNet weights; returns where they came from. Raises TrainingError."""
        return imagenet.fill(self.backbone, self._name)
