"""The U-Net: double 3x3 convolutions with batch normalisation, max-pooling, skip connections."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hilum.errors import ConfigError


def _double(inputs: int, outputs: int, *, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """One output channel a structure, each an independent logit.

    Input (N, 1, S, S) with S divisible by ``2 ** depth``; output ``{"logits": (N, labels, S, S)}``.
    Source: Ronneberger et al., MICCAI 2015; batch normalisation added, filters start at `width`. Raises
    ConfigError for a width or depth below 1 and for an input of another size.
    """

    def __init__(self, labels: int, *, width: int = 16, depth: int = 4, norm: bool = True) -> None:
        super().__init__()
        if width < 1 or depth < 1:
            raise ConfigError(f"width={width}, depth={depth}: must both be at least 1")
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _double(1 if level == 0 else widths[level - 1], widths[level], norm=norm)
            for level in range(depth + 1)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2)
            for level in reversed(range(depth))
        )
        self.merge = nn.ModuleList(
            _double(2 * widths[level], widths[level], norm=norm) for level in reversed(range(depth))
        )
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(width, labels, 1)

    def forward(self, films: Tensor) -> dict[str, Tensor]:
        step = 2 ** len(self.up)
        if films.shape[-2] % step or films.shape[-1] % step:
            raise ConfigError(
                f"preparation.size={films.shape[-1]}: must divide by {step}; change it, or arguments.depth"
            )
        skips: list[Tensor] = []
        x = films
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
        return {"logits": self.head(x)}
