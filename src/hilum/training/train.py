"""One visible training loop for both tasks."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

import copy
import gc
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from hilum.card import Card
from hilum.config import TrainConfig
from hilum.errors import DivergedError, OutOfMemoryError, TrainingError
from hilum.store import alone
from hilum.training.batches import Shuffled, loader, mixed, patched
from hilum.training.finish import finish, tuning_score
from hilum.training.history import draw_curve, write_history
from hilum.training.plan import make_plan
from hilum.training.run import Run, begin, claim, fabric_for
from hilum.training.stages import freeze, learning
from hilum.training.starts import flattered, sized, started
from hilum.types import Tick

_logger = logging.getLogger(__name__)

_PATIENCE = 15.0  # seconds; loader processes of a killed run outlive it by some

_REDRAWN = 10.0  # seconds between two drawings of the curve, which take longer than epochs of a few films

Watch = Callable[[int, float], None]
"""Called with each finished epoch, counted from 1, and its tuning score; may end the run by raising."""


def train(
    config: TrainConfig, *, resume: bool = False, tick: Tick | None = None, watch: Watch | None = None
) -> Card:
    """Train a model, write its run folder ``config.out``, and return the finished checkpoint's card.

    With `resume`, an interrupted run continues exactly from its last saved state. Raises ConfigError,
    DataError, or TrainingError if the loss is not a number any more (the last good state is kept). With
    several devices, the calling script runs once for each; all processes but the first exit here.
    """
    config = started(config)
    fabric = fabric_for(config, resume)
    if not fabric.is_global_zero:
        fabric.launch()
        _epochs(begin(config, make_plan(config), fabric, resume))
        sys.exit()
    # Before the other processes start, so that they find split and cache, and errors appear once.
    sized(config)
    claim(config.out, resume)
    with alone(config.out, "trains", patience=_PATIENCE):
        plan = make_plan(config, tick)
        fabric.launch()
        run = begin(config, plan, fabric, resume)
        if run.state.informed:
            _logger.warning(flattered(run.state.informed))
        _epochs(run, tick, watch)
        card = _finished(run, run.best, config)
        run.path.unlink(missing_ok=True)
        return card


def _epochs(run: Run, tick: Tick | None = None, watch: Watch | None = None) -> None:
    """Do all remaining epochs."""
    config, first = run.config, run.fabric.is_global_zero
    drawn = time.monotonic()
    try:
        while run.state.epoch < config.epochs and not _stale(run):
            _epoch(run, tick)
            _score(run)
            if first:
                # In this order: if the run is killed in between, it writes the row again.
                write_history(run.state.history, config.out)
                if time.monotonic() - drawn > _REDRAWN:
                    draw_curve(run.state.history, config.out, measure=run.plan.measure)
                    drawn = time.monotonic()
                _snapshot(run)
                run.save()
                if watch:
                    watch(run.state.epoch, run.state.history[-1]["score"])
    except torch.OutOfMemoryError:
        side = config.preparation.size
        raise OutOfMemoryError(
            f"batch={config.batch} films of {side} x {side} do not fit into the GPU's memory; lower batch= "
            "and raise accumulate= by as much"
        ) from None
    except TrainingError:
        if first and run.state.best_epoch >= 0:
            _finished(run, run.best, config)
        raise
    finally:
        _part(run)
        if first and run.state.history:
            draw_curve(run.state.history, config.out, measure=run.plan.measure)


def _snapshot(run: Run) -> None:
    """At the end of each cycle but the last, save the weights as a checkpoint in ``snapshot-N``.

    `hilum ensemble` averages the snapshots. Source: Huang et al., ICLR 2017.
    """
    cycle, left = divmod(run.state.epoch * run.config.cycles, run.config.epochs)
    if not left and cycle < run.config.cycles:
        out = run.config.out / f"snapshot-{cycle}"
        config = run.config.model_copy(update={"out": out})
        _finished(run, copy.deepcopy(run.shadow), config)


def _finished(run: Run, module: nn.Module, config: TrainConfig) -> Card:
    """Save weights of the run as a checkpoint."""
    return finish(module, config, run.plan, run.state.start, run.state.informed)


def _part(run: Run) -> None:
    """End the group of processes.

    The wrapped model must be released first. If it held the last reference to the group, torch would stop the
    group's threads while holding the interpreter lock, which they need to finish: the process would hang.
    """
    run.model = run.module
    gc.collect()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _epoch(run: Run, tick: Tick | None) -> None:
    """Do all remaining steps of an epoch."""
    config, fabric, state = run.config, run.fabric, run.state
    order = Shuffled(
        len(run.plan.train),
        config.batch,
        config.seed,
        state.epoch,
        start=state.step,
        rank=fabric.global_rank,
        processes=fabric.world_size,
        extra=run.plan.extra,
        views=run.plan.train.views,
        odds=run.plan.odds,
    )
    saved = time.monotonic()
    began = saved - state.seconds
    run.model.train()
    freeze(run.module, learning(state.epoch, frozen=config.frozen, thaw=config.thaw))
    for batch in fabric.setup_dataloaders(
        loader(run.plan.train, order, config.workers), use_distributed_sampler=False
    ):
        for group in run.optimizer.param_groups:
            group["lr"] = _rate(run, run.done) * group["share"]
        if config.mixup or config.cutmix:
            rng = np.random.default_rng([config.seed, run.done])
            batch = mixed(batch, config.mixup, rng) if config.mixup else patched(batch, config.cutmix, rng)
        whole = (state.step + 1) % config.accumulate == 0 or state.step + 1 == run.steps
        with fabric.no_backward_sync(run.model, enabled=not whole):
            with _seeded(config.seed, run.done, fabric):
                outputs = run.model(batch["films"].contiguous(memory_format=torch.channels_last))
            loss = run.loss(outputs, batch)
            fabric.backward(loss / min(config.accumulate, run.steps - _first(run)))
        if whole:
            _step(run)
        state.step += 1
        state.losses += float(fabric.all_reduce(loss.detach()))
        state.seconds = time.monotonic() - began
        if tick:
            tick(run.done, config.epochs * run.steps, _status(run))
        # Gradients are not saved: a run can resume exactly only after a whole step.
        if whole and fabric.is_global_zero and time.monotonic() - saved > 60 * config.save_minutes:
            run.save()
            saved = time.monotonic()


def _first(run: Run) -> int:
    """The first of the steps whose gradients are accumulated with this one's."""
    return run.state.step - run.state.step % run.config.accumulate


def _step(run: Run) -> None:
    """Update the weights by the accumulated gradients; raises DivergedError if those are not finite.

    In half precision, gradients may overflow: such a step is skipped, and the next ones are scaled down,
    until that no longer helps.
    """
    config = run.config
    norm = run.fabric.clip_gradients(run.model, run.optimizer, max_norm=config.clip, error_if_nonfinite=False)
    told = norm is not None and bool(torch.isfinite(norm))
    if not told and (run.scaler is None or run.scaler.get_scale() < 1):
        raise DivergedError(_diverged(run))
    run.optimizer.step()
    run.optimizer.zero_grad()
    _follow(run.shadow, run.module, min(config.ema, (1 + run.done) / (10 + run.done)))


def _score(run: Run) -> None:
    """Score the averaged weights on the tuning part, close the epoch, keep the best."""
    state = run.state
    scored = (
        tuning_score(run.shadow, run.plan, run.loss, run.fabric.device) if run.fabric.is_global_zero else None
    )
    tune_loss, value = run.fabric.broadcast(scored)
    if not math.isfinite(tune_loss):
        raise DivergedError(_diverged(run))
    row = {
        "epoch": state.epoch + 1,
        "loss": state.losses / run.steps,
        "tune_loss": tune_loss,
        "score": value,
        "rate": _rate(run, run.done - 1),
        "seconds": round(state.seconds, 1),
    }
    # If the tuning part has no score, for instance with one class only, its loss decides.
    value = -tune_loss if math.isnan(value) else value
    best, best_epoch = state.best, state.best_epoch
    if value > best or run.config.keep == "last":
        best, best_epoch = value, state.epoch
        run.best.load_state_dict(run.shadow.state_dict())
    run.state = replace(
        state,
        epoch=state.epoch + 1,
        step=0,
        losses=0.0,
        seconds=0.0,
        best=best,
        best_epoch=best_epoch,
        history=[*state.history, row],
    )


def _rate(run: Run, step: int) -> float:
    """The learning rate of a step, counted from the start of the run."""
    progress = step * run.config.cycles / (run.config.epochs * run.steps)
    return run.config.rate * _schedule(progress % 1, run.config.warmup)


def _schedule(progress: float, warmup: float) -> float:
    """Linear warm-up, then half a cosine down to zero; `progress` and the result are in [0, 1]."""
    if progress < warmup:
        return (progress + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


@contextmanager
def _seeded(seed: int, step: int, fabric: Fabric) -> Iterator[None]:
    """Seed torch's global generator, from which dropout draws, by the step alone; restore it afterwards."""
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(hash((seed, step, fabric.global_rank)) % 2**63)
        yield


@torch.no_grad()
def _follow(shadow: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the averaged weights and statistics a little towards the current ones (EMA)."""
    for mean, value in zip(shadow.state_dict().values(), module.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _stale(run: Run) -> bool:
    return run.state.epoch - run.state.best_epoch > run.config.patience


def _status(run: Run) -> str:
    told = [row["score"] for row in run.state.history if row["score"] == row["score"]]
    best = f", best {run.plan.measure} {max(told):.3f}" if told else ""
    return f"epoch {run.state.epoch + 1}, loss {run.state.losses / run.state.step:.3f}{best}"


def _diverged(run: Run) -> str:
    where = f"epoch {run.state.epoch + 1}, step {run.state.step + 1}"
    kept = "no epoch was finished"
    if run.state.best_epoch >= 0:
        kept = f"the weights of epoch {run.state.best_epoch + 1} are kept in {run.config.out / 'checkpoint'}"
    return f"{where}: the loss is not a number; {kept}; lower rate= and choose another out="
