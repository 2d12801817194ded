"""The state of an unfinished run: nothing the next step depends on is lost, and nothing is unpickled."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
import torch
from torch import nn

from hilum.errors import TrainingError
from hilum.training.state import State, load_state, save_state

CONFIG = '{"seed": 0, "preparation": {"size": 64}, "targets": "a"}'


def fresh() -> tuple[dict[str, nn.Module], torch.optim.Optimizer]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))
        module(torch.zeros(2, 1, 6, 6))
        shadow = nn.Linear(3, 3)
    groups = [{"params": module[0].parameters(), "weight_decay": 0.1}, {"params": module[3].parameters()}]
    return {"module": module, "shadow": shadow}, torch.optim.AdamW(groups, lr=0.01)


def learn(modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        films = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(step))
        modules["module"](films).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def equal(one: dict[str, nn.Module], other: dict[str, nn.Module]) -> bool:
    pairs = [(one[name].state_dict(), other[name].state_dict()) for name in one]
    return all(torch.equal(value, b[key]) for a, b in pairs for key, value in a.items())


def test_steps_after_restoring_are_those_that_would_have_followed(tmp_path: Path) -> None:
    modules, optimizer = fresh()
    learn(modules, optimizer, range(4))
    state = State(epoch=3, step=2, losses=0.1 + 0.2, best=0.9, best_epoch=1, history=[{"loss": 1 / 3}])
    save_state(tmp_path / "state.safetensors", state, CONFIG, modules, optimizer)
    learn(modules, optimizer, range(4, 9))

    others, another = fresh()
    assert load_state(tmp_path / "state.safetensors", CONFIG, others, another) == state
    assert not equal(modules, others)
    learn(others, another, range(4, 9))
    assert equal(modules, others)
    one, other = optimizer.state_dict(), another.state_dict()
    assert one["param_groups"] == other["param_groups"]
    for i, slots in one["state"].items():
        assert slots.keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(value, other["state"][i][key]) for key, value in slots.items())


def test_a_state_before_any_score_survives(tmp_path: Path) -> None:
    modules, optimizer = fresh()
    save_state(tmp_path / "s.safetensors", State(), CONFIG, modules, optimizer)
    assert load_state(tmp_path / "s.safetensors", CONFIG, *fresh()) == State()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ('{"seed": 1, "preparation": {"size": 64}, "targets": "a"}', "seed=0"),
        ('{"seed": 0, "preparation": {"size": 96}, "targets": "b"}', "preparation.size=64"),
        ('{"seed": 0, "preparation": {"size": 64}, "targets": "b"}', "other films"),
    ],
)
def test_other_settings_are_named_and_refused_and_change_nothing(
    other: str, told: str, tmp_path: Path
) -> None:
    modules, optimizer = fresh()
    learn(modules, optimizer, range(2))
    save_state(tmp_path / "s.safetensors", State(), CONFIG, modules, optimizer)
    others, another = fresh()
    with pytest.raises(TrainingError, match=f"was saved with {told}; resume with the same"):
        load_state(tmp_path / "s.safetensors", other, others, another)
    assert equal(others, fresh()[0])
    assert not another.state_dict()["state"]


def test_the_file_is_plain_safetensors_and_json(tmp_path: Path) -> None:
    modules, optimizer = fresh()
    learn(modules, optimizer, range(1))
    path = tmp_path / "s.safetensors"
    save_state(path, State(epoch=2), CONFIG, modules, optimizer)
    arrays = safetensors.numpy.load_file(path)
    assert {name.split("/")[0] for name in arrays} == {"module", "shadow", "optimizer"}
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["state"])["epoch"] == 2
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_save_that_fails_leaves_the_state_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, optimizer = fresh()
    path = tmp_path / "s.safetensors"
    save_state(path, State(epoch=1), CONFIG, modules, optimizer)

    def full(_: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(os, "fsync", full)
        save_state(path, State(epoch=2), CONFIG, modules, optimizer)
    assert load_state(path, CONFIG, *fresh()).epoch == 1
