"""Settings of a training run: defaults, a TOML file, and ``key=value`` on top, checked in one place."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from hilum.card import Preparation, Strict
from hilum.errors import ConfigError
from hilum.labels import Policy, as_labels, policies

Task = Literal["segment", "classify", "pretrain"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


class TrainConfig(Strict):
    """One training run, complete: the same settings on the same films give the same weights."""

    name: str = Field(default="model", pattern=r"^[a-z0-9][a-z0-9._-]*$", description="the model's name")
    version: str = Field(default="0.1.0", description="the model's version")
    task: Task = Field(description="what the network learns")
    data: tuple[str, ...] = Field(
        min_length=1,
        description="data sets, KIND:PATH; a published film in several is used once, from the first",
    )
    extra: tuple[str, ...] = Field(
        default=(),
        description="data sets only for training, such as pseudo-labels, as many an epoch as from data; "
        "of a film in both, the mask with more structures is used",
    )
    split: Path | None = Field(default=None, description="patient split; none: made from the data and stored")
    fold: int = Field(default=0, ge=0, description="tuning fold; the others, except 'test', train")
    held: tuple[int, ...] = Field(
        default=(), description="folds left out, so that this model can teach models that tune there"
    )
    patients: int = Field(
        default=0, ge=0, description="train on this many patients only, the same ones in every run; 0: all"
    )
    labels: Annotated[tuple[str, ...], AfterValidator(as_labels)] = Field(
        default=(), description="none: the six if the data have all six, else all labels of the data"
    )
    auxiliary: Annotated[tuple[str, ...], AfterValidator(as_labels)] = Field(
        default=(),
        description="labels learned as well, but not part of the model; 'view': whether a film is AP",
    )
    uncertain: Annotated[Policy | dict[str, Policy], BeforeValidator(policies)] = Field(
        default="ignore",
        description="value of an uncertain label in training: 'ignore' (unknown), "
        "'zero', 'one', a probability, or a range of them such as [0.55, 0.85]; or a table of these by "
        "label, with 'others'",
    )
    unmentioned: Literal["ignore", "zero"] = Field(
        default="ignore", description="value of a label that the source does not mention for a film"
    )
    activation: Literal["auto", "sigmoid", "softmax"] = Field(
        default="auto",
        description="'sigmoid': labels may occur together; 'softmax': each film has exactly one; "
        "'auto': decided by the films",
    )
    architecture: str = Field(description="the network; docs/studies.md")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="of the architecture, such as arguments.width=32; docs/studies.md"
    )
    start: str = Field(
        default="auto",
        description="'random', 'imagenet', a checkpoint's name or folder; 'auto': 'imagenet' where the "
        "architecture has such weights",
    )
    preparation: Preparation
    epochs: int = Field(ge=1, description="most passes over the films")
    batch: int = Field(ge=1, description="films per step, over all devices")
    accumulate: int = Field(
        default=1, ge=1, description="number of steps whose gradients are averaged, to save memory"
    )
    rate: float = Field(gt=0, description="peak learning rate")
    first_rate: float = Field(
        default=1.0, gt=0, le=1, description="rate of a backbone's first layers, as a share of the head's"
    )
    frozen: int = Field(default=0, ge=0, description="first epochs, in which a backbone is frozen")
    thaw: int = Field(
        default=0, ge=0, description="epochs after these that unfreeze its layers one by one, the last first"
    )
    decay: float = Field(default=0.05, ge=0, description="AdamW weight decay")
    warmup: float = Field(default=0.05, ge=0, lt=1, description="share of the steps used for warm-up")
    cycles: int = Field(
        default=1, ge=1, description="times the rate falls to 0; all but the last end in a snapshot"
    )
    ema: float = Field(default=0.998, ge=0, lt=1, description="decay of the averaged weights")
    clip: float = Field(default=1.0, gt=0, description="largest gradient norm")
    patience: int = Field(default=10, ge=1, description="epochs without improvement before training stops")
    keep: Literal["best", "last"] = Field(
        default="best", description="the weights of the best epoch on the tuning set, or of the last one"
    )
    weighting: Literal["none", "sqrt", "balanced"] = Field(
        default="sqrt", description="up-weighting of rare labels"
    )
    loss: Literal["cross-entropy", "adjusted", "focal", "asymmetric"] = Field(
        default="cross-entropy",
        description="'adjusted': logit adjustment, with weighting=none; 'focal', 'asymmetric': for "
        "labels that may occur together",
    )
    smoothing: float = Field(default=0.0, ge=0, lt=1, description="label smoothing, as a share")
    sampling: Literal["even", "balanced"] = Field(
        default="even", description="every film once an epoch, or films of rare labels more often"
    )
    mixup: float = Field(default=0.0, ge=0, description="MixUp: how much films are blended in pairs; 0: none")
    cutmix: float = Field(default=0.0, ge=0, description="CutMix: how much of a film is replaced; 0: nothing")
    teachers: tuple[str, ...] = Field(default=(), description="checkpoints to distil: their names or folders")
    trust: float = Field(default=0.5, gt=0, le=1, description="weight of the teachers in the target")
    augment: float = Field(default=1.0, ge=0, le=2, description="strength of the augmentation; 0: none")
    recipe: Literal["general", "geometry", "intensity", "few", "outlines", "views"] = Field(
        default="general",
        description="of the augmentation: 'geometry' and 'intensity' are the halves of 'general', 'few' "
        "makes two of its changes at a time, 'outlines' also bends and mirrors, 'views' takes crops",
    )
    dimensions: int = Field(default=256, ge=2, description="of the space in which pretrain compares films")
    precision: Precision = Field(
        default="auto", description="precision of the arithmetic; 'auto': the fastest that the machine has"
    )
    seed: int = Field(default=0, ge=0, description="seed of all random numbers")
    devices: int = Field(default=1, ge=1, description="number of GPUs, or of processes on a CPU, per node")
    nodes: int = Field(default=1, ge=1, description="number of machines that train together")
    workers: int = Field(default=0, ge=0, description="processes that load films; 0: the training process")
    save_minutes: float = Field(default=5.0, gt=0, description="minutes between saved states within an epoch")
    out: Path = Field(default=Path("runs/model"), description="folder of the run")
    intended_use: str = Field(default="", description="for the card: what the model is for, and for whom")
    citations: tuple[str, ...] = Field(default=(), description="for the card: sources of films and methods")

    @model_validator(mode="after")
    def _of_a_piece(self) -> TrainConfig:
        if "channels" in self.arguments:
            raise ValueError("arguments.channels: follow from preparation.region; leave them out")
        if self.cycles > 1 and self.keep != "last":
            raise ValueError("cycles: each but the last ends in a snapshot; set keep=last for the last one")
        if self.epochs % self.cycles:
            raise ValueError(f"cycles: {self.cycles} do not divide {self.epochs} epochs; change one of them")
        if self.mixup and self.cutmix:
            raise ValueError("cutmix: films are blended already; leave mixup out")
        if self.loss == "adjusted" and self.weighting != "none":
            raise ValueError(
                "weighting: the adjusted loss makes rare labels count already; set weighting=none"
            )
        if self.sampling == "balanced" and self.extra:
            raise ValueError("sampling: not beside extra films, which are drawn by a rule of their own")
        if self.fold in self.held:
            raise ValueError(f"held: fold {self.fold} tunes; hold others")
        if twice := set(self.labels) & set(self.auxiliary):
            raise ValueError(f"auxiliary: {min(twice)!r} stands in labels already")
        return self

    @model_validator(mode="after")
    def _of_its_task(self) -> TrainConfig:
        for name in (
            "labels",
            "activation",
            "weighting",
            "loss",
            "smoothing",
            "mixup",
            "cutmix",
            "sampling",
            "auxiliary",
            "teachers",
            "uncertain",
            "unmentioned",
        ):
            if self.task != "classify" and getattr(self, name) != TrainConfig.model_fields[name].default:
                raise ValueError(f"{name}: only for task 'classify'")
        if self.task != "segment" and self.recipe == "outlines":
            raise ValueError("recipe: 'outlines' only for task 'segment'; use 'general'")
        if self.task == "segment" and self.recipe == "views":
            raise ValueError("recipe: 'views' cuts films without their masks; use 'outlines' or 'general'")
        region = self.preparation.region
        if region != "film" and (self.task == "segment" or (self.task == "pretrain" and region != "crop")):
            raise ValueError(f"preparation.region: {region!r} only for task 'classify'")
        if self.preparation.outlined and self.recipe == "views":
            raise ValueError(f"recipe: 'views' cuts films without outlines; leave region {region!r} out")
        return self


_DEFAULTS: dict[str, dict[str, Any]] = {
    "segment": {
        "architecture": "unet",
        "preparation": {"size": 256},
        "epochs": 60,
        "batch": 8,
        "rate": 1e-3,
        "decay": 0.01,
        "recipe": "outlines",
    },
    "classify": {
        "architecture": "mobilenetv2",
        "preparation": {"size": 128},
        "epochs": 15,
        "batch": 32,
        "rate": 3e-4,
    },
    "pretrain": {
        "architecture": "mobilenetv2",
        "preparation": {"size": 128},
        "epochs": 20,
        "batch": 64,
        "rate": 5e-4,
        "recipe": "views",
        "keep": "last",
    },
}


def train_config(settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> TrainConfig:
    """Defaults of the task, then `settings`, then ``key=value`` overrides (``preparation.size=160``)."""
    found = dict(settings)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", key):
            raise ConfigError(f"{override!r}: not a setting; write key=value, for instance epochs=5")
        nested: Any = _value(value)
        for part in reversed(key.split(".")):
            nested = {part: nested}
        found = merged(found, nested)
    task = found.get("task")
    if not isinstance(task, str) or task not in _DEFAULTS:
        raise ConfigError(
            f"task={task!r}: must be one of {', '.join(_DEFAULTS)}; give --task and --data, or a TOML file"
        )
    try:
        return TrainConfig.model_validate(merged(_DEFAULTS[task], found))
    except ValidationError as error:
        raise ConfigError(
            "; ".join(map(_fault, error.errors())) + "; 'hilum train --settings' lists them all"
        ) from None


def settings(task: str) -> list[tuple[str, str, str]]:
    """Name, default for the task, and meaning of every setting of a training run; raises ConfigError."""
    if task not in _DEFAULTS:
        raise ConfigError(f"task={task!r}: must be one of {', '.join(_DEFAULTS)}")
    rows = []
    for name, field in TrainConfig.model_fields.items():
        if field.annotation is Preparation:
            own = _DEFAULTS[task][name]
            rows += [_row(f"{name}.{key}", one, own) for key, one in Preparation.model_fields.items()]
        else:
            rows.append(_row(name, field, _DEFAULTS[task]))
    return rows


def _row(name: str, field: FieldInfo, defaults: Mapping[str, Any]) -> tuple[str, str, str]:
    """Name, default and meaning of a setting, with its choices."""
    default = defaults.get(name.rpartition(".")[2], "" if field.is_required() else field.default)
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    told = [field.description or "", f"one of {', '.join(choices)}" if choices else ""]
    return name, "" if field.default_factory else str(default), "; ".join(filter(None, told))


def _fault(error: Any) -> str:
    """One fault of the settings in words, with the name that may have been meant."""
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "tuple_type":
        return f"{name}: must be a list; write {name}='[\"{error['input']}\"]'"
    if error["type"] != "extra_forbidden":
        return f"{name}: {error['msg']}"
    known = [*TrainConfig.model_fields, *(f"preparation.{key}" for key in Preparation.model_fields)]
    near = get_close_matches(name, known, 1)
    return f"{name}: no such setting" + (f", did you mean {near[0]}?" if near else "")


def expand(name: str) -> str:
    """`name` with ``$VARIABLE`` replaced from the environment; raises ConfigError where it is not set."""
    expanded = os.path.expandvars(name)
    if missing := re.search(r"\$\{?(\w+)", expanded):
        raise ConfigError(f"{name}: {missing[1]} is not set; export {missing[1]}=FOLDER first")
    return expanded


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of both, those of `top` first; tables are merged in the same way."""
    both = dict(base)
    for key, value in top.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both
