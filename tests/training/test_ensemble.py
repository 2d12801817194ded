"""Several classifiers as one: their mean, calibrated where none of them learned."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hilum.card import Source, card_json, read_card
from hilum.config import TrainConfig, train_config
from hilum.errors import ConfigError
from hilum.models import build
from hilum.models.ensemble import Ensemble
from hilum.runtime import Runtime, find
from hilum.training.ensemble import ensemble
from hilum.training.train import train


def config(out: Path, **settings: Any) -> TrainConfig:
    about = {
        "task": "classify",
        "data": ["phantom:24"],
        "architecture": "cnn",
        "arguments": {"width": 2, "depth": 2, "grid": 4, "dense": 8},
        "preparation": {"size": 32},
        "epochs": 1,
        "batch": 8,
        "split": out.parent / "one" / "split.csv" if (out.parent / "one").is_dir() else None,
        "out": out,
    }
    return train_config(about | settings)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one split, and one of another fold."""
    folder = tmp_path_factory.mktemp("members")
    train(config(folder / "one"))
    train(
        config(
            folder / "two", seed=1, auxiliary=["view"], labels=list(Runtime(find(folder / "one")).card.labels)
        )
    )
    train(config(folder / "three", fold=1))
    return folder


def test_it_says_the_mean_of_its_members(members: Path) -> None:
    split = members / "one" / "split.csv"
    card = ensemble([members / "one", members / "two"], split=split, out=members / "both", name="both")
    runtimes = [Runtime(find(members / name)) for name in ("one", "two", "both")]
    films = np.random.default_rng(0).normal(size=(3, 1, 32, 32)).astype(np.float32)
    one, two, both = (runtime(films)["logits"] for runtime in runtimes)
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-4)
    assert card.name == "both"
    assert card.split_sha256 == runtimes[0].card.split_sha256
    assert "tuning fold" in card.threshold_data
    with pytest.raises(ConfigError, match="holds a checkpoint already"):
        ensemble([members / "one", members / "two"], split=split, out=members / "both", name="both")


def test_a_model_and_its_mirror_image_speak_as_one(members: Path) -> None:
    split = members / "one" / "split.csv"
    ensemble([members / "one"], split=split, out=members / "mirrored", name="mirrored", mirrored=True)
    one, mirrored = (Runtime(find(members / name)) for name in ("one", "mirrored"))
    films = np.random.default_rng(0).normal(size=(3, 1, 32, 32)).astype(np.float32)
    expected = (one(films)["logits"] + one(np.ascontiguousarray(films[..., ::-1]))["logits"]) / 2
    np.testing.assert_allclose(mirrored(films)["logits"], expected, atol=1e-4)


def test_the_mirror_images_evidence_is_turned_back() -> None:
    member = build("mobilenetv2", 2, seed=0)
    torch.nn.init.normal_(member.head.weight, generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr,arg-type]
    pair = Ensemble([member.eval()], mirrored=True)
    films = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, other = pair(films), pair(films.flip(-1))
    torch.testing.assert_close(one["evidence"], other["evidence"].flip(-1))
    torch.testing.assert_close(one["evidence"].mean(dim=(2, 3)), one["logits"])


def test_members_must_share_what_keeps_the_calibration_honest(members: Path) -> None:
    split = members / "one" / "split.csv"
    with pytest.raises(ConfigError, match=r"three: learned from films that .*one was tuned on"):
        ensemble([members / "one", members / "three"], split=split, out=members / "x", name="x")
    with pytest.raises(ConfigError, match="two or more"):
        ensemble([members / "one"], split=split, out=members / "x", name="x")
    with pytest.raises(ConfigError, match="hilum-six: its"):
        ensemble([members / "one", "hilum-six"], split=split, out=members / "x", name="x")
    with pytest.raises(ConfigError, match="hilum-lungs: made to segment"):
        ensemble([members / "one", "hilum-lungs"], split=split, out=members / "x", name="x")
    other = members / "other.csv"
    other.write_bytes(split.read_bytes() + b"nobody,1\n")
    with pytest.raises(ConfigError, match=r"other\.csv: not the split"):
        ensemble([members / "one", members / "two"], split=other, out=members / "x", name="x")


def test_classes_are_weighed_alike_by_all_members_or_by_none(members: Path, tmp_path: Path) -> None:
    folders = []
    for name, weighting in (("one", "sqrt"), ("two", "none")):
        folders.append(tmp_path / name)
        shutil.copytree(members / name / "checkpoint", folders[-1])
        card = read_card(folders[-1])
        config = card.config | {"weighting": weighting}
        classes = card.model_copy(update={"activation": "softmax", "config": config})
        (folders[-1] / "card.json").write_text(card_json(classes))
    with pytest.raises(ConfigError, match=r"two: weighs rare classes differently from .*same weighting"):
        ensemble(folders, split=members / "one" / "split.csv", out=tmp_path / "both", name="both")


def test_what_one_of_the_members_learned_the_ensemble_learned(members: Path, tmp_path: Path) -> None:
    split = members / "one" / "split.csv"
    folders = []
    for name, held in (("one", [1, 2]), ("two", [2])):
        folders.append(tmp_path / name)
        shutil.copytree(members / name / "checkpoint", folders[-1])
        card = read_card(folders[-1])
        kept = card.model_copy(update={"config": card.config | {"held": held}})
        (folders[-1] / "card.json").write_text(card_json(kept))
    card = ensemble(folders, split=split, out=tmp_path / "both", name="both")
    assert card.unlearned == {0, 2}


def test_its_card_names_what_all_members_learned_from_and_began_with(members: Path, tmp_path: Path) -> None:
    split = members / "one" / "split.csv"
    more = Source(name="nih:elsewhere", films=7, patients=5)
    folders = []
    for name in ("one", "two"):
        folders.append(tmp_path / name)
        shutil.copytree(members / name / "checkpoint", folders[-1])
        card = read_card(folders[-1])
        # Neither the number of patients nor what only trained is there again: nothing trains.
        update: dict[str, Any] = {"config": card.config | {"patients": 999, "extra": ["csv:gone.csv"]}}
        if name == "two":
            # Its start learned fold 2, which it holds back and the other one does not.
            update["config"] |= {"held": [2]}
            update |= {"sources": (*card.sources, more), "weights": "ImageNet, here", "informed": ("2",)}
        (folders[-1] / "card.json").write_text(card_json(card.model_copy(update=update)))
    made = ensemble(folders, split=split, out=tmp_path / "both", name="both")
    assert made.sources == (*read_card(members / "one" / "checkpoint").sources, more)
    assert made.weights == "random weights; ImageNet, here"
    assert (made.informed, made.unlearned) == ((), {0})
    assert (made.config["patients"], made.config["extra"]) == (0, [])


def test_evidence_is_shared_only_where_all_members_give_it_on_one_grid() -> None:
    pair = [{"architecture": "mobilenetv2"}, {"architecture": "cnn", "arguments": {"grid": 4}}]
    outputs = build("ensemble", 2, seed=0, members=pair).eval()(torch.zeros(1, 1, 64, 64))
    assert outputs.keys() == {"logits", "features"}


def test_members_of_another_segmenters_outlines_are_refused(members: Path, tmp_path: Path) -> None:
    shutil.copytree(members / "two" / "checkpoint", tmp_path / "old")
    card = read_card(tmp_path / "old").model_copy(update={"outlines_sha256": "0" * 64})
    (tmp_path / "old" / "card.json").write_text(card_json(card))
    split = members / "one" / "split.csv"
    with pytest.raises(ConfigError, match="its outlines_sha256 is not"):
        ensemble([members / "one", tmp_path / "old"], split=split, out=tmp_path / "both", name="both")


def test_who_begins_from_what_knows_the_patients_says_so_ever_after(
    members: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    split = members / "one" / "split.csv"
    labels = list(read_card(members / "one" / "checkpoint").labels)
    about = {"split": split, "labels": labels}
    honest = train(config(tmp_path / "honest", start=str(members / "one"), **about))
    assert (honest.informed, honest.unlearned) == ((), {0}) and "too high" not in caplog.text
    # Of another fold on the same split, of another split of the same data, and what began from those.
    fold = train(config(tmp_path / "fold", start=str(members / "three"), **about))
    assert (fold.informed, fold.unlearned) == (("0",), frozenset())
    assert "learned from fold 0, which this run holds back: scores on it will be too high" in caplog.text
    (tmp_path / "other").mkdir()
    other = train(config(tmp_path / "other" / "run", start=str(members / "one"), seed=5, labels=labels))
    assert (other.informed, other.unlearned) == (("any",), frozenset())
    assert "was trained by another split and may have learned from patients" in caplog.text
    heir = train(config(tmp_path / "heir", start=str(tmp_path / "fold"), **about))
    assert heir.informed == ("0",)
    # A fold that is only held is one that the start may have learned, too.
    held = train(config(tmp_path / "held", start=str(members / "one"), held=[1], **about))
    assert (held.informed, held.unlearned) == (("1",), {0})
    both = ensemble([tmp_path / "heir", tmp_path / "fold"], split=split, out=tmp_path / "both", name="both")
    assert both.informed == ("0",)


def test_a_member_that_may_know_the_fold_is_told(
    members: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(members / "two", tmp_path / "two")
    card = read_card(tmp_path / "two" / "checkpoint")
    told = card.model_copy(update={"informed": ("0",)})
    (tmp_path / "two" / "checkpoint" / "card.json").write_text(card_json(told))
    split = members / "one" / "split.csv"
    made = ensemble([members / "one", tmp_path / "two"], split=split, out=tmp_path / "both", name="both")
    assert made.informed == ("0",)
    assert any("learned from fold 0" in message for message in caplog.messages)
