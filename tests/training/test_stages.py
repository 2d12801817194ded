"""Which weights learn when, and how fast."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hilum.models import build
from hilum.training.stages import freeze, learning, parameter_groups


def rates(module: nn.Module, first: float) -> dict[int, float]:
    """A parameter's identity -> its share of the rate."""
    return {
        id(p): group["share"]
        for group in parameter_groups(module, decay=0.1, first=first)
        for p in group["params"]
    }


@pytest.mark.parametrize("name", ["mobilenetv2", "stacked", "vit", "unet", "cnn"])
def test_every_parameter_is_in_one_group(name: str) -> None:
    module = build(name, 3, seed=0)
    found = [p for group in parameter_groups(module, decay=0.1, first=0.01) for p in group["params"]]
    assert len(found) == len({id(p) for p in found}) == len(list(module.parameters()))


def test_rates_grow_from_the_first_layers_to_the_head_by_equal_factors() -> None:
    module = build("mobilenetv2", 3, seed=0)
    shares = {
        id(p): group["share"]
        for group in parameter_groups(module, decay=0.1, first=0.01)
        for p in group["params"]
    }
    own = [shares[id(p)] for p in module.backbone.parameters()]  # type: ignore[union-attr]
    assert own[0] == pytest.approx(0.01)
    assert own == sorted(own)
    steps = sorted(set(own))
    factors = [after / before for before, after in zip(steps, [*steps[1:], 1.0], strict=True)]
    assert factors == pytest.approx([100 ** (1 / 12)] * 12)
    assert {shares[id(p)] for p in module.head.parameters()} == {1.0}  # type: ignore[union-attr]


def test_each_of_several_backbones_has_its_own_first_layers() -> None:
    module = build("stacked", 3, seed=0)
    shares = {
        id(p): group["share"]
        for group in parameter_groups(module, decay=0.1, first=0.1)
        for p in group["params"]
    }
    for part in module.backbone:  # type: ignore[union-attr]
        own = [shares[id(p)] for p in part.parameters()]
        assert own[0] == pytest.approx(0.1)
        assert own[-1] > 0.8


def test_only_kernels_are_decayed() -> None:
    for group in parameter_groups(build("unet", 3, seed=0), decay=0.1, first=1.0):
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] == 0.1}
        assert group["share"] == 1


def test_a_frozen_backbone_keeps_weights_and_statistics_and_thaws() -> None:
    module = build("mobilenetv2", 3, seed=0)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    optimizer = torch.optim.AdamW(parameter_groups(module, decay=0.1, first=1.0), lr=0.1)

    def step() -> set[str]:
        optimizer.zero_grad()
        module(torch.randn(4, 1, 64, 64))["logits"].square().mean().backward()
        optimizer.step()
        return {key for key, value in module.state_dict().items() if not torch.equal(value, before[key])}

    module.train()
    freeze(module, 0.0)
    assert step() == {"head.weight", "head.bias"}
    module.train()
    freeze(module, 0.3)
    moved = step()
    assert {"backbone.conv_head.weight", "backbone.bn2.running_mean"} <= moved
    assert {"backbone.conv_stem.weight", "backbone.bn1.running_mean"}.isdisjoint(moved)
    module.train()
    freeze(module, 1.0)
    moved = step()
    assert {"backbone.conv_stem.weight", "backbone.bn1.running_mean"} <= moved


def test_layers_begin_to_learn_in_equal_steps_after_the_frozen_epochs() -> None:
    assert [learning(epoch, frozen=2, thaw=3) for epoch in range(7)] == [0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert [learning(epoch, frozen=1, thaw=0) for epoch in range(3)] == [0, 1, 1]
    assert learning(0, frozen=0, thaw=0) == 1
