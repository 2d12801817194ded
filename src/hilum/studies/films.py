"""The films that a study scores its runs on, without patients that the run learned from."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import Field

from hilum.card import ANY, Strict, read_card
from hilum.config import TrainConfig
from hilum.data import join, open_data, short
from hilum.data.opened import stamp
from hilum.data.split import Part, may_know, read_split, select
from hilum.errors import ConfigError
from hilum.evaluation.evaluate import groups_of
from hilum.runtime import find
from hilum.types import Array, Sample


class Test(Strict):
    """Films that every run is scored on; those of a run's training patients are left out for that run."""

    data: tuple[str, ...] = Field(min_length=1)
    parts: tuple[Part, ...] = ("tune",)
    split: Path | None = Field(
        default=None, description="split of the test's films, if the runs' split does not contain them"
    )
    stress: bool = False
    by: tuple[str, ...] = Field(
        default=(), description="figures of labels also by sex, age, view, site or data set"
    )


def unseen(
    config: TrainConfig, test: Test, opened: Callable[[str], Sequence[Sample]] = open_data
) -> list[Sample]:
    """The test's films without those of patients that the run trained on.

    `opened` opens a data set by its name. Raises ConfigError if the run has no split, or if its start or a
    teacher learned, or may have learned, from the films.
    """
    if config.split is None:
        raise ConfigError("a study needs split= in [base]: one split for all of its runs")
    samples = join([opened(name) for name in test.data])
    _refuse_informed(config, test, samples)
    own = join([opened(name) for name in config.data])
    split = read_split(config.split)
    learned = {s.patient for s in select(own, split, "train", fold=config.fold, held=config.held)}
    # Masks that extra adds to the data's own films are used in training only.
    names = {sample.id for sample in own}
    extra = [sample for name in config.extra for sample in opened(name)]
    learned |= {sample.patient for sample in extra if sample.id not in names}
    parts = read_split(test.split or config.split)
    chosen = [s for part in test.parts for s in select(samples, parts, part, fold=config.fold)]
    return [sample for sample in chosen if sample.patient not in learned]


def _refuse_informed(config: TrainConfig, test: Test, samples: Sequence[Sample]) -> None:
    """Raise ConfigError if a start or teacher learned, or may have, from the films that score a run."""
    assert config.split is not None  # noqa: S101 - asked for before
    split = read_split(config.split)
    for name in {config.start, *config.teachers} - {"random", "imagenet"}:
        card = read_card(find(name))
        foreign = card.split_sha256 != split.sha256
        told = [source.name for source in card.sources]
        if (foreign or ANY in card.informed) and may_know(told, test.data, samples):
            raise ConfigError(
                f"{name}: trained by another split, or from such a model, so it may have learned the films "
                f"that {config.out.name} is scored on; give one that was trained by the study's split"
            )
        if not foreign and test.parts != ("test",) and config.fold not in card.unlearned:
            may = "may have learned" if config.fold in card.kept else "learned"
            raise ConfigError(
                f"{name}: {may} from fold {config.fold}, on which {config.out.name} is scored; give one that "
                f'held it back (held=[{config.fold}]), or score with parts = ["test"]'
            )


def groups(
    films: Sequence[str], test: Test, opened: Callable[[str], Sequence[Sample]] = open_data
) -> dict[str, Array]:
    """The groups of films, by their ids, for the test's figures by group: as `evaluate.groups_of`."""
    if not test.by:
        return {}
    samples, sources = dict[str, Sample](), dict[str, str]()
    for name in test.data:
        for sample in opened(name):
            samples.setdefault(sample.id, sample)
            sources.setdefault(sample.id, short(name))
    return groups_of([samples[film] for film in films], test.by, sources)


def digest(samples: Sequence[Sample], by: Sequence[str] = ()) -> str:
    """Hash of all that a score of the films, also `by` group, depends on apart from the model."""
    digest = hashlib.sha256()
    for sample in samples:
        told = f"{sample.id} {sample.patient} {sorted(sample.labels.items())} {sorted(sample.structures)}"
        told += f" {sample.sex} {sample.age} {sample.view} {sample.site}" if by else ""
        digest.update(f"{told} {stamp(sample.image)} {stamp(sample.masks)}\n".encode())
    return digest.hexdigest()
