"""The classifiers' head: a map of evidence for each label, whose spatial mean is the logit."""

from __future__ import annotations

from torch import Tensor, nn


class Evidence(nn.Conv2d):
    """A 1 x 1 convolution from feature maps (N, D, h, w) to a classifier's outputs.

    ``logits`` (N, labels), ``features`` (N, D) and ``evidence`` (N, labels, h, w), whose spatial mean is the
    logit, bias included.
    """

    def __init__(self, features: int, labels: int) -> None:
        super().__init__(features, labels, 1)
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, maps: Tensor) -> dict[str, Tensor]:  # type: ignore[override]  # not the maps alone
        evidence = super().forward(maps)
        return {
            "logits": evidence.mean(dim=(2, 3)),
            "features": maps.mean(dim=(2, 3)),
            "evidence": evidence,
        }
