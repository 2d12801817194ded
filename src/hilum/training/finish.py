"""Scoring on the tuning part, and making a calibrated checkpoint of the best weights."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hilum import __version__
from hilum.calibration.calibrate import fit_classes, fit_platt, probabilities
from hilum.calibration.conformal import fit_sets
from hilum.calibration.decide import POINTS, YOUDEN, fit_threshold
from hilum.card import Card, Metric, Source
from hilum.config import TrainConfig
from hilum.data import short
from hilum.data.regions import segmenter_of
from hilum.evaluation.figures import Bench, Figure
from hilum.models import build
from hilum.statistics import scores
from hilum.statistics.metrics import auroc, dice, mean
from hilum.training.batches import Batch, Films, in_order
from hilum.training.checkpoint import save
from hilum.training.losses import Outputs
from hilum.training.plan import Plan
from hilum.training.reliability import reliabilities
from hilum.types import LUNG_OF_UNKNOWN_SIDE, STRUCTURES, Array

_PACKAGES = ("torch", "timm", "numpy", "onnx", "onnxruntime", "opencv-python-headless", "lightning-fabric")
_REPEATS = 1000  # draws of patients for an interval


def tuning_score(
    module: nn.Module, plan: Plan, loss: Callable[[Outputs, Batch], Tensor], device: torch.device
) -> tuple[float, float]:
    """Loss and score on the tuning part.

    The score is the mean AUROC over labels with both classes, the mean Dice over structures, or for
    pretraining the mean correlation of two views over dimensions. It is NaN if it cannot be computed, or if
    the loss is not a number.
    """
    losses, values, sizes = [], [], []
    for outputs, batch in _outputs(module, plan.tune, device):
        logits = outputs["logits"]
        losses.append(float(loss(outputs, batch)))
        sizes.append(len(logits))
        values.append(_values(logits, batch))
    table = np.concatenate(values)
    loss_of_all = float(np.average(losses, weights=sizes))
    if not np.isfinite(loss_of_all):
        return loss_of_all, float("nan")
    if plan.train.views > 1:
        one, other = (
            (view - view.mean(axis=0)) / (view.std(axis=0) + 1e-6) for view in (table[0::2], table[1::2])
        )
        return loss_of_all, float((one * other).mean())
    if plan.train.labels:
        truth, said = plan.tune.cache.truth(plan.labels), table[:, : len(plan.labels)].astype(np.float64)
        if plan.activation == "softmax":  # a single logit of exclusive classes means nothing
            said = said - np.logaddexp.reduce(said, axis=1, keepdims=True)
        by_label = [auroc(truth[:, i], said[:, i]) for i in range(len(plan.labels))]
    else:
        by_label = [mean(column) for column in table.T]
    return loss_of_all, mean(np.array(by_label))


def finish(
    module: nn.Module,
    config: TrainConfig,
    plan: Plan,
    start: str = "",
    informed: Sequence[str] = (),
    sources: Sequence[Source] | None = None,
) -> Card:
    """Calibrate, choose thresholds and measure on the tuning part; write ``config.out/checkpoint``.

    `start` says where the initial weights came from, "" if they were random. `informed` and `sources` are the
    card's; without `sources`, they are the training part of the plan.
    """
    device = next(module.parameters()).device
    module = _without_auxiliary(module, config, plan).to(device)
    card = Card(
        name=config.name,
        version=config.version,
        task=config.task,
        labels=plan.labels,
        activation=plan.activation,
        architecture=config.architecture,
        arguments=config.arguments,
        preparation=config.preparation,
        sources=_sources(config, plan) if sources is None else tuple(sources),
        outlines_sha256=segmenter_of(config.preparation),
        split_sha256=plan.split.sha256,
        config=config.model_dump(mode="json", exclude={"out", "split"}),
        weights=start,
        informed=tuple(informed),
        commit=_commit(),
        seed=config.seed,
        packages={"hilum": __version__} | {d.name: d.version for d in distributions() if d.name in _PACKAGES},
        intended_use=config.intended_use,
        citations=config.citations,
    )
    if config.task == "pretrain":
        return save(config.out / "checkpoint", module.cpu(), card)
    values = [_values(outputs["logits"], batch) for outputs, batch in _outputs(module, plan.tune, device)]
    table = np.concatenate(values)
    if config.task == "classify":
        card = _calibrated(card, plan, table)
    else:
        metrics = _dice_metrics(table, _patients(plan), config.seed)
        trusted = reliabilities(
            lambda films: _numpy(module, films, device), config.preparation, plan.tune.cache, seed=config.seed
        )
        card = card.model_copy(update={"metrics": metrics, "reliability": trusted})
    return save(config.out / "checkpoint", module.cpu(), card)


def _without_auxiliary(module: nn.Module, config: TrainConfig, plan: Plan) -> nn.Module:
    """The network without the outputs for auxiliary labels, which come last in its head."""
    if not config.auxiliary:
        return module
    channels = config.preparation.channels
    smaller = build(config.architecture, len(plan.labels), seed=0, channels=channels, **config.arguments)
    own = smaller.state_dict()
    smaller.load_state_dict(
        {
            key: value if value.shape == own[key].shape else value[: len(plan.labels)]
            for key, value in module.state_dict().items()
        }
    )
    return smaller.eval()


def _calibrated(card: Card, plan: Plan, logits: Array) -> Card:
    """The card with calibration, thresholds, sets and AUROC, all from the tuning part."""
    truth, groups = plan.tune.cache.truth(plan.labels), _patients(plan)
    leaning: dict[str, float] = {}
    if card.activation == "sigmoid":
        fitted = {name: fit_platt(logits[:, i], truth[:, i], groups) for i, name in enumerate(card.labels)}
    else:
        fitted = dict(zip(card.labels, fit_classes(logits, truth, groups), strict=True))
        if card.weighed:
            # The probabilities fit the tuning films; the calls stay as in training.
            leaning = {name: -found.intercept for name, found in fitted.items()}
    card = card.model_copy(update={"calibration": fitted, "leaning": leaning})
    said = probabilities(logits, card)
    columns = dict(zip(card.labels, zip(said.T, truth.T, strict=True), strict=True))
    if card.activation == "sigmoid":
        points = {
            point: {name: fit_threshold(*column, point=point) for name, column in columns.items()}
            for point in POINTS
        }
        sets = {name: fit_sets(*column, groups) for name, column in columns.items()}
        patients = len(set(groups))
        data = f"{len(truth)} films of {patients} patients, the tuning fold of split {card.split_sha256[:12]}"
        card = card.model_copy(
            update={
                "thresholds": points[YOUDEN],
                "points": points,
                "sets": {name: found for name, found in sets.items() if found},
                "threshold_data": data,
            }
        )
    bench = Bench(groups, card.seed, _REPEATS)
    metrics = [
        bench.figure(
            *(name, "AUROC", scores.auroc, column, said[:, i]),
            films=~np.isnan(column),
            positives=int((column == 1).sum()),
        )
        for i, (name, column) in enumerate(zip(card.labels, truth.T, strict=True))
    ]
    return card.model_copy(update={"metrics": _metrics(metrics)})


def _dice_metrics(table: Array, groups: Array, seed: int) -> tuple[Metric, ...]:
    """Mean Dice of each structure from the films' own, (N, 4)."""
    bench = Bench(groups, seed, _REPEATS)
    columns = zip((*STRUCTURES, "lungs"), table.T, strict=True)
    return _metrics(
        bench.figure(name, "Dice", scores.average, column, films=~np.isnan(column))
        for name, column in columns
    )


def _metrics(figures: Iterable[Figure]) -> tuple[Metric, ...]:
    """The figures for the card, without those of unknown value: JSON has no NaN."""
    found = []
    for one in figures:
        low, high = (round(end, 4) if np.isfinite(end) else None for end in (one.low, one.high))
        if np.isfinite(one.value):
            name, value = f"{one.measure} {one.subject}", round(one.value, 4)
            found.append(Metric(name=name, value=value, low=low, high=high, n=one.films, part="tuning"))
    return tuple(found)


@torch.no_grad()
def _numpy(module: nn.Module, films: Array, device: torch.device) -> Array:
    """Logits of prepared films, from and to NumPy."""
    logits: Tensor = module(torch.from_numpy(films).to(device))["logits"]
    return logits.float().cpu().numpy()


@torch.no_grad()
def _outputs(module: nn.Module, films: Films, device: torch.device) -> Iterator[tuple[Outputs, Batch]]:
    for batch in in_order(films, 32):
        moved = {key: value.to(device) for key, value in batch.items()}
        yield module(moved["films"]), moved


def _patients(plan: Plan) -> Array:
    """The patient of each tuning film, (N,)."""
    return np.array([sample.patient for sample in plan.tune.cache.samples])


def _values(logits: Tensor, batch: Batch) -> Array:
    """A row for each film: Dice (N, 4) as `_dices` if there are masks, else the logits (N, C)."""
    return _dices(logits, batch) if "masks" in batch else logits.float().cpu().numpy()


def _dices(logits: Tensor, batch: Batch) -> Array:
    """Dice (N, 4) of the three structures and of both lungs together; NaN if the mask does not show them."""
    masks, knowns = batch["masks"].cpu().numpy(), batch["known"].cpu().numpy()
    found = (logits > 0).cpu().numpy()
    rows = np.full((len(masks), 4), np.nan)
    for row, mask, known, planes in zip(rows, masks, knowns, found, strict=True):
        for i in range(len(STRUCTURES)):
            if known[i]:
                row[i] = dice(mask == i + 1, planes[i])
        if known[3] or known[:2].all():
            row[3] = dice(np.isin(mask, (1, 2, LUNG_OF_UNKNOWN_SIDE)), planes[0] | planes[1])
    return rows


def _sources(config: TrainConfig, plan: Plan) -> tuple[Source, ...]:
    """The data sets as one source, with the films and patients of the training part."""
    samples = plan.train.cache.samples
    patients = len({sample.patient for sample in samples})
    name = " + ".join(short(data) for data in (*config.data, *config.extra))
    return (Source(name=name, films=len(samples), patients=patients),)


def _commit() -> str:
    """The git commit of the code, if it runs from a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    # If installed inside another project's checkout, git would report that project's commit.
    own = [*git, "ls-files", "--error-unmatch", Path(__file__).name]
    describe = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        if subprocess.run(own, capture_output=True, check=False).returncode:
            return ""
        return subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
