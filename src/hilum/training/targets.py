"""What a run learns: its labels, and whether they exclude one another."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from hilum.config import TrainConfig
from hilum.errors import ConfigError, DataError
from hilum.labels import SIX, VIEW
from hilum.types import STRUCTURES, Sample

_logger = logging.getLogger(__name__)

Activation = Literal["sigmoid", "softmax"]
"""Labels that may occur together (sigmoid), or of which each film has exactly one (softmax)."""


def labels_of(config: TrainConfig, samples: Sequence[Sample]) -> tuple[str, ...]:
    """What the outputs stand for: the labels of the settings, or else the six, or else all in the data.

    The six are taken if the data have all of them. Raises DataError for a label that the data lack.
    """
    if config.task == "segment":
        return STRUCTURES
    if config.task == "pretrain":
        return tuple(f"dimension {i}" for i in range(config.dimensions))
    known = {name for sample in samples for name in sample.labels}
    asked = (*config.labels, *(name for name in config.auxiliary if name != VIEW))
    if missing := [name for name in asked if name not in known]:
        raise DataError(f"label {missing[0]!r}: not in the data, which have {', '.join(sorted(known))}")
    known -= set(config.auxiliary)
    six = tuple(name for name in SIX if name in known)
    others = tuple(sorted(known - set(six)))
    labels = config.labels or (six if six == SIX else six + others)
    if others and not config.labels and six == SIX:
        _logger.warning(
            f"the run learns the six labels {', '.join(six)}; the data also have {', '.join(others)}: set "
            "labels=[...] to learn others"
        )
    if not labels:
        raise DataError("the data have no labels; give a csv with label columns, or one folder a class")
    return labels


def check_known(labels: Sequence[str], samples: Sequence[Sample]) -> None:
    """Raise DataError for a label of which no film has a value."""
    for label in labels:
        if all(math.isnan(sample.labels.get(label, math.nan)) for sample in samples):
            raise DataError(
                f"label {label!r}: no training film has a value for it; leave it out of the labels, or give "
                "films that have one"
            )


def activation_of(config: TrainConfig, samples: Sequence[Sample], labels: tuple[str, ...]) -> Activation:
    """Softmax if every film has exactly one of the labels; sigmoid otherwise.

    Raises ConfigError for settings that do not go with softmax.
    """
    if config.task != "classify":
        return "sigmoid"
    one_of_all = [0.0] * (len(labels) - 1) + [1.0]
    exclusive = all(sorted(s.labels.get(name, np.nan) for name in labels) == one_of_all for s in samples)
    if config.activation != "auto":
        chosen: Activation = config.activation
    else:
        chosen = "softmax" if exclusive and len(labels) > 1 else "sigmoid"
    if chosen == "softmax":
        if len(labels) < 2:
            raise ConfigError(
                f"activation=softmax: {labels[0]} alone excludes nothing; set activation=sigmoid"
            )
        for name in ("auxiliary", "teachers"):
            if getattr(config, name):
                raise ConfigError(f"{name}: only for labels that may occur together; set activation=sigmoid")
    return chosen
