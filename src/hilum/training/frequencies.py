"""How frequent labels are among the training films, as weights and offsets for the loss."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

import numpy as np
import torch
from torch import Tensor

from hilum.training.plan import Plan
from hilum.types import Array


def class_weights(plan: Plan, weighting: str) -> Tensor:
    """One weight a label that makes rare positives count more, (C,) float32; at most 20.

    The full weight ("balanced") is negatives over positives, or for softmax the inverse share of the class.
    Films count as often as they are drawn.
    """
    positives, negatives = _drawn(plan)
    if plan.activation == "softmax":
        full = positives.sum() / (len(positives) * positives)
    else:
        full = negatives / positives
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[weighting]
    return torch.tensor(np.minimum(full**power, 20), dtype=torch.float32)


def log_odds(plan: Plan) -> Tensor:
    """Log-odds of each label among the training films, for softmax log shares, (C,) float32.

    The loss with logit adjustment adds them to the logits (Menon et al., ICLR 2021).
    """
    positives, negatives = _drawn(plan)
    others = positives.sum() if plan.activation == "softmax" else negatives
    return torch.tensor(np.log(positives / others), dtype=torch.float32)


def _drawn(plan: Plan) -> tuple[Array, Array]:
    """Films with and without each label, (C,) each, counted as often as they are drawn; at least one."""
    table = plan.train.cache.truth(plan.train.labels)
    times = np.ones(len(table)) if plan.odds is None else plan.odds * len(table)
    if plan.extra:  # an epoch draws no more of them than there are others: `Shuffled`
        times[-plan.extra :] = min(1.0, (len(table) - plan.extra) / plan.extra)
    return np.maximum(times @ (table == 1), 1), np.maximum(times @ (table == 0), 1)
