"""A training run between two steps: its state, and how it begins or resumes."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

import copy
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from hilum.card import CARD, refuse_overwrite
from hilum.config import TrainConfig
from hilum.data.regions import segmenter_of
from hilum.errors import ConfigError
from hilum.training.batches import Batch, Shuffled
from hilum.training.frequencies import class_weights, log_odds
from hilum.training.losses import (
    Outputs,
    agreement_loss,
    multilabel_loss,
    segmentation_loss,
    single_label_loss,
)
from hilum.training.plan import Plan
from hilum.training.stages import backbones, parameter_groups
from hilum.training.starts import informed, network
from hilum.training.state import State, begun_in, load_state, save_state

STATE = "state.safetensors"


@dataclass(slots=True, kw_only=True)
class Run:
    """A run in progress: what changes from step to step, and what a step needs."""

    config: TrainConfig
    plan: Plan
    fabric: Fabric
    model: nn.Module  # `module`, wrapped by Fabric
    module: nn.Module
    shadow: nn.Module  # the running average of the weights, which is scored and shipped
    best: nn.Module  # the shadow of the best epoch so far
    optimizer: torch.optim.Optimizer
    loss: Callable[[Outputs, Batch], Tensor]
    steps: int  # in an epoch
    settings: str  # settings and targets, as JSON; a resumed run must have the same
    state: State = field(default_factory=State)

    @property
    def path(self) -> Path:
        return self.config.out / STATE

    @property
    def done(self) -> int:
        """Steps taken since the run began."""
        return self.state.epoch * self.steps + self.state.step

    def save(self) -> None:
        modules = {"module": self.module, "shadow": self.shadow, "best": self.best}
        if self.scaler:
            self.state.scaler = self.scaler.state_dict()
        save_state(self.path, self.state, self.settings, modules, self.optimizer)

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """The gradient scaler of half precision; None at other precisions."""
        return getattr(self.fabric.strategy.precision, "scaler", None)


def begin(config: TrainConfig, plan: Plan, fabric: Fabric, resume: bool) -> Run:
    """A new run, or with `resume` the one whose state is in its folder, ready for its next step."""
    if len(plan.train) < fabric.world_size:
        raise ConfigError(f"devices: {fabric.world_size} for {len(plan.train)} training films; use fewer")
    resumes = resume and (config.out / STATE).is_file()
    # The state holds all weights; the checkpoint that the run started from may be gone by now.
    start = config.model_copy(update={"start": "random"}) if resumes else config
    # Move it to its device first: a restored optimizer puts its state where its parameters are.
    module, origin = network(start, plan)
    module = module.to(fabric.device)
    if (config.frozen or config.thaw or config.first_rate < 1) and not backbones(module):
        raise ConfigError(f"{config.architecture} has no backbone; leave frozen, thaw and first_rate out")
    shadow = copy.deepcopy(module).eval().requires_grad_(False)
    best = copy.deepcopy(shadow)
    optimizer = torch.optim.AdamW(
        parameter_groups(module, decay=config.decay, first=config.first_rate), lr=config.rate
    )
    state = State(start=origin, precision=fabric.strategy.precision.precision)
    settings = _settings(config, plan)
    if not resumes:
        state.informed = [*informed(config, plan)]
    else:
        modules = {"module": module, "shadow": shadow, "best": best}
        state = load_state(config.out / STATE, settings, modules, optimizer)
    # Convolutions on a CPU and on tensor cores are faster with channels-last memory.
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model, wrapped = fabric.setup(module, optimizer)
    run = Run(
        config=config,
        plan=plan,
        fabric=fabric,
        model=model,
        module=module,
        shadow=shadow,
        best=best,
        optimizer=wrapped,
        loss=objective(config, plan, fabric.device),
        steps=len(Shuffled(len(plan.train), config.batch, config.seed, 0, extra=plan.extra)),
        settings=settings,
        state=state,
    )
    if run.scaler and state.scaler:
        run.scaler.load_state_dict(state.scaler)
    return run


def fabric_for(config: TrainConfig, resume: bool = False) -> Fabric:
    """Devices and precision; with `resume`, the precision that the run began in.

    Raises ConfigError for settings that several devices, or this machine, do not support.
    """
    processes = config.devices * config.nodes
    started = _started()
    if started not in (None, processes):
        raise ConfigError(
            f"{started} processes were started for devices={config.devices} x nodes={config.nodes}; "
            "start as many as that, or set --devices and --nodes"
        )
    if config.batch % processes:
        nodes = f" x nodes={config.nodes}" if config.nodes > 1 else ""
        raise ConfigError(f"batch={config.batch}: must be a multiple of devices={config.devices}{nodes}")
    if (config.frozen or config.thaw) and processes > 1:
        raise ConfigError("frozen, thaw: train on one device; set devices=1, or leave them out")
    precision = config.precision
    if precision == "auto" and resume:
        precision = begun_in(config.out / STATE)
    if precision == "auto":
        precision = _fastest()
    if precision == "16-mixed" and not torch.cuda.is_available():
        remedy = "resume this run on one" if config.precision == "auto" else "leave it to 'auto'"
        raise ConfigError(f"precision='16-mixed': only on a GPU; {remedy}")
    return Fabric(
        accelerator="auto",
        devices=config.devices,
        num_nodes=config.nodes,
        strategy="ddp" if processes > 1 else "auto",
        precision=precision,
    )


def _started() -> int | None:
    """The number of processes that torchrun or srun started; None if neither did.

    It is the number of the SLURM step, not of the job: a batch script may start a single process itself.
    """
    told = os.environ.get("WORLD_SIZE") if "TORCHELASTIC_RUN_ID" in os.environ else None
    told = told or os.environ.get("SLURM_STEP_NUM_TASKS")
    return int(told) if told and told.isdigit() else None


def _fastest() -> Literal["bf16-mixed", "16-mixed", "32-true"]:
    """This machine's fastest precision; GPUs before Ampere support only float16."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    return "bf16-mixed" if _cpu_has_bf16() else "32-true"


def _cpu_has_bf16() -> bool:
    """Whether this processor supports bfloat16; emulated, it is slower than single precision."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def trained(out: Path) -> bool:
    """Whether a run's folder holds a finished training."""
    return (out / "checkpoint" / CARD).is_file() and not (out / STATE).is_file()


def claim(out: Path, resume: bool) -> None:
    """Make the run's folder; raises ConfigError to protect an existing run, and to resume a finished one."""
    unfinished = (out / STATE).exists()
    if resume and trained(out):
        raise ConfigError(f"{out}: this run is finished; choose another out= to train again")
    if not resume and (unfinished or (out / "history.csv").exists()):
        raise ConfigError(f"{out}: holds a run already; add --resume to continue it, or choose another out=")
    if not resume:
        refuse_overwrite(out)
    out.mkdir(parents=True, exist_ok=True)


def objective(config: TrainConfig, plan: Plan, device: torch.device) -> Callable[[Outputs, Batch], Tensor]:
    """The loss to minimise, as a function of network outputs and a batch."""
    if config.task == "segment":
        return lambda outputs, batch: segmentation_loss(outputs, batch["masks"], batch["known"])
    if config.task == "pretrain":
        return lambda outputs, _: agreement_loss(outputs["logits"])
    weights, smoothing = class_weights(plan, config.weighting).to(device), config.smoothing
    moved = log_odds(plan).to(device) if config.loss == "adjusted" else 0.0
    kind = "cross-entropy" if config.loss == "adjusted" else config.loss
    if plan.activation == "sigmoid":
        return lambda outputs, batch: multilabel_loss(
            outputs["logits"] + moved, batch["labels"], weights, kind=kind, smoothing=smoothing
        )
    if kind != "cross-entropy":
        raise ConfigError(
            f"loss={kind!r}: only for labels that may occur together; "
            "set loss=cross-entropy or adjusted, or activation=sigmoid"
        )
    return lambda outputs, batch: single_label_loss(
        outputs["logits"] + moved, batch["labels"], weights, smoothing=smoothing
    )


def _settings(config: TrainConfig, plan: Plan) -> str:
    """What a resumed run must share with the interrupted one: its settings and its films' targets.

    Targets may have changed: an earlier step of a pipeline can write other pseudo-labels to the same path.
    """
    targets = hashlib.sha256(segmenter_of(config.preparation).encode())
    for films in (plan.train, plan.tune):
        for sample in films.cache.samples:
            about = f"{sample.id} {sorted(sample.structures)} {sorted(sample.labels.items())}\n"
            targets.update(about.encode())
        for told in (films.cache.masks, films.targets):
            if told is not None:
                targets.update(np.ascontiguousarray(told).data)
    settings = config.model_dump(mode="json", exclude={"workers", "out", "save_minutes"})
    return json.dumps(settings | {"targets": targets.hexdigest()})
