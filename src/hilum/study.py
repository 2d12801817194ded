"""Many training runs that differ in one thing at a time, the same split and seeds, and one table of them all.

A run's folder is NAME-SOURCE-seedN below the study's; what is already there is not done again, so that a
study can be interrupted, and grown by adding runs to its file.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hilum.card import read_card
from hilum.config import TrainConfig, read_toml, train_config
from hilum.cost import Cost, cost
from hilum.data import join, open_data, short
from hilum.data.cache import Tick, cached
from hilum.data.split import Part, read_split, select
from hilum.errors import ConfigError
from hilum.evaluate import evaluate, film_size
from hilum.figures import Figure, write
from hilum.report import identity, provenance
from hilum.run import STATE
from hilum.runtime import Runtime, find
from hilum.train import train
from hilum.types import Sample, now


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Films(_Strict):
    """Films every run is scored on; those that a run has trained on are left out for it."""

    data: tuple[str, ...] = Field(min_length=1)
    parts: tuple[Part, ...] = ("tune",)
    split: Path | None = Field(
        default=None, description="of the test's films, where the runs' does not deal them"
    )
    stress: bool = False


class Study(_Strict):
    """The file STUDY.toml."""

    name: str = Field(description="by default the file's own, without its ending")
    out: Path
    seeds: tuple[int, ...] = (0,)
    base: dict[str, Any] = Field(description="settings that all runs share")
    runs: dict[str, dict[str, Any]] = Field(min_length=1, description="name -> settings; 'seeds' its own")
    sources: dict[str, dict[str, Any]] = Field(min_length=1, description="name -> settings: data, epochs")
    tests: dict[str, Films] = Field(min_length=1)
    columns: tuple[tuple[str, str] | tuple[str, str, str], ...] = Field(
        description="subject, measure and, for films that were changed, condition of the table's figures"
    )


_WITHOUT_SAY = {"name", "version", "workers", "devices", "save_minutes", "intended_use", "citations", "data"}
"""Settings that change nothing, or (data) are compared as the study names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run of a study."""

    name: str
    source: str
    config: TrainConfig

    @property
    def finished(self) -> bool:
        """Whether it is trained; raises ConfigError where its folder holds a run of other settings."""
        folder = self.config.out / "checkpoint"
        if not (folder / "card.json").is_file() or (self.config.out / STATE).is_file():
            return False
        was, now_ = _settings(read_card(folder).config, self.config), self.config.model_dump(mode="json")
        if changed := [key for key in now_ if was[key] != now_[key] and key not in _WITHOUT_SAY]:
            raise ConfigError(
                f"{self.config.out}: was trained with {changed[0]}={was[changed[0]]!r}; "
                "move that run away, or give the study another out="
            )
        return True


def _settings(was: dict[str, Any], config: TrainConfig) -> dict[str, Any]:
    """A card's settings, those that it does not know yet at their defaults; out and split are `config`'s."""
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
    try:
        return Study.model_validate({"name": path.stem, **read_toml(path)})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {where}: {first['msg']}; see configs/studies for examples") from None


def entries(study: Study) -> list[Entry]:
    """Every run of the study, in its file's order; raises ConfigError for settings that do not fit."""
    found = []
    for name, own in study.runs.items():
        for source, data in study.sources.items():
            for seed in own.get("seeds", study.seeds):
                settings = study.base | data | {key: own[key] for key in own if key != "seeds"}
                about = {"name": name.lower(), "seed": seed, "out": study.out / f"{name}-{source}-seed{seed}"}
                config = train_config({**settings, **about})
                if config.devices != 1:
                    raise ConfigError("devices: a study trains on one; run its trainings by themselves")
                found.append(Entry(name=name, source=source, config=config))
    return found


def run(study: Study, *, only: Sequence[str] = (), tick: Tick | None = None) -> Path:
    """Train and score what is missing, of the runs `only` names or of all; returns the table's path.

    Writes ``NAME.csv``, every figure of every finished run, and ``NAME.md``, the table of `columns`.
    """
    if unknown := set(only) - set(study.runs):
        raise ConfigError(f"{min(unknown)!r}: no run of the study; it has {', '.join(study.runs)}")
    chosen = [entry for entry in entries(study) if not only or entry.name in only]
    for done, entry in enumerate(chosen):
        if not entry.finished:
            train(entry.config, resume=True, tick=_within(tick, done, len(chosen), entry))
        for name, test in study.tests.items():
            _score(entry, name, test, _within(tick, done, len(chosen), entry))
    return _tables(study, [entry for entry in entries(study) if entry.finished])


def _within(tick: Tick | None, done: int, total: int, entry: Entry) -> Tick | None:
    """Progress of one run as a part of the study's."""
    if tick is None:
        return None
    where = entry.config.out.name

    def inner(step: int, steps: int, status: str) -> None:
        tick(done * 1000 + 1000 * step // max(steps, 1), total * 1000, f"{where}: {status}")

    return inner


def _score(entry: Entry, name: str, test: Films, tick: Tick | None) -> None:
    """Evaluate a run on a test, unless that has been done with the same weights and films."""
    out = entry.config.out / f"test-{name}"
    runtime = Runtime(find(entry.config.out))
    about: dict[str, Any] = {
        "model": identity(runtime.card),
        "data": [short(data) for data in test.data],
        "parts": list(test.parts),
        "stress": test.stress,
    }
    if (said := _evaluation(out)) and about.items() <= said.items():
        return
    samples = unseen(entry, test)
    cache = cached(samples, film_size(runtime.card), entry.config.out.parent / ".hilum-cache", tick=tick)
    evaluation = evaluate(runtime, cache, stress=test.stress, tick=tick)
    write(evaluation, {**about, "seed": 0, **provenance(now())}, out)


def unseen(entry: Entry, test: Films) -> list[Sample]:
    """The test's films but those of patients that the run trained on."""
    config = entry.config
    if config.split is None:
        raise ConfigError("a study needs split= in [base]: one split for all of its runs")
    samples = join([open_data(name) for name in test.data])
    own = join([open_data(name) for name in config.data])
    learned = {sample.patient for sample in select(own, read_split(config.split), "train", fold=config.fold)}
    # What extra says of the data's own films is used where they train, and only there.
    names = {sample.id for sample in own}
    extra = [sample for name in config.extra for sample in open_data(name)]
    learned |= {sample.patient for sample in extra if sample.id not in names}
    parts = read_split(test.split or config.split)
    chosen = [s for part in test.parts for s in select(samples, parts, part, fold=config.fold)]
    return [sample for sample in chosen if sample.patient not in learned]


def _evaluation(out: Path) -> dict[str, Any] | None:
    path = out / "evaluation.json"
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found


def _tables(study: Study, done: Sequence[Entry]) -> Path:
    rows = [row for entry in done for row in _rows(study, entry)]
    with (study.out / f"{study.name}.csv").open("w", newline="", encoding="utf-8") as file:
        about = ("run", "source", "seed", "test")
        writer = csv.DictWriter(file, [*about, *(field.name for field in fields(Figure))])
        writer.writeheader()
        writer.writerows(rows)
    costs: dict[str, Cost] = {}
    for entry in done:
        if entry.name not in costs:
            costs[entry.name] = cost(entry.config.out / "checkpoint")
    path = study.out / f"{study.name}.md"
    path.write_text("\n".join(_markdown(study, rows, costs)) + "\n", encoding="utf-8")
    return path


def _rows(study: Study, entry: Entry) -> Iterator[dict[str, Any]]:
    about = {"run": entry.name, "source": entry.source, "seed": entry.config.seed}
    for name in study.tests:
        said = _evaluation(entry.config.out / f"test-{name}")
        for figure in said["figures"] if said else ():
            yield {**about, "test": name, **figure}


def _markdown(study: Study, rows: list[dict[str, Any]], costs: Mapping[str, Cost]) -> Iterator[str]:
    """A line a run: what it costs and, for each source and test, a figure with its interval over patients; of
    several seeds their mean and standard deviation."""
    places = [(source, test) for source in study.sources for test in study.tests]
    heads = [
        f"{' '.join(column[:2])}, {source} to {test}" for source, test in places for column in study.columns
    ]
    head = ["run", "seeds", "parameters, M", "GFLOP a film", "ms a film", *heads]
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for name, price in costs.items():
        own = [row for row in rows if row["run"] == name]
        seeds = len({row["seed"] for row in own})
        cells = [name, str(seeds), f"{price.parameters / 1e6:.2f}", f"{price.flops / 1e9:.2f}"]
        cells.append(f"{price.milliseconds:.1f}")
        for source, test in places:
            for subject, measure, *condition in study.columns:
                wanted = {"source": source, "test": test, "subject": subject, "measure": measure}
                wanted["condition"] = condition[0] if condition else ""
                cells.append(spread([row for row in own if wanted.items() <= row.items()]))
        yield "| " + " | ".join(cells) + " |"


def spread(rows: Sequence[Mapping[str, Any]]) -> str:
    """One seed's figure with its interval, or the mean of several with their standard deviation."""
    told = [row for row in rows if row["value"] is not None]
    if not told:
        return ""
    if len(told) == 1:
        row = told[0]
        return f"{row['value']:.4f} ({row['low']:.3f} to {row['high']:.3f})"
    values = [row["value"] for row in told]
    return f"{statistics.mean(values):.4f} (sd {statistics.stdev(values):.4f} of {len(values)} seeds)"
