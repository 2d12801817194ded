"""What training minimises; unknown labels and structures that a data set has no mask for do not count."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from hilum.types import LUNG_OF_UNKNOWN_SIDE, STRUCTURES

Outputs = dict[str, Any]
"""What a network returns, by name: tensors, or lists of them."""


def multilabel_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy over known labels: `targets` (N, C) 0, 1 or NaN, `weights` (C,) of positives."""
    known = ~targets.isnan()
    losses = F.binary_cross_entropy_with_logits(
        logits, targets.nan_to_num(0.0), pos_weight=weights, reduction="none"
    )
    return (losses * known).sum() / known.sum().clamp(min=1)


def single_label_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy with one positive a film; films whose class is unknown do not count."""
    known = (targets == 1).sum(dim=1) == 1
    if not known.any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits[known], (targets[known] == 1).int().argmax(dim=1), weight=weights)


def segmentation_loss(outputs: Outputs, masks: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over the structures each film shows.

    `outputs` of a segmenter: ``logits`` (N, 3, S, S) as STRUCTURES and, under deep supervision, ``coarse``,
    such planes at lower resolutions, which together count half; `masks` (N, S, S) label maps, `known` (N, 4)
    booleans: the three structures and, last, whether only both lungs together are known. There, the larger
    of the two lungs' logits is held against the mask, so that either side may claim a pixel."""
    planes = [masks == value for value in range(1, len(STRUCTURES) + 1)]
    planes.append((masks == 1) | (masks == 2) | (masks == LUNG_OF_UNKNOWN_SIDE))
    truth = torch.stack(planes, dim=1).float()
    loss = _overlap_loss(outputs["logits"], truth, known)
    coarse = outputs.get("coarse", [])
    for logits in coarse:
        share = F.adaptive_avg_pool2d(truth, logits.shape[-2:])
        loss = loss + 0.5 / len(coarse) * _overlap_loss(logits, share, known)
    return loss


def _overlap_loss(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """The loss at one resolution: `logits` (N, 3, h, w), `truth` (N, 4, h, w) shares from 0 to 1."""
    either = torch.maximum(logits[:, 0], logits[:, 1])[:, None]
    logits = torch.cat([logits, either], dim=1).float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=(2, 3))
    probability = logits.sigmoid()
    overlap = 2 * (probability * truth).sum(dim=(2, 3)) + 1
    dice = overlap / (probability.sum(dim=(2, 3)) + truth.sum(dim=(2, 3)) + 1)
    return ((entropy + 1 - dice) * known).sum() / known.sum().clamp(min=1)
