"""The training loop: it learns, it can be killed anywhere, and it says what went wrong."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors import safe_open
from torch import Tensor, nn
from torch.amp import GradScaler

from hilum import pipeline
from hilum.card import Card, read_card
from hilum.config import TrainConfig, train_config
from hilum.data import phantom
from hilum.data.split import Split, write_split
from hilum.errors import CheckpointError, ConfigError, OutOfMemoryError, TrainingError
from hilum.models import MODELS, TASKS
from hilum.runtime import Runtime, find
from hilum.training import checkpoint
from hilum.training import train as loop
from hilum.training.finish import finish, tuning_score
from hilum.training.losses import segmentation_loss
from hilum.training.plan import Plan, make_plan
from hilum.training.run import Run, begin, claim, fabric_for, objective
from hilum.training.starts import network
from hilum.training.train import train
from hilum.types import STRUCTURES

Weights = dict[str, Tensor]
History = list[dict[str, str]]


class Dots(nn.Module):
    """A classifier that learns and is exported in a second: a few filters, then evidence."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.filters = nn.Sequential(nn.Conv2d(1, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Conv2d(8, labels, 1)

    def forward(self, films: Tensor) -> dict[str, Tensor]:
        evidence = self.head(self.filters(films))
        return {"logits": evidence.mean(dim=(2, 3)), "evidence": evidence}


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """A tiny classifier in the table; one thread, for more only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "dots", Dots)
        patch.setitem(TASKS, "dots", "classify")
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: they share its cache of decoded films."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written films with labels.csv: the last ten of 50 tune, the others train."""
    folder = tmp_path_factory.mktemp("written") / "films"
    phantom.write(folder, count=50, seed=3)
    for path in (folder / "images").iterdir():
        path.write_bytes(cv2.imencode(".png", cv2.resize(cv2.imread(str(path), 0), (64, 64)))[1].tobytes())
    return folder


def segment(out: Path, **settings: Any) -> TrainConfig:
    about = {
        "task": "segment",
        "data": ["phantom:30@1"],
        "start": "random",
        "preparation": {"size": 64},
        "arguments": {"width": 4, "depth": 2},
        "epochs": 3,
        "batch": 4,
        "rate": 1e-2,
        "precision": "32-true",
        "out": out,
    }
    return train_config(about | settings)


def classify(out: Path, data: str, split: Path | None = None, **settings: Any) -> TrainConfig:
    about = {
        "task": "classify",
        "data": [data],
        "split": split,
        "architecture": "dots",
        "start": "random",
        "preparation": {"size": 64},
        "epochs": 2,
        "batch": 8,
        "rate": 3e-3,
        "precision": "32-true",
        "out": out,
    }
    return train_config(about | settings)


def labelled(films: Path, keep: dict[str, str], broken: int = 0) -> tuple[str, Path]:
    """A csv beside the films: column -> values to leave out of it; the first `broken` films are no images."""
    with (films / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, other in zip(rows[:broken], ("labels.csv", "split.csv"), strict=False):
        row["path"] = other
    table, split = films / "own.csv", films / "split.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", *keep])
        for i, row in enumerate(rows):
            values = ["" if row[label] == hidden else row[label] for label, hidden in keep.items()]
            writer.writerow([i, row["path"], *values])
    parts = {f"{films.name}:{i}": "0" if i >= 40 else "1" for i in range(50)}
    write_split(Split(parts=parts, sha256=""), split)
    return f"csv:{table}", split


def history(out: Path) -> History:
    with (out / "history.csv").open(newline="", encoding="utf-8") as file:
        return [
            {key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)
        ]


def values(out: Path, column: str) -> list[float]:
    return [float(row[column]) for row in history(out)]


def copied(module: nn.Module) -> Weights:
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


class Kept:
    """Stands in for `finish`: keeps the weights to be shipped, without the seconds it takes to ship them."""

    def __init__(self) -> None:
        self.weights: list[Weights] = []
        self.plans: list[Plan] = []

    def __call__(
        self, module: nn.Module, _config: TrainConfig, plan: Plan, _start: str, _informed: list[str]
    ) -> None:
        self.weights.append(copied(module))
        self.plans.append(plan)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    keeper = Kept()
    monkeypatch.setattr(loop, "finish", keeper)
    return keeper


@pytest.fixture
def shadows(monkeypatch: pytest.MonkeyPatch) -> list[Weights]:
    """The averaged weights, one after another, as they are scored."""
    found: list[Weights] = []

    def spy(module: nn.Module, *rest: Any) -> tuple[float, float]:
        found.append(copied(module))
        return tuning_score(module, *rest)

    monkeypatch.setattr(loop, "tuning_score", spy)
    return found


@pytest.fixture(scope="module")
def reference(runs: Path) -> tuple[Weights, History]:
    """Three epochs without interruption: the weights to be shipped, and the history."""
    keeper = Kept()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "finish", keeper)
        train(segment(runs / "reference"))
    return keeper.weights[0], history(runs / "reference")


@pytest.fixture(scope="module")
def segmented(runs: Path) -> tuple[TrainConfig, Card]:
    """A whole run that learns to outline."""
    config = segment(
        runs / "segmented", data=["phantom:60@1"], arguments={"width": 6, "depth": 3}, epochs=16, augment=0.3
    )
    return config, train(config)


# --- learning ---


def test_a_segmenter_learns_to_outline(segmented: tuple[TrainConfig, Card]) -> None:
    config, card = segmented
    fresh = replace_out(config, config.out.parent / "fresh")
    plan = make_plan(fresh)
    loss = objective(fresh, plan, torch.device("cpu"))
    before, dice = tuning_score(network(fresh, plan)[0].eval(), plan, loss, torch.device("cpu"))
    losses, scores = values(config.out, "loss"), values(config.out, "score")
    assert len(losses) == 16
    assert losses[-1] < 0.5 * losses[0]
    assert values(config.out, "tune_loss")[-1] < 0.8 * before
    assert scores[-1] > dice + 0.5
    assert card.metrics[-1].name == "Dice lungs"
    assert card.metrics[-1].value > 0.85
    assert np.mean([metric.value for metric in card.metrics]) == pytest.approx(max(scores), abs=0.01)


def test_a_finished_run_leaves_what_a_user_needs_and_no_more(segmented: tuple[TrainConfig, Card]) -> None:
    config, card = segmented
    names = {path.name for path in config.out.iterdir()}
    assert names == {"checkpoint", "curve.png", "history.csv", "split.csv"}
    assert values(config.out, "epoch") == list(range(1, 17))
    runtime = Runtime(find(config.out), threads=1)
    assert runtime.card == card
    module, read = checkpoint.load(config.out)
    assert read == card
    films = np.random.default_rng(0).normal(size=(2, 1, 64, 64)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(films))["logits"].numpy()
    np.testing.assert_allclose(runtime(films)["logits"], expected, atol=1e-2)


def test_the_rate_rises_then_falls_to_nothing(segmented: tuple[TrainConfig, Card]) -> None:
    config, _ = segmented
    rates = values(config.out, "rate")
    assert rates == sorted(rates, reverse=True)
    assert 0.9 * config.rate < rates[0] <= config.rate
    assert 0 < rates[-1] < 0.01 * config.rate
    assert loop._schedule(0.0, 0.1) < 0.02
    assert loop._schedule(0.05, 0.1) == pytest.approx(0.5, abs=0.01)
    assert loop._schedule(0.1, 0.1) == pytest.approx(1.0)
    assert loop._schedule(0.55, 0.1) == pytest.approx(0.5)
    assert loop._schedule(1.0, 0.0) == pytest.approx(0.0)


def test_the_shipped_backbone_learns_from_films_alone(runs: Path, films: Path, kept: Kept) -> None:
    data, split = labelled(films, {"Edema": "", "No Finding": ""})
    config = classify(
        runs / "mobilenet", data, split, architecture="mobilenetv2", start="random", epochs=5, augment=0.0
    )
    train(config)
    losses = values(config.out, "loss")
    assert losses[-1] < 0.9 * losses[0]
    assert kept.plans[0].labels == ("Edema", "No Finding")


CRAFT = {
    "mixup": 0.4,
    "cutmix": 1.0,
    "smoothing": 0.1,
    "loss": "focal",
    "first_rate": 0.1,
    "sampling": "balanced",
    "recipe": "few",
}


def test_each_craft_of_training_changes_what_is_learned_and_is_repeated_exactly(
    runs: Path, films: Path, kept: Kept
) -> None:
    data, split = labelled(films, {"Edema": "", "No Finding": ""})
    about = {"architecture": "mobilenetv2", "start": "random", "epochs": 1, "preparation": {"size": 32}}
    for name in ("plain", *CRAFT):
        craft = {name: CRAFT[name]} if name in CRAFT else {}
        train(classify(runs / f"craft-{name}", data, split, **about, **craft))
    train(classify(runs / "craft-again", data, split, **about, mixup=0.4))
    plain, *others, again = kept.weights
    assert not any(same(plain, other) for other in others)
    assert same(again, others[0])


def test_each_cycle_but_the_last_leaves_a_snapshot(runs: Path, shadows: list[Weights]) -> None:
    out = runs / "cycles"
    train(classify(out, "phantom:24", epochs=6, cycles=3, warmup=0.0, keep="last"))
    rates = values(out, "rate")
    assert [rates[i] < rates[i - 1] for i in range(1, 6)] == [True, False, True, False, True]
    for cycle, name in enumerate(("snapshot-1", "snapshot-2", "."), 1):
        stored, card = checkpoint.load(out / name)
        assert card.labels == Runtime(find(out)).card.labels
        own = shadows[2 * cycle - 1]
        assert all(
            torch.allclose(value.float(), own[key], atol=1e-3)
            for key, value in stored.state_dict().items()
            if value.is_floating_point()
        )
    assert not (out / "snapshot-3").exists()


def test_a_frozen_backbone_waits_for_its_epoch(
    runs: Path, films: Path, kept: Kept, shadows: list[Weights]
) -> None:
    data, split = labelled(films, {"Edema": "", "No Finding": ""})
    about = {"architecture": "mobilenetv2", "start": "random", "preparation": {"size": 32}, "frozen": 1}
    train(classify(runs / "frozen", data, split, **about, epochs=2))
    start = copied(network(classify(runs / "unfrozen", data, split, **about), kept.plans[0])[0])
    first, second = ({key for key in start if not torch.equal(one[key], start[key])} for one in shadows)
    assert first == {"head.weight", "head.bias"}
    assert {"backbone.conv_stem.weight", "backbone.bn1.running_mean"} <= second
    with pytest.raises(ConfigError, match="frozen, thaw: train on one device"):
        train(classify(runs / "frozen-wide", data, split, **about, devices=2))
    about |= {"architecture": "cnn", "arguments": {"grid": 2}}
    with pytest.raises(ConfigError, match="cnn has no backbone; leave frozen, thaw and first_rate out"):
        train(classify(runs / "frozen-cnn", data, split, **about))
    with pytest.raises(ConfigError, match="'focal': only for labels that may occur together"):
        train(classify(runs / "focal", data, split, activation="softmax", loss="focal"))


def test_unknown_labels_and_unreadable_films_are_put_up_with(runs: Path, films: Path) -> None:
    data, split = labelled(films, {"Edema": "0", "Cardiomegaly": ""}, broken=2)
    config = classify(runs / "csv", data, split)
    card = train(config)
    assert card.activation == "sigmoid"
    assert card.labels == ("Cardiomegaly", "Edema")
    assert [metric.name for metric in card.metrics] == [
        "AUROC Cardiomegaly"
    ]  # no film is known to lack Edema
    assert card.sources[0].films == 38
    with (config.out / "unreadable.csv").open(newline="", encoding="utf-8") as file:
        assert [row["film"] for row in csv.DictReader(file)] == ["films:0", "films:1"]
    assert checkpoint.load(config.out)[1] == card
    assert np.isfinite(values(config.out, "loss")).all()


def test_a_checkpoint_that_no_training_made_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(ConfigError, match="holds a checkpoint already; choose another out"):
        claim(tmp_path, resume=False)


def test_folders_of_classes_are_told_apart_by_softmax(runs: Path, tmp_path: Path, kept: Kept) -> None:
    for i in range(60):
        image = np.random.default_rng(i).integers(0, 100, (64, 64), np.uint8)
        if i % 3 == 1:
            image[::4] += 100
        if i % 3 == 2:
            image[:, ::4] += 100
        place = tmp_path / "films" / ("1. NORMAL", "2. CARDIOMEGALY", "3. EFFUSION")[i % 3]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    config = classify(runs / "folder", f"folder:{tmp_path / 'films'}", epochs=15, rate=0.03, augment=0.0)
    train(config)
    assert kept.plans[0].activation == "softmax"
    assert kept.plans[0].labels == ("Cardiomegaly", "Pleural Effusion", "No Finding")
    assert values(config.out, "loss")[0] > 0.8  # log 3 before anything is learnt
    assert values(config.out, "loss")[-1] < 0.5
    assert values(config.out, "score")[-1] > 0.9


def test_a_tuning_part_that_cannot_be_scored_is_judged_by_its_loss(
    runs: Path, films: Path, kept: Kept, shadows: list[Weights]
) -> None:
    """Edema is known only where it is present: no AUROC, but later weights still replace the first."""
    data, split = labelled(films, {"Edema": "0"})
    train(classify(runs / "one-class", data, split, epochs=4))
    losses = values(runs / "one-class", "tune_loss")
    assert np.isnan(values(runs / "one-class", "score")).all()
    best = int(np.argmin(losses))
    assert best > 0
    assert same(kept.weights[0], shadows[best])


# --- fine-tuning ---


def test_a_run_may_start_from_another(runs: Path, segmented: tuple[TrainConfig, Card]) -> None:
    trained, _ = segmented
    config = segment(
        runs / "tuned", data=["phantom:60@1"], arguments=trained.arguments, start=str(trained.out)
    )
    module, _ = network(config, make_plan(config))
    assert same(copied(module), copied(checkpoint.load(trained.out)[0]))


def test_it_starts_where_the_other_stood(runs: Path, segmented: tuple[TrainConfig, Card], kept: Kept) -> None:
    trained, _ = segmented
    about = {"data": trained.data, "arguments": trained.arguments, "epochs": 1, "rate": 1e-4}
    train(segment(runs / "tuned-on", start=str(trained.out), **about))
    assert values(runs / "tuned-on", "score")[0] > 0.9 * values(trained.out, "score")[-1]
    assert kept.weights


def test_other_labels_keep_the_backbone_and_what_the_head_knows_of_them(
    runs: Path, films: Path, segmented: tuple[TrainConfig, Card], kept: Kept
) -> None:
    data, split = labelled(films, {"Edema": "", "Cardiomegaly": ""})
    first = classify(runs / "two", data, split)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "finish", finish_quickly)
        train(first)
    start = str(runs / "two")
    data, split = labelled(films, {"Edema": "", "Cardiomegaly": "", "No Finding": ""})
    second = classify(runs / "three", data, split, start=start, epochs=1)
    plan = make_plan(second)
    module, _ = network(second, plan)
    trained, card = checkpoint.load(start)
    theirs = trained.state_dict()
    own = network(second.model_copy(update={"start": "random"}), make_plan(second))[0].state_dict()
    for key, value in module.state_dict().items():
        if not key.startswith("head."):
            assert torch.equal(value, theirs[key]), key
            continue
        for label, row, new in zip(plan.labels, value, own[key], strict=True):
            known = label in card.labels
            assert torch.equal(row, theirs[key][card.labels.index(label)] if known else new), label
    train(second)
    assert kept.weights[-1]["head.bias"].shape == (3,)
    misfit = replace_out(second, runs / "misfit").model_copy(update={"start": str(segmented[0].out)})
    with pytest.raises(CheckpointError, match="does not fit"):
        train(misfit)


def test_auxiliary_labels_are_learned_and_then_forgotten(runs: Path, kept: Kept) -> None:
    labels = ["Edema", "No Finding"]
    config = classify(
        runs / "auxiliary", "phantom:24", labels=labels, auxiliary=["Cardiomegaly", "view"], epochs=1
    )
    train(config)
    assert kept.weights[0]["head.weight"].shape[0] == 4
    taught, _ = network(config, kept.plans[0])
    taught.load_state_dict(kept.weights[0])
    card = finish(taught, config, kept.plans[0])
    module, _ = checkpoint.load(config.out)
    assert card.labels == ("Edema", "No Finding")
    assert torch.equal(module.state_dict()["head.weight"], kept.weights[0]["head.weight"][:2])


def test_small_steps_gathered_are_one_large_step(
    runs: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without batch statistics, three steps of four films are one of twelve, but for rounding."""
    monkeypatch.setattr(loop, "_schedule", lambda *_: 1.0)
    cnn = {
        "architecture": "cnn",
        "arguments": {"width": 2, "depth": 2, "grid": 4, "dense": 8},
        "start": "random",
    }
    for name, batch, accumulate in (("large", 12, 1), ("gathered", 4, 3), ("small", 4, 1)):
        config = classify(
            runs / name,
            "phantom:24",
            batch=batch,
            accumulate=accumulate,
            warmup=0.0,
            clip=1e9,
            epochs=1,
            **cnn,
        )
        train(config.model_copy(update={"ema": 0.0}))
    large, gathered, small = kept.weights
    assert all(torch.allclose(large[key], gathered[key], atol=1e-4) for key in large)
    assert not same(large, small)


def test_the_last_weights_are_kept_where_asked(
    runs: Path, kept: Kept, shadows: list[Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = iter([0.9, 0.8, 0.7] * 2)

    def scored(module: nn.Module, *_: Any) -> tuple[float, float]:
        shadows.append(copied(module))
        return 0.5, next(falling)

    monkeypatch.setattr(loop, "tuning_score", scored)
    for keep in ("best", "last"):
        train(classify(runs / keep, "phantom:24", epochs=3, keep=keep))
    assert same(kept.weights[0], shadows[0])
    assert same(kept.weights[1], shadows[5])


def test_a_network_pretrained_on_films_alone_goes_on_to_labels(runs: Path) -> None:
    out = runs / "pretrained"
    settings: dict[str, Any] = {"labels": [], "activation": "auto", "recipe": "views", "dimensions": 8}
    card = train(classify(out, "phantom:24", task="pretrain", keep="last", epochs=2, **settings))
    assert (card.task, len(card.labels), card.metrics, card.thresholds) == ("pretrain", 8, (), {})
    before, _ = checkpoint.load(out)
    config = classify(runs / "taught", "phantom:24", start=str(out))
    after, _ = network(config, make_plan(config))
    assert torch.equal(before.state_dict()["filters.0.weight"], after.state_dict()["filters.0.weight"])
    with pytest.raises(CheckpointError, match="hilum train --from"):
        pipeline.load(out)


def finish_quickly(
    module: nn.Module, config: TrainConfig, plan: Plan, _start: str, _informed: list[str]
) -> Card:
    card = Card(
        name="quick",
        version="0",
        task=config.task,
        labels=plan.labels,
        architecture=config.architecture,
        arguments=config.arguments,
        preparation=config.preparation,
    )
    return checkpoint.save(config.out / "checkpoint", module, card)


def replace_out(config: TrainConfig, out: Path) -> TrainConfig:
    return config.model_copy(update={"out": out})


@pytest.mark.parametrize(("seconds", "drawn"), [(0.0, [1, 2, 2]), (3600.0, [2])])
def test_the_curve_is_drawn_now_and_then_and_when_a_run_ends_for_whatever_reason(
    runs: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch, seconds: float, drawn: list[int]
) -> None:
    found: list[int] = []
    monkeypatch.setattr(loop, "_REDRAWN", seconds)
    monkeypatch.setattr(loop, "draw_curve", lambda rows, *_, **__: found.append(len(rows)))

    def end(epoch: int, _score: float) -> None:
        if epoch == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(segment(runs / f"drawn-{seconds:g}"), watch=end)
    assert found == drawn
    assert not kept.weights


# --- interruption ---

KILLED = """
import json, sys, time
from pathlib import Path
from hilum.training import train as loop
from hilum.config import train_config

settings, place, flag = json.loads(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])

def wait():
    flag.touch()
    time.sleep(600)

def tick(done, total, text):
    if done == place and text.startswith("epoch"):
        wait()

score = loop._score
loop._score = lambda run: wait() if place == "score" and run.state.epoch == 1 else score(run)
loop.train(train_config(settings), tick=tick)
"""


def killed(config: TrainConfig, place: int | str) -> None:
    """Run in a process of its own, and kill it after the step `place`, or before the second score."""
    flag = config.out.parent / f"{config.out.name}.reached"
    settings = config.model_dump_json()
    code = [sys.executable, "-c", KILLED, settings, json.dumps(place), str(flag)]
    process = subprocess.Popen(code, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        until = time.monotonic() + 600
        while not flag.exists():
            assert process.poll() is None, "ended before the place was reached"
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL


def saved_state(out: Path) -> dict[str, Any]:
    with safe_open(out / "state.safetensors", "np") as file:
        state: dict[str, Any] = json.loads(file.metadata()["state"])
    return state


# 30 films of seed 1 give this many steps an epoch; the test below sees to it.
STEPS = 4


def test_the_places_to_kill_lie_where_they_should(runs: Path) -> None:
    assert len(make_plan(segment(runs / "counted")).train) // 4 == STEPS


@pytest.mark.parametrize(
    ("name", "save_minutes", "place", "epoch", "step"),
    [
        ("inside", 1e-9, STEPS + 3, 1, 2),  # the state of the step before is the last saved one
        ("between", 60, STEPS + 1, 1, 0),
        ("unscored", 1e-9, "score", 1, STEPS),
    ],
)
def test_a_killed_run_goes_on_to_the_same_end_bit_for_bit(
    name: str,
    save_minutes: float,
    place: int | str,
    epoch: int,
    step: int,
    runs: Path,
    reference: tuple[Weights, History],
    kept: Kept,
) -> None:
    config = segment(runs / name, save_minutes=save_minutes)
    killed(config, place)
    state = saved_state(config.out)
    assert (state["epoch"], state["step"]) == (epoch, step)
    assert (state["seconds"] > 0) == (step > 0)
    with pytest.raises(ConfigError, match="add --resume"):
        train(config)
    with pytest.raises(TrainingError, match=f"was saved with rate={config.rate}; resume with the same"):
        train(config.model_copy(update={"rate": 1e-3}), resume=True)
    torch.manual_seed(12345)  # no global generator has a say
    train(config.model_copy(update={"save_minutes": 5.0}), resume=True)
    weights, rows = reference
    assert history(config.out) == rows
    assert same(kept.weights[0], weights)
    assert not (config.out / "state.safetensors").exists()


def test_a_resumed_run_needs_nothing_of_what_it_started_from(
    runs: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state holds all weights: neither a checkpoint nor a package index need be in reach."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    config = segment(runs / "moved", start="somewhere", epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr("hilum.training.starts.transplant", lambda *_: (read_card(find("hilum-lungs")), []))
        patch.setattr("hilum.training.starts.find", lambda _: find("hilum-lungs"))
        patch.setattr(loop, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    with pytest.raises(CheckpointError, match="somewhere"):
        network(config, make_plan(config))
    train(config, resume=True)
    assert len(kept.weights) == 1


def test_films_that_have_changed_under_the_same_name_are_refused(
    runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Pseudo-labels written anew between interruption and resumption are other films."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    phantom.write(tmp_path / "more", count=4, seed=7)
    other = sorted((tmp_path / "more" / "masks").iterdir())[1].name
    config = segment(runs / "changed", epochs=1, extra=(f"masks:{tmp_path / 'more'}",))
    with monkeypatch.context() as patch:
        patch.setattr(loop, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    mask = sorted((tmp_path / "more" / "masks").iterdir())[0]
    for change in (lambda: mask.write_bytes(mask.with_name(other).read_bytes()), mask.unlink):
        change()
        with pytest.raises(TrainingError, match="other films"):
            train(config, resume=True)


def test_resuming_what_never_began_begins_it(
    runs: Path, reference: tuple[Weights, History], kept: Kept
) -> None:
    train(segment(runs / "unbegun"), resume=True)
    assert same(kept.weights[0], reference[0])


def test_a_finished_run_is_neither_written_over_nor_resumed(segmented: tuple[TrainConfig, Card]) -> None:
    config, _ = segmented
    before = {path: path.stat().st_mtime_ns for path in config.out.rglob("*")}
    with pytest.raises(ConfigError, match="holds a run already"):
        train(config)
    with pytest.raises(ConfigError, match="finished"):
        train(config, resume=True)
    assert {path: path.stat().st_mtime_ns for path in config.out.rglob("*")} == before


def test_a_run_killed_in_its_first_epoch_is_not_written_over(runs: Path) -> None:
    config = segment(runs / "early")
    config.out.mkdir()
    (config.out / "state.safetensors").touch()
    with pytest.raises(ConfigError, match="add --resume"):
        train(config)


def test_worker_processes_change_nothing(runs: Path, reference: tuple[Weights, History], kept: Kept) -> None:
    train(segment(runs / "helped", workers=1))
    assert same(kept.weights[0], reference[0])


def test_another_seed_gives_another_model(runs: Path, reference: tuple[Weights, History], kept: Kept) -> None:
    train(segment(runs / "seeded", seed=1))
    assert not same(kept.weights[0], reference[0])


# --- stopping ---


def test_it_stops_when_patience_is_up_and_ships_the_best(
    runs: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.5, 0.6, 0.55, 0.58, 0.9])
    shadows: list[Weights] = []

    def scripted(module: nn.Module, *_: Any) -> tuple[float, float]:
        shadows.append(copied(module))
        return 1.0, next(scores)

    monkeypatch.setattr(loop, "tuning_score", scripted)
    told: list[str] = []
    train(segment(runs / "stale", epochs=20, patience=2), tick=lambda _done, _of, text: told.append(text))
    assert values(runs / "stale", "score") == [0.5, 0.6, 0.55, 0.58]
    assert any(text.endswith(", best mean Dice 0.600") for text in told)
    assert same(kept.weights[0], shadows[1])
    assert not same(shadows[1], shadows[2])


def test_where_nothing_can_be_scored_no_score_is_told(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "tuning_score", lambda *_: (0.7, float("nan")))
    told: list[str] = []
    train(segment(runs / "told-no-score", epochs=2), tick=lambda _done, _of, text: told.append(text))
    assert [text for text in told if text.startswith("epoch 2")]
    assert not [text for text in told if "best" in text]


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(
    runs: Path, reference: tuple[Weights, History], kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = segment(runs / "diverged", save_minutes=60)
    real, broken = segmentation_loss, False

    def loss(*arguments: Tensor) -> Tensor:
        return real(*arguments) * (float("nan") if broken else 1.0)

    def tick(done: int, _: int, text: str) -> None:
        nonlocal broken
        broken = broken or (done == STEPS + 2 and text.startswith("epoch"))

    monkeypatch.setattr("hilum.training.run.segmentation_loss", loss)
    with pytest.raises(
        TrainingError, match=r"epoch 2, step 3: .* of epoch 1 are kept in .*checkpoint; lower"
    ):
        train(config, tick=tick)
    assert len(kept.weights) == 1  # the best so far, made a checkpoint
    assert saved_state(config.out)["epoch"] == 1
    broken = False
    train(config, resume=True)
    assert same(kept.weights[1], reference[0])


def test_half_precision_leaves_out_steps_that_overflow_and_its_scale_is_kept(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """float16 needs a GPU: here bfloat16 with a scale so large that the first gradients are no numbers."""
    scales: list[float] = []
    begun: list[Run] = []

    def scaled(config: TrainConfig, _: bool) -> Fabric:
        fabric = fabric_for(config.model_copy(update={"precision": "bf16-mixed"}))
        monkeypatch.setattr(fabric.strategy.precision, "scaler", GradScaler("cpu", init_scale=2.0**127))
        return fabric

    def begins(*given: Any) -> Run:
        begun.append(begin(*given))
        return begun[-1]

    def tick(done: int, _: int, text: str) -> None:
        if text.startswith("epoch"):
            assert begun[-1].scaler is not None
            scales.append(begun[-1].scaler.get_scale())
            if done == STEPS + 1 and len(begun) == 1:
                begun[-1].save()
                raise KeyboardInterrupt

    monkeypatch.setattr("hilum.training.train.fabric_for", scaled)
    monkeypatch.setattr("hilum.training.train.begin", begins)
    monkeypatch.setattr("hilum.training.run.segmentation_loss", lambda *given: 64 * segmentation_loss(*given))
    config = segment(runs / "half", epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(config, tick=tick)
    reached = scales[-1]
    assert reached < 2.0**127 and saved_state(config.out)["scaler"]["scale"] == reached
    scales.clear()
    train(config, resume=True, tick=tick)
    assert scales and max(scales) <= reached
    with pytest.raises(ConfigError, match="only on a GPU"):
        fabric_for(segment(runs / "gpu", precision="16-mixed"))


def test_a_run_keeps_the_precision_that_it_began_in_wherever_it_goes_on(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    config = segment(runs / "moves", precision="auto", epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr("hilum.training.run._fastest", lambda: "bf16-mixed")
        patch.setattr(loop, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    monkeypatch.setattr("hilum.training.run._fastest", lambda: "32-true")
    assert fabric_for(config).strategy.precision.precision == "32-true"
    assert fabric_for(config, resume=True).strategy.precision.precision == "bf16-mixed"
    with monkeypatch.context() as patch:  # begun where there was a GPU
        patch.setattr("hilum.training.run.begun_in", lambda _: "16-mixed")
        with pytest.raises(ConfigError, match="only on a GPU; resume this run on one"):
            fabric_for(config, resume=True)
    train(config, resume=True)
    damaged = config.model_copy(update={"out": runs / "damaged"})
    damaged.out.mkdir()
    (damaged.out / "state.safetensors").write_bytes(b"no state")
    assert fabric_for(damaged, resume=True).strategy.precision.precision == "32-true"


def test_a_gpu_that_is_too_small_is_told(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("hilum.training.run.segmentation_loss", full)
    with pytest.raises(OutOfMemoryError, match=r"batch=4 films of 64 x 64 do not fit .*; lower batch="):
        train(segment(runs / "too-large"))


@pytest.mark.parametrize("batch", [4, 64])
def test_too_high_a_rate_is_told(batch: int, runs: Path, kept: Kept) -> None:
    """With one step an epoch, it shows only in the score."""
    with pytest.raises(
        TrainingError, match=r"epoch 1, step [12]: the loss is not a number; no epoch was finished"
    ):
        train(segment(runs / f"hot-{batch}", rate=1e30, batch=batch, warmup=0.0))
    assert not kept.weights


def test_progress_counts_every_step_and_speaks_of_the_score(runs: Path, kept: Kept) -> None:
    said: list[tuple[int, int, str]] = []
    train(segment(runs / "said", epochs=2), tick=lambda *words: said.append(words))
    steps = [words for words in said if words[2].startswith("epoch")]
    assert [done for done, _, _ in steps] == list(range(1, 2 * STEPS + 1))
    assert {total for _, total, _ in steps} == {2 * STEPS}
    assert "best" not in steps[0][2]
    assert "best mean Dice" in steps[-1][2]
    assert kept.plans[0].labels == STRUCTURES


# --- several processes ---

COMMAND = "from hilum.cli import main\nmain()\n"


def test_two_processes_train_as_one(runs: Path, kept: Kept) -> None:
    """Without batch statistics, which each process takes of its own films, the gradients are the same."""
    settings: dict[str, Any] = {"arguments": {"width": 4, "depth": 2, "norm": False}, "epochs": 2}
    (runs / "command.py").write_text(COMMAND)  # what the installed `hilum` does
    said = [
        *("data=['phantom:30@1']", "task=segment", "preparation.size=64", "batch=4", "rate=1e-2"),
        *("epochs=2", "precision=32-true", "arguments.width=4", "arguments.depth=2", "arguments.norm=false"),
    ]
    done = subprocess.run(
        [
            sys.executable,
            runs / "command.py",
            "train",
            *said,
            "--devices",
            "2",
            "--out",
            runs / "two-devices",
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("checkpoint\t") == 1  # told once, not by every process
    assert "terminate" not in done.stderr
    train(segment(runs / "one-device", **settings))
    for column in ("loss", "tune_loss", "score"):
        pairs = zip(values(runs / "two-devices", column), values(runs / "one-device", column), strict=True)
        for two, one in pairs:
            assert two == pytest.approx(one, rel=1e-3)
    module, card = checkpoint.load(runs / "two-devices")
    assert card.config["devices"] == 2
    assert Runtime(find(runs / "two-devices"), threads=1).card == card
    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, kept.weights[0][key], atol=2e-3, rtol=2e-3)


RANKED = {
    "by hand": {"NODE_RANK": "{rank}"},
    "torchrun": {
        "RANK": "{rank}",
        "GROUP_RANK": "{rank}",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "1",
        "TORCHELASTIC_RUN_ID": "none",
    },
    "SLURM": {
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NNODES": "2",
        "SLURM_NODEID": "{rank}",
        "SLURM_PROCID": "{rank}",
        "SLURM_LOCALID": "0",
        "SLURM_JOB_NAME": "training",
        "SLURM_JOB_ID": "1",
    },
}
"""How each tells a process its rank; where the first one is, all tell alike."""


@pytest.mark.parametrize("way", RANKED)
def test_two_nodes_train_as_one(runs: Path, kept: Kept, way: str) -> None:
    (runs / "command.py").write_text(COMMAND)
    out, alone = runs / f"two-nodes {way}", runs / f"one-node {way}"
    said = [
        *("train", "data=['phantom:30@1']", "task=segment", "preparation.size=64", "batch=4", "rate=1e-2"),
        *("epochs=1", "precision=32-true", "arguments.width=4", "arguments.depth=2", "arguments.norm=false"),
        *("--nodes", "2", "--out", str(out)),
    ]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "OMP_NUM_THREADS": "1"}
    nodes = [
        subprocess.Popen(
            [sys.executable, runs / "command.py", *said],
            env=os.environ | meet | {name: value.format(rank=rank) for name, value in RANKED[way].items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    told = [node.communicate(timeout=900) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    assert [out.count("checkpoint\t") for out, _ in told] == [1, 0]
    train(segment(alone, epochs=1, arguments={"width": 4, "depth": 2, "norm": False}))
    for column in ("loss", "tune_loss", "score"):
        assert values(out, column) == pytest.approx(values(alone, column), rel=1e-3)
    module, card = checkpoint.load(out)
    assert card.config["nodes"] == 2
    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, kept.weights[0][key], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(
    ("told", "devices"),
    [
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "RANK": "1"}, 1),
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "RANK": "1"}, 2),
        ({"SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3"}, 1),
    ],
)
def test_processes_that_the_settings_do_not_know_of_are_refused(
    told: dict[str, str], devices: int, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    number = told.get("WORLD_SIZE") or told["SLURM_NTASKS"]
    with pytest.raises(ConfigError, match=f"{number} processes were started for devices={devices} x nodes=1"):
        train(segment(runs / "unforeseen", devices=devices))
    assert not (runs / "unforeseen").exists()


def test_a_size_that_the_network_cannot_take_is_told_before_films_are_read(runs: Path) -> None:
    config = train_config(
        {"data": ["phantom:8"], "task": "classify", "architecture": "cnn", "out": runs / "too-small"},
        ["preparation.size=64"],
    )
    with pytest.raises(
        ConfigError, match=r"preparation\.size=64: must be a multiple of 128; change it, or arg"
    ):
        train(config)
    assert not (runs / "too-small").exists()


def test_a_batch_script_of_many_tasks_may_train_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "8")  # as sbatch tells the script itself
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")
    assert fabric_for(segment(Path("runs"))).world_size == 1


def test_a_second_training_in_the_same_folder_is_refused_and_the_first_undisturbed(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_PATIENCE", 0.0)
    config, refused = segment(runs / "contested", epochs=1), []

    def second(*_: object) -> None:
        for resume in (False, True) if not refused else ():
            with pytest.raises(ConfigError) as told:
                train(config, resume=resume)
            refused.append(str(told.value))

    train(config, tick=second)
    assert len(refused) == 2 and all("another process trains there" in why for why in refused)
    assert (runs / "contested" / "checkpoint" / "card.json").is_file()


def test_what_is_wrong_is_told_before_other_processes_start(runs: Path) -> None:
    (runs / "command.py").write_text(COMMAND)
    said = ["train", "data=['phantom:1']", "task=segment", "--devices", "2", "--out", runs / "no-films"]
    done = subprocess.run(
        [sys.executable, runs / "command.py", *said], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 2
    assert done.stderr.count("hilum: no films in the") == 1
    assert "Traceback" not in done.stderr
    assert "GLOBAL_RANK" not in done.stderr


def test_a_batch_must_divide_among_the_devices(runs: Path) -> None:
    with pytest.raises(ConfigError, match="batch=5: must be a multiple of devices=2"):
        train(segment(runs / "odd", batch=5, devices=2))
    with pytest.raises(ConfigError, match="batch=6: must be a multiple of devices=2 x nodes=2"):
        train(segment(runs / "odd", batch=6, devices=2, nodes=2))
