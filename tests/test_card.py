"""The card survives its file, and nothing else is taken for a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hilum.card import (
    CARD,
    Calibration,
    Card,
    Metric,
    Preparation,
    Reliability,
    Source,
    Threshold,
    card_json,
    read_card,
)
from hilum.errors import CheckpointError
from hilum.labels import SIX

FULL = Card(
    name="toy",
    version="1.2.3",
    task="classify",
    labels=SIX,
    activation="sigmoid",
    architecture="mobilenetv2",
    arguments={"width": 16, "norm": True},
    preparation=Preparation(size=128, low=0.5, high=99.5, mean=0.48, std=0.23),
    calibration={"Edema": Calibration(slope=0.7, intercept=-1.25, events=33)},
    thresholds={"Edema": Threshold(value=0.3, low=0.25, high=0.35, rule="Youden index")},
    reliability={"heart": Reliability(intercept=-0.1, slope=1.2, threshold=0.9)},
    threshold_data="200 films of 90 patients",
    sources=(Source(name="nih:nih14", films=8506, patients=2497),),
    split_sha256="ab" * 32,
    metrics=(Metric(name="AUROC Edema", value=0.83, low=0.8, high=0.86, n=1200, part="tuning"),),
    config={"epochs": 5},
    commit="0" * 40,
    seed=7,
    packages={"numpy": "2.0"},
    files={"model.onnx": "cd" * 32},
    intended_use="Ödeme, for research",
    citations=("Wang et al., CVPR 2017",),
)
LEAST: dict[str, Any] = {
    "name": "toy",
    "version": "1",
    "task": "segment",
    "labels": ["lung"],
    "architecture": "unet",
    "preparation": {"size": 64},
}


def write(folder: Path, content: str) -> Path:
    (folder / CARD).write_text(content, encoding="utf-8")
    return folder


@pytest.mark.parametrize("card", [FULL, Card.model_validate(LEAST)], ids=["full", "least"])
def test_the_round_trip_is_exact(tmp_path: Path, card: Card) -> None:
    text = card_json(card)
    assert read_card(write(tmp_path, text)) == card
    assert card_json(read_card(tmp_path)) == text
    assert text.endswith("}\n")


def test_the_file_is_plain_json_in_utf8() -> None:
    document = json.loads(card_json(FULL))
    assert document["labels"] == list(SIX)
    assert document["thresholds"]["Edema"]["value"] == 0.3
    assert document["reliability"]["heart"] == {"intercept": -0.1, "slope": 1.2, "threshold": 0.9}
    assert "Ödeme" in card_json(FULL)


def changed(**changes: object) -> str:
    return json.dumps(LEAST | changes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            changed(surprise=1),
            r"card\.json: surprise: Extra inputs are not permitted; the card is damaged or too new",
        ),
        (changed(preparation={"size": 64, "flip": True}), r"preparation\.flip: Extra inputs"),
        (changed(preparation={"size": 1}), r"preparation\.size: .*greater than or equal to 32"),
        (changed(preparation={"size": 64, "std": 0}), r"preparation\.std: .*greater than 0"),
        (changed(calibration={"Edema": {"slope": -1}}), r"calibration\.Edema\.slope"),
        (
            changed(thresholds={"Edema": {"value": 2, "low": 0, "high": 1, "rule": ""}}),
            r"thresholds\.Edema\.value",
        ),
        (
            changed(reliability={"heart": {"intercept": 0, "slope": 1, "threshold": 1.1}}),
            r"reliability\.heart\.threshold: .*less than or equal to 1",
        ),
        (
            changed(reliability={"heart": {"intercept": 0, "threshold": 0.5}}),
            r"reliability\.heart\.slope: Field required",
        ),
        (
            changed(reliability={"heart": {"intercept": 0, "slope": -0.1, "threshold": 0}}),
            r"reliability\.heart\.slope: .*greater than or equal to 0",
        ),
        (changed(task="detect"), r"task: "),
        (
            json.dumps({key: value for key, value in LEAST.items() if key != "labels"}),
            r"labels: Field required",
        ),
        (card_json(FULL)[:200], r"card\.json: content: Invalid JSON.*damaged or too new"),
        ("", r"content: Invalid JSON"),
        ("[]", r"content: "),
    ],
)
def test_a_damaged_or_newer_card_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_card(write(tmp_path, content))


@pytest.mark.parametrize("place", ["", "nowhere", "model.onnx"], ids=["empty", "missing", "a file"])
def test_what_holds_no_card_is_no_checkpoint(tmp_path: Path, place: str) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(CheckpointError, match=r"no card\.json; give the folder of a Hilum checkpoint"):
        read_card(tmp_path / place)


def test_a_card_of_an_earlier_version_tells_no_reliability(tmp_path: Path) -> None:
    assert read_card(write(tmp_path, json.dumps(LEAST))).reliability == {}


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/b", "..", ".hidden", "", "model.onnx\n"])
def test_a_card_names_files_beside_it_and_none_elsewhere(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, json.dumps(LEAST | {"files": {name: "ab" * 32}}))
    with pytest.raises(CheckpointError, match="files"):
        read_card(folder)


def test_the_models_identity_is_its_graphs_hash() -> None:
    assert FULL.sha256 == "cd" * 32
    assert Card.model_validate(LEAST).sha256 == ""


def test_the_preprocessings_name_tells_its_parameters_apart() -> None:
    usual = Preparation(size=128)
    others = [
        usual.model_copy(update=change)
        for change in (
            {},
            {"size": 256},
            {"low": 2.0},
            {"high": 98.0},
            {"mean": 0.4},
            {"std": 0.2},
            {"detail": 64},
        )
    ]
    names = [FULL.model_copy(update={"preparation": one}).preprocessing for one in others]
    assert names[0] == "stretch-128-p1-99-m0.5-s0.25"
    assert len(set(names)) == len(names)


def test_a_card_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        FULL.name = "other"  # type: ignore[misc]
