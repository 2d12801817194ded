"""A graph and its card as one callable, and how it is found; the graph here is made by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hilum import runtime
from hilum.card import Card, Preparation, card_json, read_card
from hilum.errors import CheckpointError
from hilum.runtime import Runtime, find, head_bias, shipped_names


def write(folder: Path) -> Path:
    """A checkpoint whose logit is the mean grey level, and whose features are three times the film."""
    floats = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (
            ("films", ["n", 1, 32, 32]),
            ("logits", ["n", 1, 1, 1]),
            ("features", ["n", 1, 32, 32]),
        )
    ]
    nodes = [
        helper.make_node("GlobalAveragePool", ["films"], ["logits"]),
        helper.make_node("Sum", ["films", "films", "films"], ["features"]),
    ]
    graph = helper.make_graph(nodes, "mean", floats[:1], floats[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    card = Card(
        name=folder.name,
        version="0",
        task="classify",
        labels=("Brightness",),
        architecture="none",
        preparation=Preparation(size=32),
        files={"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()},
    )
    (folder / "card.json").write_text(card_json(card), encoding="utf-8")
    return folder


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ships the checkpoints `hilum-a` and `hilum-b`."""
    for name in ("hilum-b", "hilum-a"):
        write(tmp_path / "weights" / name)
    monkeypatch.setattr(runtime, "SHIPPED", tmp_path / "weights")
    return tmp_path / "weights"


@pytest.mark.parametrize("count", [1, 3])
def test_outputs_come_by_name_a_row_a_film(count: int, tmp_path: Path) -> None:
    films = np.random.default_rng(0).random((count, 1, 32, 32), np.float32)
    outputs = Runtime(write(tmp_path / "model"), threads=1)(films)
    assert outputs.keys() == {"logits", "features"}
    np.testing.assert_allclose(outputs["logits"].ravel(), films.mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(outputs["features"], 3 * films, rtol=1e-6)


def test_the_card_comes_with_it(tmp_path: Path) -> None:
    assert Runtime(write(tmp_path / "model"), threads=1).card.labels == ("Brightness",)


def test_a_changed_graph_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "model") / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.onnx: SHA-256 differs"):
        Runtime(tmp_path / "model")


def test_a_graph_gets_no_weights_from_a_file_that_its_card_does_not_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "model")
    model = onnx.load(folder / "model.onnx")
    model.graph.node[0].output[0] = "mean"
    model.graph.node.append(helper.make_node("Cast", ["secret"], ["told"], to=TensorProto.FLOAT))
    model.graph.node.append(helper.make_node("Add", ["mean", "told"], ["logits"]))
    weights = helper.make_tensor("secret", TensorProto.UINT8, [1], b"\7", raw=True)
    onnx.external_data_helper.set_external_data(weights, "secret.bin", 0, 1)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    model.graph.initializer.append(weights)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    sha256 = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    card = read_card(folder).model_copy(update={"files": {"model.onnx": sha256}})
    (folder / "card.json").write_text(card_json(card), encoding="utf-8")
    for place in (tmp_path, folder):
        (place / "secret.bin").write_bytes(b"\7")
        monkeypatch.chdir(place)
        with pytest.raises(CheckpointError, match="weights in a file that its card does not name"):
            Runtime(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 3,
        b"\xff" * 8 + b"{}",
        (2**50).to_bytes(8, "little") + b"?",
        (4).to_bytes(8, "little") + b"[1] ",
        (30).to_bytes(8, "little") + b'{"head.bias":{"dtype":"F32"}} ',
        (57).to_bytes(8, "little") + b'{"head.bias":{"dtype":"F32","data_offsets":[0,99999999]}}abc',
    ],
)
def test_weights_of_another_format_are_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not in the safetensors format"):
        head_bias(tmp_path)


def test_a_missing_graph_or_card_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    (folder / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"model\.onnx: No such file"):
        Runtime(folder)
    (folder / "card.json").unlink()
    with pytest.raises(CheckpointError, match=r"no card\.json"):
        Runtime(folder)


def test_shipped_checkpoints_are_found_by_name(shipped: Path) -> None:
    assert shipped_names() == ["hilum-a", "hilum-b"]
    assert find("hilum-a") == shipped / "hilum-a"


def test_a_checkpoint_is_found_by_its_folder_or_its_runs(shipped: Path, tmp_path: Path) -> None:
    own = write(tmp_path / "runs" / "mine" / "checkpoint")
    assert find(own) == own
    assert find(str(own.parent)) == own
    assert Runtime(find(own.parent)).card.name == "checkpoint"
    assert shipped.is_dir()


def test_what_cannot_be_found_is_answered_with_what_is_there(shipped: Path) -> None:
    with pytest.raises(CheckpointError, match="hilum-c: no such checkpoint; shipped are: hilum-a, hilum-b"):
        find("hilum-c")
    for name in shipped.iterdir():
        (name / "card.json").unlink()
    with pytest.raises(CheckpointError, match="shipped are: none"):
        find("hilum-a")
