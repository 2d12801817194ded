"""The cost of a checkpoint: parameters, operations, and time on this machine's CPU."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from hilum.runtime import Runtime
from hilum.training.checkpoint import load

_THREADS = 2
_RUNS = 20  # of which the fastest counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost of one film through one network."""

    parameters: int
    flops: int  # a multiplication and an addition count as two
    milliseconds: float  # ONNX Runtime, the fastest of several runs


def cost(folder: Path) -> Cost:
    """The cost of a checkpoint; its time depends on the machine, so compare times of one machine only."""
    module, card = load(folder)
    shape = (1, card.preparation.channels, card.preparation.size, card.preparation.size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(shape))
    runtime = Runtime(folder, threads=_THREADS)
    film = np.zeros(shape, np.float32)
    times = []
    for _ in range(_RUNS + 1):  # the first run warms up
        start = time.perf_counter()
        runtime(film)
        times.append(time.perf_counter() - start)
    return Cost(
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        flops=int(counter.get_total_flops()),
        milliseconds=1000 * min(times[1:]),
    )
