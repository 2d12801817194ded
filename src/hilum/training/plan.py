"""What a training run works on, fixed before its first step: films, labels and split."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hilum.config import TrainConfig
from hilum.data import join, listing, settled
from hilum.data.cache import Cache, cached
from hilum.data.regions import regional
from hilum.data.split import (
    Part,
    Split,
    first_patients,
    make_split,
    read_split,
    select,
    unnamed,
    write_split,
)
from hilum.errors import ConfigError, DataError
from hilum.labels import VIEW
from hilum.models import TASKS, purpose
from hilum.reading.files import read_csv
from hilum.store import as_csv, write_whole
from hilum.training.batches import Films, balanced
from hilum.training.targets import Activation, activation_of, check_known, labels_of
from hilum.training.teach import taught
from hilum.types import Array, Sample, Tick

_logger = logging.getLogger(__name__)

_UNREADABLE = "unreadable.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The films and labels of a run."""

    train: Films
    tune: Films
    labels: tuple[str, ...]  # one for each output channel of the finished model
    activation: Activation
    split: Split
    odds: Array | None = None  # with which training films are drawn; None: each once an epoch
    extra: int = 0  # the last training films: those of the data sets that only train

    @property
    def measure(self) -> str:
        """The name of the tuning score."""
        if self.train.views > 1:
            return "agreement"
        return "mean AUROC" if self.train.labels else "mean Dice"


def make_plan(config: TrainConfig, tick: Tick | None = None) -> Plan:
    """Open the data, split it by patient and decode its films; raises DataError with the remedy."""
    made_to = TASKS.get(config.architecture)
    if made_to and made_to != purpose(config.task):
        raise ConfigError(f"architecture={config.architecture!r} is made to {made_to}")
    # The split is made before policies change labels, so that all policies get the same split.
    samples = join([listing(name).samples for name in config.data])
    if config.task == "segment":
        samples = [sample for sample in samples if sample.masks is not None]
        if not samples:
            raise DataError("no film has a mask to learn from; give masks:PATH")
    given = _settled("train", config, join([listing(name).samples for name in config.extra]))
    if config.task == "segment" and (bare := [sample.id for sample in given if sample.masks is None]):
        raise DataError(f"{bare[0]}: in extra, but has no mask; outline it with 'hilum data outline'")
    split = _split(config, samples)
    extra, fuller = _parted(given, samples, split, config)
    labels = labels_of(config, samples)
    taught_by = _settled("train", config, samples)
    activation = activation_of(config, taught_by, labels)
    chosen = {part: _chosen(part, config, samples, split) for part in ("train", "tune")}
    chosen["train"] = [fuller.get(sample.id, sample) for sample in chosen["train"]] + extra
    if config.task == "classify" and not config.teachers:  # teachers can score what the films lack
        check_known((*labels, *(name for name in config.auxiliary if name != VIEW)), chosen["train"])
    size, folder = config.preparation.size, config.out.parent / ".hilum-cache"
    whole = sum(map(len, chosen.values()))
    parts = {
        part: cached(_described(films, config), size, folder, whole=whole, tick=tick)
        for part, films in chosen.items()
    }
    _set_aside(parts, config.out)
    train, tune = (_films(part, cache, labels, config) for part, cache in parts.items())
    if config.teachers:
        train = taught(train, config.teachers, config.trust, split)
    return Plan(
        train=train,
        tune=tune,
        labels=labels,
        activation=activation,
        split=split,
        odds=_odds(config, parts["train"].truth(labels), activation),
        extra=len({sample.id for sample in extra} & {sample.id for sample in parts["train"].samples}),
    )


def make_tuning_plan(config: TrainConfig, tick: Tick | None = None) -> Plan:
    """The plan of a model that is trained already: the films of its tuning part, and none in `train`.

    `config.split` must be given. Raises DataError with the remedy.
    """
    samples = join([listing(name).samples for name in config.data])
    split, labels = _split(config, samples), labels_of(config, samples)
    chosen = _chosen("tune", config, samples, split)
    folder = config.out.parent / ".hilum-cache"
    # The training allowed unreadable films as a share of both parts.
    whole = len(chosen) + len(select(samples, split, "train", fold=config.fold, held=config.held))
    cache = cached(_described(chosen, config), config.preparation.size, folder, whole=whole, tick=tick)
    _set_aside({"tune": cache}, config.out)
    tune = _films("tune", cache, labels, config)
    return Plan(
        train=replace(tune, cache=replace(cache, samples=(), films=cache.films[:0], masks=None, failures={})),
        tune=tune,
        labels=labels,
        activation=activation_of(config, chosen, labels),
        split=split,
    )


def _odds(config: TrainConfig, truth: Array, activation: Activation) -> Array | None:
    """Probabilities with which training films are drawn; None if each is drawn once an epoch."""
    if config.sampling == "even":
        return None
    odds = balanced(truth, exclusive=activation == "softmax")
    if not odds.any():
        raise DataError("no film has labels to balance; check the labels, or leave sampling out")
    return odds


def _chosen(part: Part, config: TrainConfig, samples: list[Sample], split: Split) -> list[Sample]:
    """The films of a part, of the configured number of patients; raises DataError if there are none."""
    if missing := {*map(str, config.held)} - {*split.parts.values()}:
        raise ConfigError(f"held: the split has no fold {min(missing)}; it has {_folds(split)}")
    films = select(samples, split, part, fold=config.fold, held=config.held)
    if not films:
        folds, patients = _folds(split), len({sample.patient for sample in samples})
        fault = f"its folds are {folds}: change fold={config.fold}"
        if not folds or str(config.fold) in split.parts.values():
            fault = (
                f"all {len(samples)} films are of {patients} patients: give films of more, or another split"
            )
        raise DataError(f"no films in the {part} part of the split; {fault}")
    films = _settled(part, config, films)
    return first_patients(films, config.patients) if part == "train" and config.patients else films


def _folds(split: Split) -> str:
    return ", ".join(sorted({*split.parts.values()} - {"test"}, key=int))


def _settled(part: Part, config: TrainConfig, films: Sequence[Sample]) -> list[Sample]:
    """Films with their labels by the policies; uncertain labels are ignored in the tuning part."""
    uncertain = config.uncertain if part == "train" else "ignore"
    return settled(films, uncertain=uncertain, unmentioned=config.unmentioned)


def _films(part: str, cache: Cache, labels: tuple[str, ...], config: TrainConfig) -> Films:
    """A part's films with their targets; only training films are augmented."""
    pretrains = config.task == "pretrain"
    return Films(
        cache=cache,
        labels=labels + config.auxiliary if config.task == "classify" else (),
        preparation=config.preparation,
        # Unchanged views of a film would agree for any network.
        strength=config.augment if part == "train" or pretrains else 0.0,
        seed=config.seed,
        recipe=config.recipe if part == "train" or pretrains else "general",
        views=2 if pretrains else 1,
    )


def _parted(
    given: list[Sample], samples: list[Sample], split: Split, config: TrainConfig
) -> tuple[list[Sample], dict[str, Sample]]:
    """Split the films of `extra`: new films, which only train, and by id fuller masks for `samples`.

    A fuller mask is used in training only; tuning and testing use the data's own mask. New films must not be
    of patients that the split holds back. Raises DataError with the remedy.
    """
    own = {sample.id: sample for sample in samples}
    more, fuller = [], {}
    for sample in given:
        if sample.id not in own:
            if split.parts.get(sample.patient) in ("test", *map(str, (config.fold, *config.held))):
                raise DataError(f"{sample.id}: in extra, but the split holds its patient back; leave it out")
            more.append(sample)
        elif config.task == "segment" and _shows_all_of(sample, own[sample.id]):
            fuller[sample.id] = replace(own[sample.id], masks=sample.masks, structures=sample.structures)
        else:
            raise DataError(f"{sample.id}: is in data and in extra; give it once")
    return more, fuller


def _described(samples: list[Sample], config: TrainConfig) -> list[Sample]:
    """The samples as their task needs them: masks to segment, the view as a label if it is learned."""
    if config.task != "segment":
        samples = regional(samples, [config.preparation])
    if VIEW not in config.auxiliary:
        return samples
    views = [{"AP": 1.0, "PA": 0.0}.get(sample.view or "", float("nan")) for sample in samples]
    return [
        replace(sample, labels={**sample.labels, VIEW: view})
        for sample, view in zip(samples, views, strict=True)
    ]


def _shows_all_of(sample: Sample, other: Sample) -> bool:
    """Whether a film's mask shows all structures of its other mask, in which lungs may have no sides."""
    shows = sample.structures | ({"lungs"} if {"right_lung", "left_lung"} <= sample.structures else set())
    return shows >= other.structures


def _split(config: TrainConfig, samples: list[Sample]) -> Split:
    if config.split is not None:
        return read_split(config.split)
    path = config.out / "split.csv"
    if path.is_file() and (config.out / "history.csv").is_file():
        return read_split(path)
    if warning := unnamed(config.data, samples):
        _logger.warning(warning)
    made = make_split(samples, seed=config.seed)
    # An existing file is that of a failed start, or of the first process: the others do not rewrite it.
    if not path.is_file() or read_split(path) != made:
        write_split(made, path)
    return made


def not_read(out: Path) -> list[str]:
    """The reasons why films of a run's data could not be read."""
    path = out / _UNREADABLE
    return [row["reason"] for _, row in read_csv(path)[1]] if path.is_file() else []


def _set_aside(parts: dict[str, Cache], out: Path) -> None:
    """Write the list of films that could not be read; raises DataError for most films of a part."""
    failures = {name: why for cache in parts.values() for name, why in cache.failures.items()}
    if [failures[name] for name in sorted(failures)] != not_read(out):
        out.mkdir(parents=True, exist_ok=True)
        rows = [{"film": film, "reason": why} for film, why in sorted(failures.items())]
        write_whole(out / _UNREADABLE, as_csv(["film", "reason"], rows))
    for part, cache in parts.items():
        if len(cache.failures) > len(cache.samples):
            of = len(cache.failures) + len(cache.samples)
            first = min(cache.failures.values())
            raise DataError(f"{len(cache.failures)} of {of} films of the {part} part cannot be read: {first}")
