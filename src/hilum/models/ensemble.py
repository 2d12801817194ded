"""Several networks that speak as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """The mean of what networks for the same labels and films say.

    Input as theirs; outputs ``logits`` (N, labels), their mean, ``features``, theirs side by side, and, where
    all give it on one grid, ``evidence``, whose spatial mean then is the logit as well. With `mirrored` each
    is also asked about the film's mirror image.
    """

    def __init__(self, members: Sequence[nn.Module], *, mirrored: bool = False) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._mirrored = mirrored

    def forward(self, films: Tensor) -> dict[str, Tensor]:
        said = [member(films) for member in self.members]
        if self._mirrored:
            said += [_back(member(films.flip(-1))) for member in self.members]
        outputs = {"logits": torch.stack([one["logits"] for one in said]).mean(dim=0)}
        if all("features" in one for one in said):
            outputs["features"] = torch.cat([one["features"] for one in said], dim=1)
        # Of the grid alone: to compare the number of films as well would fix it in the exported graph.
        grids = {tuple(one["evidence"].shape[2:]) if "evidence" in one else None for one in said}
        if len(grids) == 1 and None not in grids:
            outputs["evidence"] = torch.stack([one["evidence"] for one in said]).mean(dim=0)
        return outputs


def _back(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """What was said of a mirror image, its map turned back."""
    return {key: value.flip(-1) if key == "evidence" else value for key, value in outputs.items()}
