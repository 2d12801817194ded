"""The self test passes on a sound installation, and fails where a model, a step or a decoder differs."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid

from hilum import runtime, selftest
from hilum.card import Card, card_json, read_card
from hilum.reading.dicom import DECODERS
from hilum.reading.reader import read
from hilum.runtime import SHIPPED, shipped_names
from hilum.selftest import GOLDEN, RESULTS, checks, overlaps, versions


def failures() -> dict[str, str]:
    return {check.what: check.found for check in checks() if not check.passed}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped models, to be spoilt."""
    shutil.copytree(SHIPPED, tmp_path / "weights", ignore=shutil.ignore_patterns("*.safetensors"))
    monkeypatch.setattr(runtime, "SHIPPED", tmp_path / "weights")
    return tmp_path / "weights"


def recarded(folder: Path, change: Callable[[Card], dict[str, Any]]) -> None:
    card = read_card(folder)
    (folder / "card.json").write_text(card_json(card.model_copy(update=change(card))), encoding="utf-8")


def prepared(**changes: float | str) -> Callable[[Card], dict[str, Any]]:
    return lambda card: {"preparation": card.preparation.model_copy(update=changes)}


def test_here_everything_passes_and_every_shipped_model_takes_part() -> None:
    assert failures() == {}
    golden = json.loads((GOLDEN / RESULTS).read_text())
    assert golden["models"] == {name: read_card(SHIPPED / name).sha256 for name in shipped_names()}, (
        "make golden"
    )
    calls = {call for film in golden["films"].values() for call in film["calls"].values()}
    assert calls == {"positive", "negative"}
    assert [film["codes"] for film in golden["films"].values() if film["status"] == "rejected"] == [
        ["turned"]
    ]


@pytest.mark.parametrize("name", shipped_names())
def test_a_damaged_file_fails(weights: Path, name: str) -> None:
    path = weights / name / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = failures()
    assert "SHA-256 differs from the card's" in found[f"model {name}"]
    assert {"film clear.png", "film turned.png"} <= found.keys()


def test_another_graph_fails_though_its_card_agrees(weights: Path) -> None:
    onnx = pytest.importorskip("onnx")
    folder = weights / "hilum-six"
    graph = onnx.load(folder / "model.onnx")
    largest = max(graph.graph.initializer, key=lambda one: len(one.raw_data))
    values = onnx.numpy_helper.to_array(largest)
    values = (1.02 * values).astype(values.dtype)
    largest.CopyFrom(onnx.numpy_helper.from_array(values, largest.name))
    onnx.save(graph, folder / "model.onnx")
    sha256 = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    recarded(folder, lambda card: {"files": card.files | {"model.onnx": sha256}})
    found = failures()
    assert found["model hilum-six"] == sha256[:12]
    assert any("log-odds" in what for what in found)


@pytest.mark.parametrize(
    ("name", "change", "part"),
    [
        ("hilum-six", prepared(low=1.1), "log-odds"),
        ("hilum-six", prepared(high=99.1), "log-odds"),
        ("hilum-six", prepared(mean=0.505), "log-odds"),
        ("hilum-lungs", prepared(smooth="gaussian"), "outlines"),
        (
            "hilum-six",
            lambda card: {
                "thresholds": {k: t.model_copy(update={"value": 0.9}) for k, t in card.thresholds.items()}
            },
            "status and calls",
        ),
    ],
)
def test_another_preparation_or_threshold_fails(
    weights: Path, name: str, change: Callable[[Card], dict[str, Any]], part: str
) -> None:
    recarded(weights / name, change)
    assert any(what.endswith(part) for what in failures())


def test_a_changed_step_of_the_program_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = selftest.load

    def mirrored() -> Any:
        pipeline = real()
        return lambda path: pipeline(np.ascontiguousarray(read(path).pixels[:, ::-1]))

    monkeypatch.setattr(selftest, "load", mirrored)
    assert {"film heart.dcm: outlines", "film heart.dcm: log-odds"} <= failures().keys()


def test_evidence_that_is_missing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = selftest.load
    monkeypatch.setattr(selftest, "load", lambda: real(explain="none"))
    found = failures()
    assert found.keys() == {
        f"film {name}: evidence in lungs" for name in ("clear.png", "effusion.dcm", "heart.dcm")
    }


def test_a_missing_decoder_fails_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DECODERS, uid.JPEGLSLossless, "absent")
    found = failures()
    assert found.keys() == {"film effusion.dcm", "DICOM JPEGLSLossless"}  # that film is coded so


def test_one_wrong_pixel_fails(tmp_path: Path) -> None:
    golden = tmp_path / "golden"
    shutil.copytree(GOLDEN, golden)
    path = golden / "ExplicitVRLittleEndian.dcm"
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    found = {check.what: check.found for check in checks(golden) if not check.passed}
    assert found == {"DICOM ExplicitVRLittleEndian": "1 of 4096 pixels differ"}


def test_dice_by_hand() -> None:
    one, other = np.array([[1, 1, 2, 3]]), np.array([[1, 2, 2, 0]])
    assert overlaps(one, other) == {"right_lung": 2 / 3, "left_lung": 2 / 3, "heart": 0.0}
    assert overlaps(one * 0, other * 0) == dict.fromkeys(overlaps(one, other), 1.0)
    assert overlaps(one, other[:, :2]) == dict.fromkeys(overlaps(one, other), 0.0)


def test_the_versions_that_matter_are_told() -> None:
    assert {"hilum", "onnxruntime", "numpy", "opencv-python-headless", "processor"} <= versions().keys()
    assert "not installed" not in versions().values()


def test_a_processor_without_more_than_numpy_demands_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"SIMD Extensions": {"baseline": ["X86_V2"], "not found": ["X86_V3"]}}
    monkeypatch.setattr(np, "show_config", lambda **_: plain)
    assert versions()["processor"] == "X86_V2"


ALONE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "timm", "sklearn", "onnx", "safetensors"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from pathlib import Path
from hilum import runtime
runtime.SHIPPED = Path(sys.argv[1])
sys.argv = ["hilum", "selftest"]
from hilum.cli import main
main()
"""


def test_the_verb_needs_no_torch_and_tells_by_its_exit_code(weights: Path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", ALONE, str(weights)], capture_output=True, text=True, check=False
        )

    sound = run()
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert "29 of 29 checks passed" in sound.stdout
    recarded(weights / "hilum-six", prepared(low=2.0))
    spoilt = run()
    assert spoilt.returncode == 1
    assert "FAIL  film" in spoilt.stdout
    assert "Traceback" not in spoilt.stderr
