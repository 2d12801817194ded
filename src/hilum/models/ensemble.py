"""Several networks as one, by the mean of their logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """The mean of networks for the same labels and inputs.

    Outputs: ``logits`` (N, labels), the mean; ``features``, concatenated; and ``evidence``, the mean, if all
    members give it on one grid. The spatial mean of the evidence is then the logit. With `mirrored` each
    member also sees the film's mirror image.
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
        # Only the grid: comparing the number of films would fix that number in the exported graph.
        grids = {tuple(one["evidence"].shape[2:]) if "evidence" in one else None for one in said}
        if len(grids) == 1 and None not in grids:
            outputs["evidence"] = torch.stack([one["evidence"] for one in said]).mean(dim=0)
        return outputs


def _back(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs for a mirror image, with the map mirrored back."""
    return {key: value.flip(-1) if key == "evidence" else value for key, value in outputs.items()}
