"""Settings of a training run: defaults, a TOML file, and ``key=value`` on top, checked in one place."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from hilum.card import Preparation, Strict
from hilum.errors import ConfigError
from hilum.labels import Policy, policies

Task = Literal["segment", "classify", "pretrain"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


class TrainConfig(Strict):
    """One training run, complete: the same settings on the same films give the same weights."""

    name: str = Field(default="model", pattern=r"^[a-z0-9][a-z0-9._-]*$", description="the model's name")
    version: str = Field(default="0.1.0", description="the model's version")
    task: Task = Field(description="what the network learns")
    data: tuple[str, ...] = Field(
        min_length=1, description="data sets, KIND:PATH; of a published film in several, the first is taken"
    )
    extra: tuple[str, ...] = Field(
        default=(),
        description="data sets that only train, as many films an epoch as the others: pseudo-labels, say; "
        "of a film that also stands in data, a mask here that shows more is learned",
    )
    split: Path | None = Field(default=None, description="patient split; none: made from the data and stored")
    fold: int = Field(default=0, ge=0, description="fold that tunes; the others but 'test' train")
    held: tuple[int, ...] = Field(
        default=(), description="folds that take no part, so that what is trained may teach who tunes there"
    )
    patients: int = Field(
        default=0, ge=0, description="train on so many patients only, the same ones in every run; 0: on all"
    )
    labels: tuple[str, ...] = Field(
        default=(), description="none: the six where the data carry all six, else all they carry"
    )
    auxiliary: tuple[str, ...] = Field(
        default=(),
        description="labels learned beside the others and then forgotten; 'view': whether a film is AP",
    )
    uncertain: Annotated[Policy | dict[str, Policy], BeforeValidator(policies)] = Field(
        default="ignore",
        description="what a label is in training that its source calls uncertain: 'ignore' (unknown), "
        "'zero', 'one', a probability or a range of them, as [0.55, 0.85]; or a table of these by label, "
        "with 'others'",
    )
    unmentioned: Literal["ignore", "zero"] = Field(
        default="ignore", description="what a label is of which its source says nothing on a film"
    )
    activation: Literal["auto", "sigmoid", "softmax"] = Field(
        default="auto",
        description="labels that may stand together (sigmoid), or of which each film has one (softmax); "
        "'auto': as the films have them",
    )
    architecture: str = Field(description="the network; docs/studies.md")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="the architecture's own, as arguments.width=32; docs/studies.md"
    )
    start: str = Field(
        default="auto",
        description="'random', 'imagenet', a checkpoint's name or folder; 'auto': 'imagenet' where the "
        "architecture has such weights",
    )
    preparation: Preparation
    epochs: int = Field(ge=1, description="times that every film is seen, at most")
    batch: int = Field(ge=1, description="films a step, over all devices")
    accumulate: int = Field(
        default=1, ge=1, description="steps whose gradients are averaged into one, where memory is short"
    )
    rate: float = Field(gt=0, description="peak learning rate")
    first_rate: float = Field(
        default=1.0, gt=0, le=1, description="rate of a backbone's first layers as a share of the head's"
    )
    frozen: int = Field(default=0, ge=0, description="first epochs in which a backbone learns nothing")
    thaw: int = Field(
        default=0, ge=0, description="epochs, after these, in which its layers begin to learn, the last first"
    )
    decay: float = Field(default=0.05, ge=0, description="AdamW weight decay")
    warmup: float = Field(default=0.05, ge=0, lt=1, description="share of the steps that warm up")
    cycles: int = Field(
        default=1, ge=1, description="times the rate falls to nothing; all but the last end in a snapshot"
    )
    ema: float = Field(default=0.998, ge=0, lt=1, description="decay of the averaged weights")
    clip: float = Field(default=1.0, gt=0, description="largest gradient norm")
    patience: int = Field(default=10, ge=1, description="epochs without gain before it stops")
    keep: Literal["best", "last"] = Field(
        default="best", description="the weights of the epoch that tunes best, or of the last one"
    )
    weighting: Literal["none", "sqrt", "balanced"] = Field(default="sqrt", description="of rare labels")
    loss: Literal["cross-entropy", "adjusted", "focal", "asymmetric"] = Field(
        default="cross-entropy",
        description="'adjusted': to how frequent a label is, with weighting=none; 'focal', 'asymmetric': "
        "of labels that may stand together",
    )
    smoothing: float = Field(default=0.0, ge=0, lt=1, description="share by which labels are blurred")
    sampling: Literal["even", "balanced"] = Field(
        default="even", description="every film once an epoch, or films of rare labels more often"
    )
    mixup: float = Field(default=0.0, ge=0, description="how much films are blended in pairs; 0: none")
    cutmix: float = Field(default=0.0, ge=0, description="how much of a film another one's part replaces")
    teachers: tuple[str, ...] = Field(
        default=(), description="checkpoints that say how sure a label is: their names or folders"
    )
    trust: float = Field(default=0.5, gt=0, le=1, description="the teachers' share of what is learned")
    augment: float = Field(default=1.0, ge=0, le=2, description="strength of the augmentation; 0 is none")
    recipe: Literal["general", "geometry", "intensity", "few", "outlines", "views"] = Field(
        default="general",
        description="of the augmentation; 'geometry' and 'intensity' are its halves, 'few' makes two of its "
        "changes at a time, 'outlines' also bends and mirrors, 'views' cuts parts out",
    )
    dimensions: int = Field(default=256, ge=2, description="of the space in which pretrain compares films")
    precision: Precision = Field(
        default="auto", description="of the arithmetic; 'auto': the fastest that the machine has"
    )
    seed: int = Field(default=0, ge=0, description="of all that is drawn")
    devices: int = Field(default=1, ge=1, description="GPUs, or processes on a CPU; of each node")
    nodes: int = Field(default=1, ge=1, description="machines that train together")
    workers: int = Field(default=0, ge=0, description="processes that load films; 0: the training process")
    save_minutes: float = Field(default=5.0, gt=0, description="between two saved states inside an epoch")
    out: Path = Field(default=Path("runs/model"), description="folder of the run")
    intended_use: str = Field(default="", description="for the card: whom and what the model is for")
    citations: tuple[str, ...] = Field(
        default=(), description="for the card: whose films and ideas it owes to"
    )

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
    """Name, default and meaning of a setting, with what there is to choose from."""
    default = defaults.get(name.rpartition(".")[2], "" if field.is_required() else field.default)
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    told = [field.description or "", f"one of {', '.join(choices)}" if choices else ""]
    return name, "" if field.default_factory else str(default), "; ".join(filter(None, told))


def _fault(error: Any) -> str:
    """One thing that is wrong with the settings, in words, with the name that was perhaps meant."""
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
