"""Losses. Unknown labels, and structures without a mask, do not count."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from hilum.types import LUNG_OF_UNKNOWN_SIDE, STRUCTURES

Outputs = dict[str, Any]
"""What a network returns, by name: tensors, or lists of them."""


def multilabel_loss(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    kind: Literal["cross-entropy", "focal", "asymmetric"] = "cross-entropy",
    smoothing: float = 0.0,
) -> Tensor:
    """Mean over known labels: `targets` (N, C) from 0 to 1, or NaN; `weights` (C,) of positives.

    "focal" makes predictions that are already right count little (Lin et al., ICCV 2017; exponent 2).
    "asymmetric" does so only for absent labels, and ignores those with a probability below 0.05 (Ridnik et
    al., ICCV 2021; exponent 4). `smoothing` is label smoothing: targets move towards one half by that share.
    """
    known = ~targets.isnan()
    truth = targets.nan_to_num(0.0)
    present, absent = -F.logsigmoid(logits), -F.logsigmoid(-logits)
    if kind == "focal":
        probability = logits.sigmoid()
        present, absent = present * (1 - probability) ** 2, absent * probability**2
    elif kind == "asymmetric":
        doubt = (logits.sigmoid() - 0.05).clamp(min=0)
        absent = -torch.log1p(-doubt) * doubt**4
    # Smoothed before weighting: the smoothed part of a negative film must not get a positive's weight.
    half = smoothing / 2
    present, absent = (1 - half) * present + half * absent, (1 - half) * absent + half * present
    losses = weights * truth * present + (1 - truth) * absent
    return (losses * known).sum() / known.sum().clamp(min=1)


def single_label_loss(logits: Tensor, targets: Tensor, weights: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with one positive label a film, or shares that sum to 1; other films do not count."""
    shares = targets.nan_to_num(0.0)
    known = (shares.sum(dim=1) - 1).abs() < 1e-4
    if not known.any():
        return logits.sum() * 0.0
    blurred = shares[known] * (1 - smoothing) + smoothing / shares.shape[1]
    losses = -(blurred * weights * F.log_softmax(logits[known], dim=1)).sum()
    return losses / (shares[known] * weights).sum()


def agreement_loss(vectors: Tensor) -> Tensor:
    """Pulls two views of a film together and keeps films apart: `vectors` (2 N, D), views in turn.

    The loss of VICReg (Bardes et al., ICLR 2022) over 25: invariance (weight 25), each dimension's missing
    variance (25), and covariance between dimensions (1). Needs no labels.
    """
    one, other = vectors.float()[0::2], vectors.float()[1::2]
    loss = F.mse_loss(one, other)
    for view in (one, other):
        centred = view - view.mean(dim=0)
        spread = (centred.square().sum(dim=0) / max(len(view) - 1, 1) + 1e-4).sqrt()
        shared = centred.T @ centred / max(len(view) - 1, 1)
        off = shared.square().sum() - shared.diagonal().square().sum()
        loss = loss + F.relu(1 - spread).mean() / 2 + off / vectors.shape[1] / 25
    return loss


def segmentation_loss(outputs: Outputs, masks: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over the structures in each film's mask.

    `outputs` of a segmenter: ``logits`` (N, 3, S, S) as STRUCTURES and, with deep supervision, ``coarse``,
    the same at lower resolutions, which together count half. `masks` are label maps (N, S, S). `known` (N, 4)
    bool says which of the three structures are known and, last, whether only both lungs together are: then
    the larger of the two lungs' logits is compared with the mask, so that either lung may claim a pixel.
    """
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
