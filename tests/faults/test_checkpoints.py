"""Hostile, damaged and swapped checkpoints: refused in one line, and no code of theirs ever runs."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from hilum.card import card_json, read_card
from hilum.data.phantom import draw
from hilum.errors import CheckpointError, TrainingError
from hilum.pipeline import load
from hilum.runtime import Runtime, find, head_bias
from hilum.store import publish
from hilum.training import checkpoint
from hilum.training.state import State, load_state, save_state


class Payload:
    """Unpickled, it makes the file `ran`."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.ran),)


@pytest.fixture
def six(tmp_path: Path) -> Path:
    """A copy of the shipped classifier."""
    return Path(shutil.copytree(find("hilum-six"), tmp_path / "six"))


def sealed(folder: Path) -> Path:
    """The card says of every file the hash that it now has, as an attacker's would."""
    card = read_card(folder)
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in card.files}
    (folder / "card.json").write_text(card_json(card.model_copy(update={"files": files})), encoding="utf-8")
    return folder


def table(length: int, text: bytes) -> bytes:
    """The start of a safetensors file: the length of its table, and the table."""
    return length.to_bytes(8, "little") + text


ABSURD = json.dumps({"head.bias": {"dtype": "F32", "shape": [6], "data_offsets": [-50, 10**15]}}).encode()
WEIGHTS = {
    "nothing": b"",
    "a few bytes": b"ab",
    "a table of exabytes": table(2**62, b"{}"),
    "a table of terabytes": table(2**40, b"{}"),
    "a table of negative length": table(2**64 - 1, b""),
    "a table that is no JSON": table(4, b"[[[["),
    "a table without end": table(200_000, b"[" * 200_000),
    "a table of another kind": table(2, b"[]"),
    "numbers beyond the end": table(len(ABSURD), ABSURD),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_absurd_weights_are_refused_by_their_hash_and_by_themselves(name: str, six: Path) -> None:
    (six / "model.safetensors").write_bytes(WEIGHTS[name])
    with pytest.raises(CheckpointError, match="not the file its card names"):
        checkpoint.load(six)
    sealed(six)
    with pytest.raises(CheckpointError, match="its weights do not fit the card's network"):
        checkpoint.load(six)
    try:  # it understands no more of the file than the one array that it looks for
        assert head_bias(six) is None
    except CheckpointError as error:
        assert "not in the safetensors format" in str(error)


def test_weights_of_another_network_are_refused_though_their_hash_is_the_cards(six: Path) -> None:
    shutil.copyfile(find("hilum-lungs") / "model.safetensors", six / "model.safetensors")
    with pytest.raises(CheckpointError, match="its weights do not fit the card's network"):
        checkpoint.load(sealed(six))


def test_a_swapped_graph_is_refused_by_its_hash_and_by_its_shape(six: Path) -> None:
    shutil.copyfile(find("hilum-lungs") / "model.onnx", six / "model.onnx")
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        Runtime(six)
    with pytest.raises(CheckpointError, match="another shape than its card says"):
        Runtime(sealed(six))


def test_a_graph_that_takes_something_else_is_refused_when_it_is_loaded(six: Path) -> None:
    model = onnx.load(six / "model.onnx")
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = "x" if name == "films" else name
    model.graph.input[0].name = "x"
    onnx.save(model, six / "model.onnx")
    with pytest.raises(CheckpointError, match="not a graph that can be run"):
        Runtime(sealed(six))


@pytest.mark.parametrize(
    "where", ["weights.bin", "../secret.bin", "/etc/passwd", "link.bin", "folder/../weights.bin"]
)
def test_a_graph_whose_weights_lie_in_other_files_is_refused(
    where: str, six: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(six / "model.onnx")
    large = max((w for w in model.graph.initializer if w.raw_data), key=lambda w: len(w.raw_data))
    data = numpy_helper.to_array(large).tobytes()
    (six / "weights.bin").write_bytes(data)
    (six.parent / "secret.bin").write_bytes(data)
    (six / "link.bin").symlink_to(six.parent / "secret.bin")
    large.ClearField("raw_data")
    large.data_location = TensorProto.EXTERNAL
    for key, value in (("location", where), ("length", str(len(data)))):
        entry = large.external_data.add()
        entry.key, entry.value = key, value
    (six / "model.onnx").write_bytes(model.SerializeToString())
    monkeypatch.chdir(six)  # where ONNX Runtime would look
    with pytest.raises(CheckpointError, match="weights in a file that its card does not name"):
        Runtime(sealed(six))
    # The same entry with the lengths of its key written in more bytes than they need.
    content = (six / "model.onnx").read_bytes()
    (six / "model.onnx").write_bytes(content.replace(b"\x0a\x08location", b"\x0a\x88\x00location"))
    with pytest.raises(CheckpointError):
        Runtime(sealed(six))


def test_weights_of_openvino_that_the_card_does_not_name_are_refused(six: Path) -> None:
    card = json.loads((six / "card.json").read_text(encoding="utf-8"))
    build = {"engine": "openvino", "precision": "bf16", "files": ["model.xml"], "films": 1}
    card["builds"] = [build | {"measure": "mean AUROC", "before": 1, "after": 1}]
    (six / "model.xml").write_bytes(b"<net/>")
    card["files"]["model.xml"] = hashlib.sha256(b"<net/>").hexdigest()
    (six / "card.json").write_text(json.dumps(card), encoding="utf-8")
    (six / "model.bin").write_bytes(b"weights of anybody")
    with pytest.raises(CheckpointError, match="weights in a file that its card does not name"):
        Runtime(six, build="openvino-bf16")


def test_a_pickle_is_never_opened_wherever_it_lies(six: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    payload = pickle.dumps(Payload(ran))
    for name in ("data.pkl", "model.pt", "pytorch_model.bin", "model.npy", "__init__.py"):
        (six / name).write_bytes(payload)
    cv2.imwrite(str(tmp_path / "film.png"), draw(1, size=128).pixels)
    watched = (
        "import sys\n"
        "def watch(event, _):\n"
        "    if event.startswith('pickle.') or event in ('marshal.loads', 'marshal.load') and loaded:\n"
        "        print('UNPICKLED', event, flush=True)\n"
        "loaded = False\n"
        "sys.addaudithook(watch)\n"
        "import hilum, hilum.pipeline\n"
        "print(hilum.load(sys.argv[1])(sys.argv[2]).status)\n"
    )
    command = [sys.executable, "-c", watched, str(six), str(tmp_path / "film.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("ok\n", 0), done.stderr
    for name in ("model.onnx", "model.safetensors"):
        kept = (six / name).read_bytes()
        (six / name).write_bytes(payload)
        sealed(six)
        for door in (load, checkpoint.load, Runtime, head_bias) if "safe" in name else (load, Runtime):
            try:
                door(six)
            except CheckpointError:
                continue
        (six / name).write_bytes(kept)
    (six / "card.json").write_bytes(payload)
    with pytest.raises(CheckpointError, match="damaged"):
        load(six)
    assert not ran.exists()
    pickle.loads(payload)  # noqa: S301 - the payload would have run
    assert ran.exists()


@pytest.mark.parametrize(
    "content", [b"[" * 500_000, b"\0", b"\xff\xfe", b'{"name": NaN}', b'{"files": {"../x": ""}}']
)
def test_absurd_cards_are_refused(content: bytes, six: Path) -> None:
    (six / "card.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        Runtime(six)


def damage(good: bytes, kind: str) -> bytes:
    return {
        "cut": good[: len(good) // 2],
        "empty": b"",
        "a table of exabytes": table(2**62, good[8:]),
        "other words": good.replace(b'\\"epoch\\"', b'\\"epock\\"'),
    }[kind]


@pytest.mark.parametrize("kind", ["cut", "empty", "a table of exabytes", "other words", "pickle"])
def test_a_damaged_state_of_a_training_is_told_with_a_remedy(kind: str, tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    path = tmp_path / "state.safetensors"
    save_state(path, State(), "{}", {"module": module}, optimizer)
    good = path.read_bytes()
    bad = pickle.dumps(Payload(tmp_path / "ran")) if kind == "pickle" else damage(good, kind)
    assert bad != good
    path.write_bytes(bad)
    with pytest.raises(TrainingError, match="damaged"):
        load_state(path, "{}", {"module": module}, optimizer)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("killed", range(7))
def test_wherever_the_swap_of_a_checkpoint_is_killed_one_of_the_two_is_found_whole(
    killed: int, six: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = read_card(six)
    draft = Path(shutil.copytree(six, tmp_path / "draft"))
    new = old.model_copy(update={"version": "9.9.9"})
    (draft / "card.json").write_text(card_json(new), encoding="utf-8")
    steps = 0

    def step(name: str, real: Callable[..., object]) -> None:
        def wrapped(*arguments: object, **options: object) -> object:
            nonlocal steps
            if steps == killed:
                raise KeyboardInterrupt(name)  # nothing in `publish` may catch it
            steps += 1
            return real(*arguments, **options)

        monkeypatch.setattr(f"hilum.store.{name}", wrapped)

    step("os.fsync", os.fsync)
    step("Path.rename", Path.rename)
    step("shutil.rmtree", shutil.rmtree)
    with pytest.raises(KeyboardInterrupt):
        publish(draft, six)
    monkeypatch.undo()
    assert Runtime(find(six)).card.version in (old.version, new.version)
    np.testing.assert_array_equal(head_bias(find(six)), head_bias(find("hilum-six")))
