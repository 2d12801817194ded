"""The folder that training leaves: written whole or not at all, smaller, and refused when changed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hilum
from hilum.card import Card, Preparation, read_card
from hilum.errors import CheckpointError
from hilum.models import build
from hilum.runtime import Runtime
from hilum.training import checkpoint
from hilum.types import STRUCTURES

ARGUMENTS = {"width": 16, "depth": 2}


def card(version: str = "1", **changes: Any) -> Card:
    about: dict[str, Any] = {
        "name": "tiny",
        "version": version,
        "task": "segment",
        "labels": STRUCTURES,
        "architecture": "unet",
        "arguments": ARGUMENTS,
        "preparation": Preparation(size=32),
    }
    return Card(**about | changes)


def unet(seed: int = 0, labels: int = 3, **arguments: Any) -> nn.Module:
    return build("unet", labels, seed=seed, **ARGUMENTS | arguments).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "model"
    checkpoint.save(folder, unet(), card())
    return folder


@pytest.fixture
def quick(saved: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], Card]:
    """Saves the same network under another version, without the seconds that an export takes."""
    monkeypatch.setattr(
        checkpoint, "_export", lambda _module, path, _card: shutil.copy(saved / "model.onnx", path)
    )
    return lambda folder, version: checkpoint.save(folder, unet(), card(version))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


def test_large_kernels_come_back_rounded_to_half_and_all_else_as_it_was(saved: Path) -> None:
    module, read = checkpoint.load(saved)
    assert read == read_card(saved)
    assert not module.training
    large = []
    for key, value in unet().state_dict().items():
        large.append(value.numel() > 20_000)
        rounded = value.half().float() if large[-1] else value
        assert torch.equal(module.state_dict()[key], rounded), key
    assert any(large)
    assert not all(large)


def test_in_the_files_large_kernels_take_two_bytes_a_number_and_all_else_four(saved: Path) -> None:
    counts = [value.numel() for value in unet().state_dict().values()]
    expected = sum(count * (2 if count > 20_000 else 4) for count in counts)
    for name in ("model.safetensors", "model.onnx"):
        assert (saved / name).stat().st_size == pytest.approx(expected, rel=0.05)
    assert expected < 0.9 * 4 * sum(counts)


def test_the_card_knows_the_files_by_hash(saved: Path) -> None:
    files = read_card(saved).files
    assert files.keys() == {"model.safetensors", "model.onnx"}
    for name, digest in files.items():
        assert hashlib.sha256((saved / name).read_bytes()).hexdigest() == digest


def test_others_may_read_every_file(saved: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in saved.iterdir()} == {0o644}
    assert saved.stat().st_mode & 0o777 == 0o755


def test_no_path_of_the_machine_it_was_made_on_is_inside(saved: Path) -> None:
    for path in saved.iterdir():
        for place in (hilum.__file__, torch.__file__):
            assert str(Path(place).parents[1]).encode() not in path.read_bytes()


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx"])
def test_changed_files_are_refused(name: str, saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(folder) if name == checkpoint.WEIGHTS else Runtime(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(folder) if name == checkpoint.WEIGHTS else Runtime(folder)


def test_a_new_checkpoint_takes_the_olds_place(
    quick: Callable[[Path, str], Card], saved: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(saved, tmp_path / "run" / "model")
    quick(folder, "2")
    assert read_card(folder).version == "2"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("broken", ["_export", "sha256", "_agree", "rename"])
def test_a_save_that_fails_leaves_the_old_checkpoint_and_no_draft(
    broken: str,
    quick: Callable[[Path, str], Card],
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = shutil.copytree(saved, tmp_path / "run" / "model")
    before = contents(folder)

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    def fail_once(path: Path, target: Path) -> Path:
        if target == folder and "-old" not in path.name:
            fail()
        return rename(path, target)

    rename = Path.rename
    if broken == "rename":
        monkeypatch.setattr(Path, "rename", fail_once)
    else:
        monkeypatch.setattr(checkpoint, broken, fail)
    with pytest.raises(OSError, match="no space"):
        quick(folder, "2")
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("value", [0.3, float("nan")])
def test_a_graph_that_disagrees_with_the_network_is_never_published(
    value: float, quick: Callable[[Path, str], Card], tmp_path: Path
) -> None:
    del quick  # its graph is that of the network as it was
    module = unet()
    with torch.no_grad():
        module.get_parameter("head.bias").fill_(value)
    with pytest.raises(CheckpointError, match="the export is wrong"):
        checkpoint.save(tmp_path / "model", module, card())
    assert list(tmp_path.iterdir()) == []


def test_weights_move_to_a_network_with_other_labels(saved: Path) -> None:
    module = unet(seed=9, labels=2)
    head = module.get_parameter("head.weight").clone()
    assert checkpoint.transplant(module, saved)[1] == ["head.bias", "head.weight"]
    theirs = checkpoint.load(saved)[0].state_dict()
    for key, value in module.state_dict().items():
        if not key.startswith("head."):
            assert torch.equal(value, theirs[key]), key
    assert torch.equal(module.get_parameter("head.weight"), head)


def test_weights_all_move_to_the_same_network(saved: Path) -> None:
    module = unet(seed=9)
    assert checkpoint.transplant(module, saved)[1] == []
    films = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32))
    with torch.no_grad():
        expected = checkpoint.load(saved)[0](films)["logits"]
        assert torch.equal(module.eval()(films)["logits"], expected)


@pytest.mark.parametrize("arguments", [{"width": 8}, {"depth": 4, "width": 4}])
def test_a_network_that_hardly_fits_is_refused_and_left_alone(arguments: dict[str, int], saved: Path) -> None:
    module = unet(seed=9, **arguments)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(CheckpointError, match="does not fit"):
        checkpoint.transplant(module, saved)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_a_head_moves_label_by_label(saved: Path) -> None:
    known = checkpoint.load(saved)[1].labels
    theirs = checkpoint.load(saved)[0].state_dict()["head.weight"]
    module = unet(seed=9, labels=4)
    own = module.get_parameter("head.weight").clone()
    labels = (known[2], "Fracture", known[0], "Hernia")
    stay = checkpoint.transplant(module, saved, labels, {"head.weight", "head.bias"})[1]
    assert stay == ["head.bias", "head.weight"]  # in part
    moved = module.get_parameter("head.weight")
    assert torch.equal(moved[0], theirs[2]) and torch.equal(moved[2], theirs[0])
    assert torch.equal(moved[1], own[1]) and torch.equal(moved[3], own[3])
