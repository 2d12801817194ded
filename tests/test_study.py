"""A study: what is missing is trained and scored, and no run is scored on films it learned from."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hilum import study as study_module
from hilum.card import Card, card_json
from hilum.config import TrainConfig
from hilum.cost import cost
from hilum.data import open_data
from hilum.data.split import make_split, select, write_split
from hilum.errors import ConfigError
from hilum.study import Entry, Films, Study, entries, read_study, run, unseen

STUDY = """
out = "{out}"
seeds = [0, 1]
columns = [["lungs", "Dice"]]

[base]
task = "segment"
split = "{split}"
epochs = 1
batch = 4
preparation = {{ size = 64 }}

[runs.small]
arguments = {{ width = 2, depth = 2 }}

[runs.wide]
arguments = {{ width = 4, depth = 2 }}
seeds = [7]

[sources.here]
data = ["phantom:16"]

[tests.here]
data = ["phantom:16"]
parts = ["train", "tune"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    split = tmp_path / "split.csv"
    write_split(make_split(open_data("phantom:16"), test=0.2, folds=2, seed=0), split)
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(out=tmp_path / "runs", split=split))
    return path


def test_every_run_meets_every_source_and_seed(file: Path) -> None:
    found = entries(read_study(file))
    assert [entry.config.out.name for entry in found] == [
        "small-here-seed0",
        "small-here-seed1",
        "wide-here-seed7",
    ]
    assert [entry.config.arguments["width"] for entry in found] == [2, 2, 4]
    assert [entry.config.seed for entry in found] == [0, 1, 7]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("seeds = [0, 1]", "sedes = [0, 1]", "sedes"),
        ("[tests.here]", "[texts.here]", "tests"),
        ('parts = ["train", "tune"]', 'parts = ["all"]', "parts"),
    ],
)
def test_a_wrong_word_is_named(file: Path, old: str, new: str, why: str) -> None:
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=why):
        read_study(file)


STUDIES = Path(__file__).parent.parent / "configs" / "studies"


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.name)
def test_every_published_study_can_be_read_and_names_its_seeds_and_sources(path: Path) -> None:
    study = read_study(path)
    found = entries(study)
    assert {entry.name for entry in found} == set(study.runs)
    assert {entry.source for entry in found} == set(study.sources)
    assert all(entry.config.split is not None for entry in found)
    about = [entry.config.model_dump_json(exclude={"name", "out"}) for entry in found]
    assert len({entry.config.out for entry in found}) == len(found) == len(set(about))  # no run is done twice


def test_a_wrong_setting_of_a_run_is_named(file: Path) -> None:
    file.write_text(file.read_text().replace("epochs = 1", "epoch = 1"))
    with pytest.raises(ConfigError, match="did you mean epochs"):
        entries(read_study(file))


def test_a_run_is_not_scored_on_the_films_it_learned_from(file: Path) -> None:
    entry = entries(read_study(file))[0]
    films = {sample.id for sample in unseen(entry, Films(data=("phantom:16",), parts=("train", "tune")))}
    samples = open_data("phantom:16")
    assert entry.config.split is not None
    split = study_module.read_split(entry.config.split)
    assert films == {sample.id for sample in select(samples, split, "tune")}
    # What extra says of the data's own films trains only where they train.
    fuller = Entry(name="x", source="here", config=entry.config.model_copy(update={"extra": ("phantom:16",)}))
    assert {s.id for s in unseen(fuller, Films(data=("phantom:16",), parts=("train", "tune")))} == films
    # A source of other patients is unseen as a whole.
    moved = entry.config.model_copy(update={"data": ("phantom:16",), "fold": 1})
    other = Entry(name="x", source="here", config=moved)
    assert films.isdisjoint(
        sample.id for sample in unseen(other, Films(data=("phantom:16",), parts=("tune",)))
    )


def test_a_study_trains_scores_and_tells_and_does_nothing_twice(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = read_study(file)
    ticks: list[tuple[int, int, str]] = []
    table = run(study, only=["wide"], tick=lambda *args: ticks.append(args)).read_text()
    lines = table.splitlines()
    assert len(lines) == 3  # heading, rule, the one run that is done
    assert lines[2].startswith("| wide | 1 | ")
    with (study.out / "study.csv").open(newline="") as source:
        rows = list(csv.DictReader(source))
    dice = next(row for row in rows if (row["subject"], row["measure"]) == ("lungs", "Dice"))
    assert (dice["run"], dice["source"], dice["seed"], dice["test"]) == ("wide", "here", "7", "here")
    assert f"| {float(dice['value']):.4f} (" in lines[2]
    assert all(done <= total for done, total, _ in ticks)
    assert any("wide-here-seed7" in status for _, _, status in ticks)

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("done already")

    monkeypatch.setattr(study_module, "train", fail)
    monkeypatch.setattr(study_module, "evaluate", fail)
    assert run(study, only=["wide"]).read_text().splitlines()[0] == lines[0]


def test_a_run_of_before_a_setting_was_there_counts_with_its_default(file: Path) -> None:
    entry = entries(read_study(file))[0]
    about = {"name": "x", "version": "1", "task": "segment", "labels": (), "architecture": "unet"}
    old = entry.config.model_dump(mode="json", exclude={"out", "split", "smoothing"})
    old["preparation"] = {"size": 64}
    card = Card.model_validate({**about, "preparation": {"size": 64}, "config": old})
    (entry.config.out / "checkpoint").mkdir(parents=True)
    (entry.config.out / "checkpoint" / "card.json").write_text(card_json(card))
    assert entry.finished
    other = replace(entry, config=entry.config.model_copy(update={"first_rate": 0.5}))
    with pytest.raises(ConfigError, match=r"was trained with first_rate=1\.0"):
        _ = other.finished
    stranger = card.model_copy(update={"config": old | {"momentum": 0.9}})
    (entry.config.out / "checkpoint" / "card.json").write_text(card_json(stranger))
    with pytest.raises(ConfigError, match="was trained by another version, with momentum"):
        _ = entry.finished


def test_an_unknown_run_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"'tall'.*small, wide"):
        run(read_study(file), only=["tall"])


def test_seeds_are_told_as_mean_and_spread() -> None:
    low, high, none = ({"value": value, "low": 0.85, "high": 0.95} for value in (0.9, 0.94, None))
    assert study_module.spread([low, none, high]) == "0.9200 (sd 0.0283 of 2 seeds)"
    assert study_module.spread([low]) == "0.9000 (0.850 to 0.950)"
    assert study_module.spread([none]) == ""


def test_a_study_without_a_split_is_refused(file: Path) -> None:
    study: Study = read_study(file)
    base = {key: value for key, value in study.base.items() if key != "split"}
    entry = entries(study.model_copy(update={"base": base}))[0]
    assert isinstance(entry.config, TrainConfig)
    with pytest.raises(ConfigError, match="split="):
        unseen(entry, study.tests["here"])


def test_cost_counts_what_can_be_counted_by_hand(file: Path) -> None:
    from hilum import checkpoint
    from hilum.card import Preparation
    from hilum.models import build

    folder = file.parent / "checkpoint"
    module = build("unet", 3, seed=0, width=2, depth=1)
    card = Card(
        name="x",
        version="1",
        task="segment",
        labels=("right_lung", "left_lung", "heart"),
        architecture="unet",
        arguments={"width": 2, "depth": 1},
        preparation=Preparation(size=32),
    )
    checkpoint.save(folder, module, card)
    found = cost(folder, threads=1, runs=2)
    assert found.parameters == sum(p.numel() for p in module.parameters())
    full, half = 32 * 32, 16 * 16
    # Multiplications: 3 x 3 convolutions down, the 2 x 2 way up, those after the merge, and the head.
    by_hand = 9 * full * (1 * 2 + 2 * 2) + 9 * half * (2 * 4 + 4 * 4)
    by_hand += half * 4 * 2 * 4 + 9 * full * (4 * 2 + 2 * 2) + full * 2 * 3
    assert found.flops == 2 * by_hand
    assert found.milliseconds > 0
