"""The U-Net: double 3x3 convolutions with batch normalisation, max-pooling, skip connections."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hilum.errors import ConfigError


def double(inputs: int, outputs: int, *, norm: bool = True, stride: int = 1) -> nn.Sequential:
    """Two 3x3 convolutions, each with ReLU and, if `norm`, batch normalisation; the first has the stride."""
    layers: list[nn.Module] = []
    for channels, step in ((inputs, stride), (outputs, 1)):
        layers.append(nn.Conv2d(channels, outputs, 3, step, padding=1, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """One output channel a structure, each an independent logit.

    Input (N, 1, S, S) with S divisible by ``stride * 2 ** depth``; output ``logits`` (N, labels, S, S) and,
    in training with `deep`, ``coarse``: the logits of the decoder's inner levels, smaller, coarsest first.
    A `stride` of 2 works at half the resolution and a quarter of the cost, and upsamples the logits. Source:
    Ronneberger et al., MICCAI 2015, with batch normalisation; the first level has `width` filters. The gates
    of `attention` follow Oktay et al., MIDL 2018; deep supervision follows Lee et al., AISTATS 2015. Raises
    ConfigError for a width, depth or stride below 1 and for an input of another size.
    """

    def __init__(
        self,
        labels: int,
        *,
        width: int = 16,
        depth: int = 4,
        norm: bool = True,
        stride: int = 1,
        attention: bool = False,
        deep: bool = False,
    ) -> None:
        super().__init__()
        if width < 1 or depth < 1 or stride < 1:
            raise ConfigError(f"width={width}, depth={depth}, stride={stride}: must all be at least 1")
        widths = [width * 2**level for level in range(depth + 1)]
        inwards = [1, *widths[:-1]]
        upwards = list(reversed(range(depth)))
        self.stride = stride
        self.down = nn.ModuleList(
            double(inwards[level], widths[level], norm=norm, stride=1 if level else stride)
            for level in range(depth + 1)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in upwards
        )
        self.merge = nn.ModuleList(double(2 * widths[level], widths[level], norm=norm) for level in upwards)
        self.gates = nn.ModuleList(_Gate(widths[level]) if attention else _Open() for level in upwards)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(width, labels, 1)
        self.heads = nn.ModuleList(nn.Conv2d(widths[level], labels, 1) for level in upwards[:-1] if deep)

    def forward(self, films: Tensor) -> dict[str, Tensor | list[Tensor]]:
        step = self.stride * 2 ** len(self.up)
        if films.shape[-2] % step or films.shape[-1] % step:
            why = f"must be a multiple of {step}; change it, or arguments.depth"
            raise ConfigError(f"preparation.size={films.shape[-1]}: {why}")
        skips: list[Tensor] = []
        x = films
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        inner: list[Tensor] = []
        for up, gate, merge in zip(self.up, self.gates, self.merge, strict=True):
            x = up(x)
            x = merge(torch.cat([gate(skips.pop(), x), x], dim=1))
            inner.append(x)
        outputs: dict[str, Tensor | list[Tensor]] = {"logits": scaled(self.head(x), self.stride)}
        if self.training and self.heads:
            outputs["coarse"] = [head(x) for head, x in zip(self.heads, inner, strict=False)]
        return outputs


def scaled(planes: Tensor, factor: int) -> Tensor:
    """Planes (N, C, h, w) upsampled bilinearly by a factor."""
    if factor == 1:
        return planes
    return F.interpolate(planes, scale_factor=float(factor), mode="bilinear", align_corners=False)


class _Gate(nn.Module):
    """Attention gate: weighs a skip connection (N, width, h, w) by the coarser level, of the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(1, width // 2)
        self.skip = nn.Conv2d(width, inner, 1)
        self.signal = nn.Conv2d(width, inner, 1)
        self.weight = nn.Conv2d(inner, 1, 1)

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        share: Tensor = self.weight(F.relu(self.skip(skip) + self.signal(signal))).sigmoid()
        return skip * share


class _Open(nn.Module):
    """No gate: the skip connection as it is."""

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        del signal
        return skip
