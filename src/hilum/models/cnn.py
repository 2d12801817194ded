"""The plain network: a few convolutions, then dense layers on the flattened map."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hilum.errors import ConfigError


class CNN(nn.Module):
    """A beginner's network: `depth` times convolution, ReLU and max-pooling, then two dense layers.

    Input (N, channels, S, S) with S divisible by ``grid * 2 ** depth``; output ``logits`` (N, labels) and
    ``features`` (N, dense). The last map is averaged to `grid` x `grid` cells before it is flattened, so that
    one network takes several sizes. It has no normalisation, and nearly all weights in a dense layer, so it
    overfits small data sets: it serves as an example of that, with `dropout` as the only remedy. Raises
    ConfigError for an input of another size.
    """

    def __init__(
        self,
        labels: int,
        *,
        channels: int = 1,
        width: int = 16,
        depth: int = 4,
        grid: int = 8,
        dense: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for level in range(depth):
            layers += [nn.Conv2d(channels, width * 2**level, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            channels = width * 2**level
        self.convolutions = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.dense = nn.Linear(channels * grid**2, dense)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dense, labels)
        self._least = grid * 2**depth

    def forward(self, films: Tensor) -> dict[str, Tensor]:
        if films.shape[-1] % self._least:
            why = f"must be a multiple of {self._least}; change it, or arguments.grid"
            raise ConfigError(f"preparation.size={films.shape[-1]}: {why}")
        maps = self.pool(self.convolutions(films))
        features = F.relu(self.dense(self.dropout(maps.flatten(1))))
        return {"logits": self.head(self.dropout(features)), "features": features}
