"""The contract every architecture keeps, run over the whole table, and what is particular to each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from hilum.card import Card, Preparation
from hilum.config import train_config
from hilum.errors import ConfigError
from hilum.explain import gradcam
from hilum.models import MODELS, TASKS, arguments, build
from hilum.models.unet import UNet, _Gate, scaled
from hilum.runtime import Runtime, find, head_bias
from hilum.training import checkpoint
from hilum.training.train import train

SIZE = 64
LABELS = ("one", "two", "three")
SMALL = {"width": 4, "depth": 2}
PAIR = [{"architecture": name} for name in ("mobilenetv2", "efficientnet-lite0")]
OWN = {
    "unet": SMALL,
    "cnn": {"grid": 4},
    "ensemble": {"members": PAIR},
    "stacked": {"backbone": "mobilenetv2_050+resnet10t"},  # its own two have rows of their own
}
"""Arguments of networks that would take long; the others are as they come."""
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, OWN.get(name, {})) for name in MODELS},
    "mobilenetv2, stages": ("mobilenetv2", {"stages": 4}),
    "vit, convolutions": ("vit", {"patch": 8, "stem": "convolutions"}),
    "unet, stride": ("unet", SMALL | {"stride": 2}),
    "unet, attention": ("unet", SMALL | {"attention": True}),
    "unet, deep": ("unet", SMALL | {"deep": True}),
    "unet, all": ("unet", {"width": 4, "depth": 3, "stride": 2, "attention": True, "deep": True}),
}
"""Every architecture, and the U-Net with each of its arguments: name, arguments."""


def make(case: str, seed: int = 0) -> nn.Module:
    name, arguments = CASES[case]
    return build(name, len(LABELS), seed=seed, **arguments)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def films(number: int, seed: int = 0, size: int = SIZE) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(size=(number, 1, size, size))
    return torch.from_numpy(values.astype(np.float32))


def spread(module: nn.Module) -> nn.Module:
    """As after training: logits far from zero, statistics far from (0, 1)."""
    with torch.no_grad():
        heads = [part.head for part in module.modules() if hasattr(part, "head")]
        for parameter in (parameter for head in heads for parameter in head.parameters()):
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape) / 10)
        for i in range(5):
            module.train()(films(4, i) * 2 + 1)
    return module.eval()


@pytest.mark.parametrize("case", CASES)
def test_outputs_have_the_shapes_their_task_promises(case: str) -> None:
    outputs = make(case).eval()(films(2))
    if TASKS[CASES[case][0]] == "segment":
        assert outputs.keys() == {"logits"}
        assert outputs["logits"].shape == (2, len(LABELS), SIZE, SIZE)
    else:
        assert outputs["logits"].shape == (2, len(LABELS))
        assert outputs["features"].shape[0] == 2
        assert outputs["features"].ndim == 2


# A DenseNet cannot be had at another stride with the weights it was made with, nor what stands beside it.
STRIDES = {"densenet121": 32, "densenet169": 32, "stacked": 32}


@pytest.mark.parametrize("name", [name for name in MODELS if TASKS[name] == "classify" and name != "cnn"])
def test_evidence_averages_to_the_logit_bias_included(name: str) -> None:
    outputs = spread(make(name))(films(2))
    evidence = outputs["evidence"]
    # At most stride 16 where that can be had: a cell of evidence should not cover a whole lung.
    assert evidence.shape[:2] == (2, len(LABELS))
    assert min(evidence.shape[2:]) == SIZE // STRIDES.get(name, 16)
    assert outputs["logits"].abs().max() > 0.1
    torch.testing.assert_close(evidence.mean(dim=(2, 3)), outputs["logits"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_learning_reaches_every_parameter(case: str) -> None:
    module = make(case).train()
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():  # a ResNet's branches start closed, and open with the first step
                parameter.fill_(0.1)
    outputs = module(films(4))
    sum(one.square().mean() for one in (outputs["logits"], *outputs.get("coarse", []))).backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("case", CASES)
def test_weights_follow_from_the_seed_and_torchs_own_generator_is_left_alone(case: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = make(case, seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = make(case, seed=3).state_dict(), make(case, seed=4).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in one.items())
    assert any(not torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("case", CASES)
def test_the_exported_graph_computes_what_the_network_does_for_any_number_of_films(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To 1e-4 where both keep single precision; how little halved kernels change is asked below."""
    monkeypatch.setattr(checkpoint, "SMALL", 2**40)
    gaps = parity(case, tmp_path)
    assert max(gaps.values()) < 1e-4, gaps


@pytest.mark.parametrize("case", ["mobilenetv2", "vit"])
def test_kernels_stored_in_half_precision_change_little(case: str, tmp_path: Path) -> None:
    gaps = parity(case, tmp_path)
    assert 0 < max(gaps.values()) < 2e-3, gaps


def parity(case: str, folder: Path) -> dict[str, float]:
    """The largest gap between the stored graph and the stored weights, by output, as a share of its size."""
    name, arguments = CASES[case]
    card = Card(
        name="contract",
        version="0",
        task=TASKS[name],
        labels=LABELS,
        architecture=name,
        arguments=arguments,
        preparation=Preparation(size=SIZE),
    )
    checkpoint.save(folder / "model", spread(make(case)), card)
    module, _ = checkpoint.load(folder / "model")
    runtime = Runtime(folder / "model", threads=1)
    gaps: dict[str, float] = {}
    for number in (1, 3):
        some = films(number, seed=number)
        with torch.no_grad():
            expected = module(some)
        found = runtime(some.numpy())
        assert found.keys() == expected.keys()
        assert np.ptp(found["logits"]) > 0.01  # a constant would agree as well
        for key, value in expected.items():
            assert found[key].shape == value.shape
            scale = max(1.0, float(value.abs().max()))
            gap = float(np.abs(found[key] - value.numpy()).max()) / scale
            gaps[key] = max(gaps.get(key, 0.0), gap)
    return gaps


@pytest.mark.parametrize("name", [name for name in MODELS if TASKS[name] == "classify"])
def test_a_classifier_may_be_told_more_than_the_film(name: str) -> None:
    _, arguments = CASES[name]
    told = build(name, len(LABELS), seed=0, channels=5, **arguments).eval()
    films = torch.randn(2, 5, SIZE, SIZE, generator=torch.Generator().manual_seed(0), requires_grad=True)
    told(films)["logits"].square().sum().backward()
    assert films.grad is not None
    assert (films.grad.abs().amax(dim=(0, 2, 3)) > 0).all()


def test_every_architecture_has_a_task() -> None:
    assert TASKS.keys() == MODELS.keys()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vnet", {}),
        ("unet", {"dilation": 4}),
        ("unet", {"stride": 0}),
        ("unet-mobilenetv2", {"depth": 4}),
        ("unet", {"width": 0}),
        ("unet", {"depth": 0}),
        ("unet", {"width": "16"}),
        ("mobilenetv2", {"width": 4}),
        ("vit", {"width": 4}),
        ("vit", {"stem": "stone"}),
        ("vit", {"stem": "convolutions", "patch": 12}),
        ("cnn", {"norm": True}),
    ],
)
def test_wrong_names_and_arguments_are_refused_by_name(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="|".join([name, *arguments])):
        build(name, 3, seed=0, **arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # depth 1: down 196 + 896, up 132, merge 448, head 15
        ({"width": 4, "depth": 1}, 1687),
        # one level more: down 3520, up 520, merge 1760
        ({"width": 4, "depth": 2}, 1687 + 3520 + 520 + 1760),
        # one bias a filter instead of a scale and a shift, for 4 + 4 + 8 + 8 + 4 + 4 filters
        ({"width": 4, "depth": 1, "norm": False}, 1687 - 32),
        # gates of 8 and of 4 channels: 2 x (8 x 4 + 4) + 5, and 2 x (4 x 2 + 2) + 3
        ({"width": 4, "depth": 2, "attention": True}, 7487 + 77 + 23),
        # a head on the 8 channels of the inner level: 8 x 3 + 3
        ({"width": 4, "depth": 2, "deep": True}, 7487 + 27),
        ({"width": 4, "depth": 1, "deep": True}, 1687),  # no inner level
        ({"width": 4, "depth": 2, "stride": 2}, 7487),
    ],
)
def test_unet_has_the_parameters_its_arguments_say(arguments: dict[str, Any], expected: int) -> None:
    assert count(build("unet", 3, seed=0, **arguments)) == expected


def test_unet_without_norm_has_no_batch_statistics() -> None:
    module = build("unet", 3, seed=0, width=4, depth=2, norm=False)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in module.modules())
    assert not list(module.buffers())


def test_arguments_are_told_by_architecture_with_their_defaults() -> None:
    told = arguments("classify")
    assert "grid=8" in told["cnn"] and "output_stride=16" in told["mobilenetv2"]
    assert set(told) | set(arguments("segment")) == set(MODELS) - {"ensemble"}


@pytest.mark.parametrize(
    ("name", "arguments", "step"),
    [
        ("unet", {"width": 4, "depth": 2}, 4),
        ("unet", {"width": 4, "depth": 2, "stride": 2}, 8),
        ("unet-mobilenetv2", {}, 32),
        ("cnn", {"grid": 4, "depth": 3}, 32),
        ("vit", {}, 16),
        ("vit", {"stem": "convolutions", "patch": 8}, 8),
        ("stacked", {"backbone": "mobilenetv2_050+mobilenetv2_100"}, 32),
    ],
)
def test_sizes_that_a_network_can_take_are_named(name: str, arguments: dict[str, Any], step: int) -> None:
    module = build(name, 3, seed=0, **arguments).eval()
    with pytest.raises(
        ConfigError, match=rf"preparation\.size={64 + step // 2}: must be a multiple of {step}"
    ):
        module(films(1, size=64 + step // 2))
    logits = module(films(1, size=64 + step))["logits"]
    assert logits.shape[-1] == (64 + step if TASKS[name] == "segment" else 3)


def test_deep_supervision_shows_the_inner_levels_in_training_coarsest_first() -> None:
    module = build("unet", 3, seed=0, width=4, depth=3, stride=2, deep=True)
    shapes = [tuple(planes.shape) for planes in module.train()(films(2))["coarse"]]
    assert shapes == [(2, 3, 8, 8), (2, 3, 16, 16)]  # of 64, at strides 8 and 4
    assert "coarse" not in module.eval()(films(2))
    assert "coarse" not in make("unet").train()(films(2))


@pytest.mark.parametrize("name", ["stride", "attention", "deep"])
def test_each_argument_makes_another_unet_of_the_same_seed(name: str) -> None:
    plain, other = (spread(make(case))(films(1))["logits"] for case in ("unet", f"unet, {name}"))
    # What deep supervision adds is drawn last, and has no say once trained.
    assert torch.allclose(plain, other) == (name == "deep")


def test_a_stride_of_two_costs_a_quarter() -> None:
    def work(module: nn.Module) -> int:
        """Positions at which filters of the U-Net are applied, all convolutions together."""
        total = 0

        def add(part: nn.Module, _: object, output: torch.Tensor) -> None:
            nonlocal total
            total += output.numel() * next(part.parameters())[0].numel()

        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                part.register_forward_hook(add)
        module.eval()(films(1))
        return total

    assert work(make("unet, stride")) == pytest.approx(work(make("unet")) / 4, rel=0.02)


def test_scaled_planes_keep_their_place_and_run_smoothly() -> None:
    planes = torch.arange(6.0).expand(2, 3, 6, 6)
    larger = scaled(planes, 4)
    assert larger.shape == (2, 3, 24, 24)
    # A pixel of the larger plane lies at (i + 1/2) / 4 - 1/2 of the smaller one.
    torch.testing.assert_close(larger[0, 0, 0, 2:-2], (torch.arange(2.0, 22.0) + 0.5) / 4 - 0.5)
    assert scaled(planes, 1) is planes


def test_a_gate_takes_a_share_of_the_skip_connection_that_the_signal_decides() -> None:
    torch.manual_seed(0)
    gate, skip = _Gate(6), torch.randn(2, 6, 8, 8)
    near, far = (gate(skip, torch.randn(2, 6, 8, 8)) / skip for _ in range(2))
    for share in (near, far):
        assert share.min() > 0
        assert share.max() < 1
        torch.testing.assert_close(share, share[:, :1].expand_as(share))  # one for all channels
    assert not torch.allclose(near, far)


@pytest.mark.parametrize("case", ["unet, attention", "unet"])
def test_closed_gates_leave_nothing_of_the_skip_connections(case: str) -> None:
    module = make(case).eval()
    assert isinstance(module, UNet)
    for gate in module.gates:
        if isinstance(gate, _Gate):
            nn.init.constant_(cast(torch.Tensor, gate.weight.bias), -99.0)
    skips: list[torch.Tensor] = []
    for width, merge in zip((8, 4), module.merge, strict=True):
        merge.register_forward_pre_hook(lambda _, inputs, width=width: skips.append(inputs[0][:, :width]))
    module(films(1))
    assert [skip.shape[1] for skip in skips] == [8, 4]
    for skip in skips:
        assert bool((skip.abs() < 1e-6).all()) == (case == "unet, attention")


def test_grad_cam_at_the_last_layer_is_the_evidence_without_bias_cut_at_zero() -> None:
    # Its norms over this film alone: with untrained statistics the maps would be all but 0.
    module = cast(Any, build("mobilenetv2", 3, seed=1, output_stride=16)).train()
    nn.init.normal_(module.head.weight)
    nn.init.constant_(module.head.bias, -0.7)
    maps: list[torch.Tensor] = []
    module.head.register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0]))
    outputs = module(torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
    for label in range(3):
        (slope,) = torch.autograd.grad(outputs["logits"][0, label], maps[0], retain_graph=True)
        weights = slope.mean(dim=(2, 3), keepdim=True)  # Selvaraju et al. 2017, equations 1 and 2
        cam = torch.relu((weights * maps[0]).sum(dim=1))[0].detach().numpy()
        ours = gradcam(outputs["evidence"][0, label].detach().numpy(), -0.7) / cam.size
        assert cam.max() > 0 and cam.min() == 0
        np.testing.assert_allclose(ours, cam, rtol=1e-3, atol=1e-5 * cam.max())


def test_a_checkpoint_s_head_bias_is_read_without_torch(tmp_path: Path) -> None:
    module, _ = checkpoint.load("hilum-six")
    np.testing.assert_array_equal(head_bias(find("hilum-six")), cast(Any, module).head.bias.detach().numpy())
    assert head_bias(tmp_path) is None


def test_a_shortened_mobilenet_keeps_its_first_stages_as_they_are() -> None:
    whole, short = build("mobilenetv2", 2, seed=0), build("mobilenetv2", 2, seed=0, stages=4)
    assert count(short) < 0.15 * count(whole)
    kept = short.state_dict()
    shared = {key for key in kept if key.startswith("backbone.")}
    assert shared < set(whole.state_dict())
    assert any(key.startswith("backbone.blocks.3.") for key in shared)
    assert not any(key.startswith(("backbone.blocks.4.", "backbone.conv_head")) for key in shared)


@pytest.mark.parametrize(("name", "stages"), [("mobilenetv2", 0), ("mobilenetv2", 8), ("resnet50", 2)])
def test_stages_that_are_not_there_are_refused(name: str, stages: int) -> None:
    with pytest.raises(ConfigError, match=f"arguments.stages={stages}: a MobileNet has 1 to 7"):
        build(name, 2, seed=0, stages=stages)


def test_the_model_of_the_contributors_page_is_one_like_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file and its row, as they stand there, and a phantom it scores."""
    page = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code, row = page.split("```python\n# src/hilum/models/tiny.py\n")[1].split(
        "# src/hilum/models/__init__.py"
    )
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    assert '"tiny": Tiny,' in row
    monkeypatch.setitem(MODELS, "tiny", names["Tiny"])
    config = train_config(
        {"task": "classify", "data": ["phantom:20"], "architecture": "tiny", "preparation": {"size": 64}},
        ["arguments.width=8", "epochs=1", "batch=4", f"out={tmp_path / 'run'}"],
    )
    card = train(config)
    assert (card.architecture, card.arguments, card.config["start"]) == ("tiny", {"width": 8}, "random")
    outputs = Runtime(tmp_path / "run" / "checkpoint", threads=1)(np.zeros((2, 1, 64, 64), np.float32))
    np.testing.assert_allclose(outputs["evidence"].mean(axis=(2, 3)), outputs["logits"], atol=1e-4)
