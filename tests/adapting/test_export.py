"""A faster build says what the graph says, or is not written; it runs where the machine is fit for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from hilum import engines, extras, runtime
from hilum.adapting import export as module
from hilum.adapting.export import Exported, export
from hilum.card import Build, read_card
from hilum.data import open_data
from hilum.data.cache import Cache
from hilum.data.phantom import draw
from hilum.errors import CheckpointError, ConfigError, MissingExtraError
from hilum.evaluation.evaluate import films_for
from hilum.pipeline import load
from hilum.prepare import prepare
from hilum.reporting.report import to_json
from hilum.runtime import Runtime, find


@pytest.fixture(autouse=True, scope="module")
def able() -> Iterator[None]:
    """Whatever this machine is, it exports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "fit_for", lambda _: True)
        yield


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    card = read_card(find("hilum-lungs"))
    return films_for([card], open_data("phantom:28@4"), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def lungs(phantoms: Cache, tmp_path_factory: pytest.TempPathFactory) -> tuple[Exported, Path]:
    """hilum-lungs in bytes."""
    out = tmp_path_factory.mktemp("lungs")
    return export("hilum-lungs", phantoms, out, to="onnx", int8=True, data="phantoms"), out / "checkpoint"


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hilum-six in bytes, by films that only tell the ranges: a phantom's findings it need not know."""
    out = tmp_path_factory.mktemp("six")
    card = read_card(find("hilum-six"))
    cache = films_for([card], open_data("phantom:24@4"), out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module.MOST_LOST, "mean AUROC", 1.0)
        export("hilum-six", cache, out, to="onnx", int8=True)
    return out / "checkpoint"


def test_bytes_outline_as_the_graph_does_and_the_card_says_how_nearly(
    lungs: tuple[Exported, Path], phantoms: Cache
) -> None:
    made, folder = lungs
    card = read_card(folder)
    build = card.builds[0]
    assert (build.name, build.data, build.films) == ("onnxruntime-int8", "phantoms", 21)
    assert build.before > 0.9
    assert build.before - build.after <= 0.002
    assert made.card.files == card.files
    assert card.sha256 == read_card(find("hilum-lungs")).sha256  # the same model, in another build
    film = prepare(phantoms.pixels(3), card.preparation)[None]
    exact, bytes_ = (Runtime(folder, build=name)(film)["logits"] for name in ("", build.name))
    assert not np.array_equal(exact, bytes_)
    assert ((exact > 0) == (bytes_ > 0)).mean() > 0.99


def test_the_exported_graph_is_the_smaller_one(lungs: tuple[Exported, Path]) -> None:
    folder = lungs[1]
    assert (folder / "model.int8.onnx").stat().st_size < 0.6 * (folder / "model.onnx").stat().st_size


@pytest.mark.parametrize(("fit", "runs"), [(True, "onnxruntime-int8"), (False, "")])
def test_a_build_runs_where_the_machine_is_fit_for_it(
    lungs: tuple[Exported, Path], monkeypatch: pytest.MonkeyPatch, fit: bool, runs: str
) -> None:
    monkeypatch.setattr(runtime, "fit_for", lambda _: fit)
    assert Runtime(lungs[1]).card.build == runs


def test_results_name_the_build_that_ran(
    lungs: tuple[Exported, Path], six: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "fit_for", lambda _: True)
    report = load(lungs[1], six)(draw(3, size=300).pixels)
    models = to_json(report)["models"]
    assert models["segment"]["build"] == models["classify"]["build"] == "onnxruntime-int8"
    assert models["gate"]["build"] == "as trained"


def test_evidence_in_bytes_still_averages_to_the_logit(six: Path) -> None:
    films = np.random.default_rng(0).normal(size=(3, 1, 128, 128)).astype(np.float32)
    outputs = Runtime(six, build="onnxruntime-int8")(films)
    np.testing.assert_allclose(outputs["evidence"].mean(axis=(2, 3)), outputs["logits"], atol=2e-2)


def test_what_loses_too_much_is_not_written(
    phantoms: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.MOST_LOST, "mean Dice", -1.0)
    with pytest.raises(CheckpointError, match=r"as onnxruntime-int8 it has a mean Dice of 0\.9.*not"):
        export("hilum-lungs", phantoms, tmp_path / "out", to="onnx", int8=True)
    assert not (tmp_path / "out").exists()


def test_a_machine_without_the_instructions_compares_nothing(
    phantoms: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "fit_for", lambda build: build.name != "onnxruntime-int8")
    with pytest.raises(ConfigError, match=r"onnxruntime-int8: this processor lacks the instructions"):
        export("hilum-lungs", phantoms, tmp_path / "out", to="onnx", int8=True)
    assert not (tmp_path / "out").exists()


def test_a_changed_build_is_refused(lungs: tuple[Exported, Path], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in lungs[1].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    with (folder / "model.int8.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(CheckpointError, match=r"model\.int8\.onnx: SHA-256 differs"):
        Runtime(folder, build="onnxruntime-int8")
    assert Runtime(folder, build="").card.build == ""


def test_a_build_that_is_not_there_is_named(lungs: tuple[Exported, Path]) -> None:
    with pytest.raises(CheckpointError, match="no build 'openvino-bf16'; make it with hilum export"):
        Runtime(lungs[1], build="openvino-bf16")


def test_what_cannot_be_asked_for_is_told(phantoms: Cache, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is that already; add --int8"):
        export("hilum-lungs", phantoms, tmp_path, to="onnx", int8=False)
    few = replace(phantoms, samples=phantoms.samples[:5])
    with pytest.raises(ConfigError, match=r"5 films; give 20 or more"):
        export("hilum-lungs", few, tmp_path, to="onnx", int8=True)
    with pytest.raises(ConfigError, match=r"no masks to compare outlines with"):
        export("hilum-lungs", replace(phantoms, masks=None), tmp_path, to="onnx", int8=True)
    healthy = [replace(one, labels=dict.fromkeys(one.labels, 0.0)) for one in phantoms.samples]
    with pytest.raises(ConfigError, match=r"no label both present and absent.*; give other films"):
        export("hilum-six", replace(phantoms, samples=tuple(healthy)), tmp_path, to="onnx", int8=True)
    assert list(tmp_path.iterdir()) == []


def test_two_models_of_one_task_are_refused(lungs: tuple[Exported, Path]) -> None:
    with pytest.raises(ConfigError, match=r"both segment; give one of them"):
        load(lungs[1], "hilum-lungs")


@pytest.mark.parametrize("int8", [False, True])
def test_openvino_says_what_onnx_runtime_says(phantoms: Cache, tmp_path: Path, int8: bool) -> None:
    pytest.importorskip("openvino")
    made = export("hilum-lungs", phantoms, tmp_path, to="openvino", int8=int8)
    assert made.build.name == ("openvino-int8" if int8 else "openvino-bf16")
    film = prepare(phantoms.pixels(3), made.card.preparation)[None]
    graph, build = (Runtime(tmp_path / "checkpoint", build=name) for name in ("", made.build.name))
    assert graph(film).keys() == build(film).keys()
    assert ((graph(film)["logits"] > 0) == (build(film)["logits"] > 0)).mean() > 0.99


def test_a_second_build_leaves_the_first_as_it_was(
    lungs: tuple[Exported, Path], phantoms: Cache, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    card = export(lungs[1], phantoms, tmp_path, to="openvino", int8=True).card
    assert [one.name for one in card.builds] == ["openvino-int8", "onnxruntime-int8"]
    for build in card.builds:
        assert Runtime(tmp_path / "checkpoint", build=build.name).card.build == build.name


def test_a_build_for_openvino_needs_openvino(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    build = Build(
        engine="openvino", precision="bf16", files=("m.xml",), measure="", before=0, after=0, films=0
    )
    assert not engines.fit_for(build)
    with pytest.raises(MissingExtraError, match=r"hilum\[openvino\]"):
        engines.openvino_engine(tmp_path / "m.xml", 0, "bf16")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(("flags", "fit"), [("fpu avx2", False), ("avx512_vnni", True), ("asimddp", True)])
def test_bytes_run_where_the_processor_multiplies_them(
    flags: str, fit: bool, engine: Literal["onnxruntime", "openvino"], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(engines, "installed", lambda _: True)
    monkeypatch.setattr(engines, "_openvino_capabilities", lambda: frozenset({"FP32", "INT8"}))
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(engines, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr(engines.platform, "system", lambda: "Linux")
    engines._adds_bytes.cache_clear()
    build = Build(engine=engine, precision="int8", files=("m",), measure="", before=0, after=0, films=0)
    assert engines.fit_for(build) is fit
    engines._adds_bytes.cache_clear()


def test_the_command_tells_quality_and_speed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hilum.cli import app

    monkeypatch.chdir(tmp_path)
    app(
        ["export", "hilum-lungs", "phantom:24@4", "--int8", "--out", "fast"],
        standalone_mode=False,
    )
    said = capsys.readouterr().out
    assert "mean Dice\t0.9" in said
    assert "x as fast here" in said
    card = json.loads((tmp_path / "fast" / "checkpoint" / "card.json").read_text())
    assert card["builds"][0]["data"].startswith("phantom")
    assert "build" not in card


def test_a_checkpoint_that_is_there_is_not_written_over(
    lungs: tuple[Exported, Path], phantoms: Cache
) -> None:
    before = (lungs[1] / "card.json").read_bytes()
    with pytest.raises(ConfigError, match="holds a checkpoint already; choose another out"):
        export("hilum-lungs", phantoms, lungs[1].parent, to="onnx", int8=True)
    assert (lungs[1] / "card.json").read_bytes() == before
