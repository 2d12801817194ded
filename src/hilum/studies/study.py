"""A study: training runs that differ in one thing at a time, with the same split, seeds and tests.

A run's folder is NAME-SOURCE-seedN below the study's, in a cross-validation NAME-SOURCE-seedN/foldM. Finished
parts are not done again, so a study can be interrupted, and extended by adding runs to its file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from hilum.card import Strict, read_card
from hilum.config import TrainConfig, merged, train_config
from hilum.data import open_data, short
from hilum.data.split import read_split
from hilum.errors import CheckpointError, ConfigError, HilumError
from hilum.evaluation.figures import WITHIN
from hilum.progress import within
from hilum.runtime import find
from hilum.studies.films import Test, groups
from hilum.studies.scores import pool_runs, score_run
from hilum.toml_files import read_plan
from hilum.training.run import trained
from hilum.training.starts import origin, started
from hilum.training.train import train
from hilum.types import Tick


class Study(Strict):
    """The file STUDY.toml."""

    name: str = Field(description="by default the file's own, without its ending")
    out: Path
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    folds: tuple[int, ...] = Field(
        default=(), description="folds of a cross-validation: each tunes one run; their verdicts are pooled"
    )
    baseline: str = Field(default="", description="the run that the others are compared with, in pairs")
    base: dict[str, Any] = Field(description="settings that all runs share")
    runs: dict[str, dict[str, Any]] = Field(
        min_length=1, description="name -> settings, and optionally 'seeds'"
    )
    sources: dict[str, dict[str, Any]] = Field(min_length=1, description="name -> settings: data, epochs")
    tests: dict[str, Test] = Field(min_length=1)
    columns: tuple[tuple[str, str] | tuple[str, str, str], ...] = Field(
        min_length=1,
        description="subject, measure and, of groups or changed films, condition of the table's figures",
    )


_WITHOUT_SAY = {
    "name",
    "version",
    "workers",
    "devices",
    "nodes",
    "save_minutes",
    "intended_use",
    "citations",
    "data",
}
"""Settings that do not change the result, and data, whose folder may have moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One training of a study."""

    name: str
    source: str
    config: TrainConfig
    group: Path  # the folder of the run, shared by its folds

    @property
    def finished(self) -> bool:
        """Whether it is trained; raises ConfigError if its folder holds a run with other settings."""
        if not trained(self.config.out):
            return False
        card = read_card(self.config.out / "checkpoint")
        was, now_ = _settings(card.config, self.config), self.config.model_dump(mode="json")
        if self.config.split and card.split_sha256 not in ("", read_split(self.config.split).sha256):
            raise ConfigError(
                f"{self.config.out}: was trained by another split; move that run away, or give the study "
                "another out"
            )
        if (began := _origin(self.config.start)) not in (None, card.weights):
            raise ConfigError(
                f"{self.config.out}: began from {card.weights or 'random weights'}, and "
                f"{self.config.start} is {began} now; move that run away, or give the study another out"
            )
        if (data := [*map(short, was["data"])]) != [*map(short, now_["data"])]:
            raise ConfigError(
                f"{self.config.out}: was trained on {', '.join(data)}; move that run away, or give the study "
                "another out"
            )
        if changed := [key for key in now_ if was[key] != now_[key] and key not in _WITHOUT_SAY]:
            raise ConfigError(
                f"{self.config.out}: was trained with {changed[0]}={was[changed[0]]!r}; "
                "move that run away, or give the study another out="
            )
        return True


def _origin(start: str) -> str | None:
    """The origin that a card started from this checkpoint has; None if the checkpoint is not here."""
    if start in ("random", "imagenet") or "://" in start:
        return None
    try:
        return origin(read_card(find(start)))
    except CheckpointError:
        return None


def _settings(was: dict[str, Any], config: TrainConfig) -> dict[str, Any]:
    """A card's settings, newer ones at their defaults; out and split are those of `config`."""
    try:
        own = {**was, "out": config.out, "split": config.split}
        return TrainConfig.model_validate(own).model_dump(mode="json")
    except ValidationError as error:
        setting = ".".join(map(str, error.errors()[0]["loc"]))
        raise ConfigError(
            f"{config.out}: was trained by another version, with {setting}; move that run away"
        ) from None


def read_study(path: Path) -> Study:
    """The study of a TOML file; raises ConfigError naming what is wrong."""
    return read_plan(Study, path, examples="docs/studies.md shows such a file")


def entries(study: Study) -> list[Entry]:
    """Every run of the study, in the file's order; raises ConfigError for settings that do not fit."""
    if study.baseline and study.baseline not in study.runs:
        raise ConfigError(f"baseline={study.baseline!r}: no run of the study; name one, or leave it out")
    parted = [name for name, test in study.tests.items() if test.parts != ("tune",)]
    if study.folds and parted:
        raise ConfigError(
            f"tests.{parted[0]}.parts: with folds, each run is scored on its own fold; leave it out"
        )
    found = []
    for name, own in study.runs.items():
        for source, data in study.sources.items():
            for seed in _seeds(name, own, study):
                settings = _layered(study.base, data, {key: own[key] for key in own if key != "seeds"})
                group = study.out / f"{name}-{source}-seed{seed}"
                folded = [{"fold": fold, "out": group / f"fold{fold}"} for fold in study.folds]
                for place in folded or [{"out": group}]:
                    config = started(train_config({**settings, "name": name.lower(), "seed": seed, **place}))
                    if config.devices != 1 or config.nodes != 1:
                        raise ConfigError("devices: a study trains on one; use hilum train for several")
                    if config.task == "pretrain":
                        raise ConfigError(
                            f"runs.{name}: task=pretrain has no labels to score; hilum train it"
                        )
                    if study.folds and config.task != "classify":
                        raise ConfigError("folds: only for classifiers; leave them out to study segmenters")
                    found.append(Entry(name=name, source=source, config=config, group=group))
    return found


def _layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """All layers' settings; a later layer replaces an earlier one's, for `preparation` setting by setting.

    `arguments` are replaced as a whole, because another architecture has other arguments.
    """
    found: dict[str, Any] = {}
    for layer in layers:
        both = merged(found, layer)
        found |= layer
        if "preparation" in both:
            found["preparation"] = both["preparation"]
    return found


def _seeds(name: str, own: Mapping[str, Any], study: Study) -> Sequence[int]:
    """A run's own seeds, or the study's."""
    seeds: Any = own.get("seeds", study.seeds)
    if not isinstance(seeds, list | tuple) or not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise ConfigError(f"runs.{name}.seeds: {seeds!r}; give a list of whole numbers")
    return seeds


def run(
    study: Study,
    *,
    only: Sequence[str] = (),
    tick: Tick | None = None,
    tell: Callable[[Entry], None] | None = None,
    fault: Callable[[Path, HilumError], None] | None = None,
) -> list[Entry]:
    """Train and score what is missing, for all runs or those in `only`; returns all finished runs.

    `tell` is called with each run as it is done. `fault` is called with the folder and the error of what
    could not be trained or scored, and the others go on; without it, the error is raised.
    """
    _check(study, only)
    opened = cache(open_data)  # most runs name the same data
    chosen = [entry for entry in entries(study) if not only or entry.name in only]
    failed = set[Path]()

    @contextmanager
    def attempt(entry: Entry, folder: Path) -> Iterator[None]:
        try:
            yield
        except HilumError as error:
            if fault is None:
                raise
            failed.add(entry.group)
            # The traceback would keep network and films in memory.
            error.__traceback__ = error.__context__ = error.__cause__ = None
            fault(folder, error)

    for done, entry in enumerate(chosen):
        out, group = entry.config.out, entry.group
        own = within(tick, done, len(chosen), out.relative_to(study.out).as_posix())
        ready = False
        with attempt(entry, out):
            if not entry.finished:
                train(entry.config, resume=True, tick=own)
            ready = True
        for name, test in study.tests.items() if ready else ():
            with attempt(entry, out / f"test-{name}"):
                score_run(entry.config, group, name, test, opened, own)
        folds = [other.config.out for other in chosen if other.group == group]
        if out != folds[-1] or group in failed:
            continue
        for name, test in study.tests.items() if study.folds else ():
            with attempt(entry, group / f"test-{name}"):
                pool_runs(folds, group, name, test)
        if tell and group not in failed:
            tell(entry)
    return finished(study)


def _check(study: Study, only: Sequence[str]) -> None:
    """Raise ConfigError for mistakes in the study's file, before anything is trained."""
    if unknown := set(only) - set(study.runs):
        raise ConfigError(f"{min(unknown)!r}: no run of the study; it has {', '.join(study.runs)}")
    for name, test in study.tests.items():
        groups((), test, lambda _: ())
        if test.by and any(entry.config.task == "segment" for entry in entries(study)):
            raise ConfigError(f"tests.{name}.by: segmenters have no figures by group; leave it out")
    by = {name for test in study.tests.values() for name in test.by}
    for _, measure, *condition in study.columns:
        for group in (one.removeprefix(WITHIN) for one in condition if one.startswith(WITHIN)):
            if measure != "AUROC" or group not in by:
                raise ConfigError(
                    f"columns: {measure!r}, {WITHIN + group!r}: give 'AUROC', and by = [{group!r}] to a test"
                )
    finished(study)  # raises for a run with other settings


def finished(study: Study) -> list[Entry]:
    """The trained entries, in the file's order; of a cross-validation, only runs with all folds trained."""
    whole = entries(study)
    left = {entry.group for entry in whole if not entry.finished}
    return [entry for entry in whole if entry.group not in left]
