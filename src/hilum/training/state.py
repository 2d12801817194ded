"""The state of an unfinished run: everything the next step depends on, in one file."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from hilum.config import Precision
from hilum.errors import TrainingError


@dataclass(slots=True)
class State:
    """The progress of a run. Order, augmentation and dropout depend only on seed, epoch and step, so no
    random generator's state is needed to continue exactly."""

    epoch: int = 0
    step: int = 0  # steps of this epoch already done
    losses: float = 0.0  # their sum
    seconds: float = 0.0  # this epoch has taken so far
    best: float = float("-inf")  # score on the tuning part
    best_epoch: int = -1
    history: list[dict[str, float]] = field(default_factory=list)
    start: str = ""  # where the first weights came from
    informed: list[str] = field(default_factory=list)  # as of the card
    precision: Precision = "auto"  # of the arithmetic, as chosen when the run began
    scaler: dict[str, float] = field(default_factory=dict)  # the state of the gradient scaler


def save_state(
    path: Path, state: State, config: str, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> None:
    """Write the state atomically; `config` is the run's settings as JSON. Raises OSError."""
    tensors = {
        f"{name}/{key}": value.detach().cpu().contiguous()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for i, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{i}/{key}": value.detach().cpu().contiguous() for key, value in slots.items()}
    draft = path.with_suffix(".part")
    write_tensors(tensors, draft, {"state": json.dumps(asdict(state)), "config": config})
    with draft.open("r+b") as file:
        os.fsync(file.fileno())
    draft.replace(path)


def write_tensors(tensors: dict[str, Tensor], path: Path, about: dict[str, str] | None = None) -> None:
    """Write a safetensors file; raises OSError if that fails, and leaves no partial file."""
    try:
        safetensors.torch.save_file(tensors, path, about)
    except SafetensorError as error:
        path.unlink(missing_ok=True)
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def load_state(
    path: Path, config: str, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> State:
    """Fill modules and optimizer from a state file.

    Raises TrainingError when the settings differ, and for a damaged file.
    """
    try:
        return _loaded(path, config, modules, optimizer)
    # Not a safetensors file, other weights than these, or fields that State does not have.
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        kind = type(error).__name__
        raise TrainingError(
            f"{path}: damaged, or of another network ({kind}); restore it, or choose another out="
        ) from None


def begun_in(path: Path) -> Precision:
    """The precision that an unfinished run began in; "auto" without a readable state."""
    try:
        with safe_open(path, "pt") as file:
            return State(**json.loads((file.metadata() or {})["state"])).precision
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return "auto"


def _loaded(
    path: Path, config: str, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> State:
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
    if about["config"] != config:
        told = _unlike(about["config"], config)
        raise TrainingError(f"{path}: was saved with {told}; resume with the same, or choose another out=")
    tensors = safetensors.torch.load_file(path)
    for name, module in modules.items():
        module.load_state_dict(_below(tensors, name))
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in _below(tensors, "optimizer").items():
        i, _, slot = key.partition("/")
        slots.setdefault(int(i), {})[slot] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
    return State(**json.loads(about["state"]))


def _unlike(was: str, now: str) -> str:
    """The settings `was`, both as JSON, that are others `now`; the hash of the films is in words."""
    old, new = _by_name(was), _by_name(now)
    names = [name for name in old | new if old.get(name) != new.get(name)]
    told = [f"{name}={old.get(name)!r}" for name in names if name != "targets"]
    return ", ".join(told) or "other films"


def _by_name(settings: str) -> dict[str, Any]:
    """Settings by the names that users give them, such as preparation.size."""
    found: dict[str, Any] = {}
    for key, value in json.loads(settings).items():
        inner = value.items() if isinstance(value, dict) else ()
        found |= {f"{key}.{name}": one for name, one in inner} or {key: value}
    return found


def _below(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")
    }
