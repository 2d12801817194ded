"""What a run works on, settled before its first step."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from hilum.config import TrainConfig, train_config
from hilum.data import listing
from hilum.data.split import Split, write_split
from hilum.errors import ConfigError, DataError
from hilum.labels import SIX, UNCERTAIN
from hilum.models import MODELS, build, imagenet
from hilum.toml_files import read_toml
from hilum.training.frequencies import class_weights, log_odds
from hilum.training.plan import Plan, make_plan, make_tuning_plan, not_read
from hilum.training.run import objective
from hilum.training.starts import network, sized, started
from hilum.training.train import train
from hilum.types import STRUCTURES, Listing

CONFIGS = Path(__file__).parents[2] / "configs"
Rows = list[dict[str, object]]


def config(out: Path, **settings: Any) -> TrainConfig:
    about: dict[str, Any] = {"task": "classify", "out": out / "run", "preparation": {"size": 32}}
    return train_config(about | {"start": "random"} | settings)


def table(folder: Path, rows: Rows, broken: int = 0) -> str:
    """A csv data set of one grey film after another; the first `broken` of them are no images."""
    folder.mkdir(exist_ok=True)
    for i, row in enumerate(rows):
        image = np.full((64, 64), i % 256, np.uint8)
        image[:32] += 60
        data = cv2.imencode(".png", image)[1].tobytes()
        (folder / f"{i}.png").write_bytes(b"not an image" if i < broken else data)
        row["path"] = f"{i}.png"
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return f"csv:{folder / 'labels.csv'}"


def tuned_by(folder: Path, count: int, tune: int) -> Path:
    """A split in which the last `tune` of a table's films tune and the others train."""
    parts = {f"{folder.name}:{i}.png": "0" if i >= count - tune else "1" for i in range(count)}
    write_split(Split(parts=parts, sha256=""), folder / "split.csv")
    return folder / "split.csv"


def edema(values: str) -> Rows:
    """A row for each of the characters 0, 1 and ? (unknown)."""
    return [{"Edema": value.replace("?", "")} for value in values]


def patients(plan: Plan, part: str) -> set[str]:
    films = plan.train if part == "train" else plan.tune
    return {sample.patient for sample in films.cache.samples}


def test_tuning_films_alone_are_opened_as_strictly_as_with_those_that_train(tmp_path: Path) -> None:
    """5 % may be unreadable, of both parts: of the tuning part alone it may be more, but not most."""
    data = table(tmp_path / "films", edema("01" * 20))
    settings = {"data": [data], "split": tuned_by(tmp_path / "films", 40, 10)}
    both = config(tmp_path / "both", **settings)
    for place, broken in ((38, 1), (39, 2)):
        (tmp_path / "films" / f"{place}.png").write_bytes(b"not an image")
        assert len(make_plan(both).tune) == len(make_tuning_plan(both).tune) == 10 - broken
    for place in range(30, 36):
        (tmp_path / "films" / f"{place}.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match="8 of 40 films cannot be read, over 5%"):
        make_tuning_plan(config(tmp_path / "most", **settings))


def test_patients_never_cross_and_the_test_part_stays_out(tmp_path: Path) -> None:
    plan = make_plan(config(tmp_path, data=["phantom:40"]))
    train, tune = patients(plan, "train"), patients(plan, "tune")
    assert train
    assert tune
    assert not train & tune
    assert {plan.split.parts[patient] for patient in tune} == {"0"}
    assert {plan.split.parts[patient] for patient in train} == {"1", "2", "3", "4"}


def test_folds_that_are_held_take_no_part(tmp_path: Path) -> None:
    plan = make_plan(config(tmp_path, data=["phantom:40"], fold=1, held=[0, 3]))
    assert {plan.split.parts[patient] for patient in patients(plan, "tune")} == {"1"}
    assert {plan.split.parts[patient] for patient in patients(plan, "train")} == {"2", "4"}
    with pytest.raises(ConfigError, match="held: the split has no fold 7; it has 0, 1, 2, 3, 4"):
        make_plan(config(tmp_path, data=["phantom:40"], fold=1, held=[7]))
    with pytest.raises(ConfigError, match="held: fold 1 tunes"):
        config(tmp_path, data=["phantom:40"], fold=1, held=[1])


def test_the_split_is_made_once_and_known_by_its_hash(tmp_path: Path) -> None:
    first = make_plan(config(tmp_path, data=["phantom:20"]))
    path = tmp_path / "run" / "split.csv"
    assert first.split.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    # Another seed would deal otherwise; a run that goes on keeps what it has, a new start does not.
    path.with_name("history.csv").touch()
    again = make_plan(config(tmp_path, data=["phantom:20"], seed=5))
    assert again.split == first.split
    path.with_name("history.csv").unlink()
    assert make_plan(config(tmp_path, data=["phantom:20"], seed=5)).split != first.split
    other = make_plan(config(tmp_path / "other", data=["phantom:20"], seed=5))
    assert other.split != first.split


def test_only_the_training_part_is_augmented(tmp_path: Path) -> None:
    plan = make_plan(config(tmp_path, data=["phantom:20"], augment=0.7))
    assert (plan.train.strength, plan.tune.strength) == (0.7, 0.0)


def test_outlines_are_learnt_from_films_that_have_some(tmp_path: Path) -> None:
    data = table(tmp_path / "films", edema("01" * 10))
    plan = make_plan(config(tmp_path, task="segment", data=["phantom:16", data]))
    assert plan.labels == STRUCTURES
    assert plan.measure == "mean Dice"
    assert plan.train.labels == ()
    assert all(sample.masks is not None for sample in plan.train.cache.samples)
    with pytest.raises(DataError, match="no film has a mask"):
        make_plan(config(tmp_path / "other", task="segment", data=[data]))


def test_extra_films_only_train_and_stand_last(tmp_path: Path) -> None:
    plain = make_plan(config(tmp_path, data=["phantom:20"]))
    plan = make_plan(config(tmp_path, data=["phantom:20"], extra=["phantom:6@1", "phantom:3@2"]))
    assert (plain.extra, plan.extra) == (0, 9)
    ids = [sample.id for sample in plan.train.cache.samples]
    assert ids[:-9] == [sample.id for sample in plain.train.cache.samples]
    assert [name.rsplit("-", 1)[0] for name in ids[-9:]] == ["phantom-1"] * 6 + ["phantom-2"] * 3
    assert patients(plan, "tune") == patients(plain, "tune")
    assert len(plan.tune) == len(plain.tune)
    assert plan.split == plain.split  # they are dealt to no part


def test_extra_films_that_cannot_be_read_do_not_count(tmp_path: Path) -> None:
    data, extra = (
        table(tmp_path / "films", edema("01" * 15)),
        table(tmp_path / "more", edema("01?"), broken=1),
    )
    split = tuned_by(tmp_path / "films", 30, 5)
    plan = make_plan(config(tmp_path, data=[data], extra=[extra], split=split))
    assert plan.extra == 2
    assert [sample.id for sample in plan.train.cache.samples[-3:]] == [
        "films:24.png",
        "more:1.png",
        "more:2.png",
    ]


def test_extra_films_bring_no_labels_of_their_own(tmp_path: Path) -> None:
    data = table(tmp_path / "films", edema("01" * 10))
    extra = table(tmp_path / "more", [{"Edema": 1, "Zebra": 1}])
    assert make_plan(config(tmp_path, data=[data], extra=[extra])).labels == ("Edema",)


def shown(folder: Path, name: str, rows: Sequence[str], structures: str) -> str:
    """A csv of ward films with masks that show these structures."""
    folder.mkdir(exist_ok=True)
    film = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[8:40, 4:28], mask[8:40, 36:60] = 1, 2
    if "heart" in structures:
        mask[44:60, 24:44] = 3
    mask = mask if "|" in structures else (mask > 0) * np.uint8(255)
    for kind, image in {name: mask, **{f"film{row}": film for row in rows}}.items():
        (folder / f"{kind}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    lines = [f"film{row}.png,{row},ward,{name}.png,{structures}" for row in rows]
    (folder / f"{name}.csv").write_text("\n".join(["path,id,site,mask,structures", *lines]) + "\n")
    return f"csv:{folder / name}.csv"


def test_a_mask_that_shows_more_of_a_film_of_the_data_is_learned_and_never_tuned_by(tmp_path: Path) -> None:
    names = [f"{i}" for i in range(10)]
    data = shown(tmp_path / "films", "lungs", names, "lungs")
    extra = shown(tmp_path / "films", "all", [*names, "new"], "right_lung|left_lung|heart")
    parts = {f"ward:{i}": "test" if i in (1, 2) else "0" if i in (3, 4) else "1" for i in range(10)}
    write_split(Split(parts=parts, sha256=""), tmp_path / "split.csv")
    about: dict[str, Any] = {"task": "segment", "split": tmp_path / "split.csv"}
    plan = make_plan(config(tmp_path, data=[data], extra=[extra], **about))
    learned = plan.train.cache.samples
    assert [sample.id for sample in learned] == [f"ward:{i}" for i in (0, 5, 6, 7, 8, 9)] + ["ward:new"]
    assert plan.extra == 1  # the others are drawn as often as the data's own films
    assert {sample.structures for sample in learned} == {frozenset(STRUCTURES)}
    assert plan.train.cache.masks is not None
    assert set(np.unique(plan.train.cache.masks[0])) == {0, 1, 2, 3}
    assert {sample.structures for sample in plan.tune.cache.samples} == {frozenset({"lungs"})}
    with pytest.raises(DataError, match="ward:0: is in data and in extra; give it once"):
        make_plan(config(tmp_path / "less", data=[extra], extra=[data], **about))


def test_a_film_to_classify_is_data_or_extra_never_both(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="phantom-0-00000: is in data and in extra; give it once"):
        make_plan(config(tmp_path, data=["phantom:20"], extra=["phantom:2"]))


def test_extra_films_of_patients_held_back_are_refused(tmp_path: Path) -> None:
    rows: Rows = [{"Edema": i % 2, "site": "north", "patient": f"p{i}", "id": f"a{i}"} for i in range(20)]
    data = table(tmp_path / "films", rows)
    parts = {f"north:p{i}": "test" if i < 3 else str(i % 2) for i in range(20)}
    write_split(Split(parts=parts, sha256=""), tmp_path / "split.csv")

    def plan(patient: str) -> Plan:
        more: Rows = [{"Edema": 1, "site": "north", "patient": patient, "id": "b"}]
        extra = table(tmp_path / patient, more)
        return make_plan(config(tmp_path, data=[data], extra=[extra], split=tmp_path / "split.csv"))

    assert plan("p5").extra == plan("stranger").extra == 1
    for patient in ("p2", "p4"):  # of the test, of the fold that tunes
        with pytest.raises(
            DataError, match="north:b: in extra, but the split holds its patient back; leave it out"
        ):
            plan(patient)


def test_extra_films_without_an_outline_are_refused_where_outlines_are_learned(tmp_path: Path) -> None:
    extra = table(tmp_path / "more", [{"Edema": 1, "site": "north", "id": "b"}])
    with pytest.raises(DataError, match="north:b: in extra, but has no mask; outline it with"):
        make_plan(config(tmp_path, task="segment", data=["phantom:20"], extra=[extra]))
    data = table(tmp_path / "films", edema("01" * 10))
    assert make_plan(config(tmp_path, data=[data], extra=[extra])).extra == 1


def test_the_recipe_of_the_augmentation_comes_from_the_task_or_from_who_asks(tmp_path: Path) -> None:
    for task, recipe in (("classify", "general"), ("segment", "outlines")):
        assert make_plan(config(tmp_path, task=task, data=["phantom:20"])).train.recipe == recipe
    asked = make_plan(config(tmp_path, task="segment", data=["phantom:20"], recipe="general"))
    assert asked.train.recipe == "general"


@pytest.mark.parametrize(
    ("columns", "asked", "labels"),
    [
        (["Zebra", *SIX[::-1]], (), SIX),  # the six, in their order, where the data carry them all
        (["Zebra", "Edema", "Effusion"], (), ("Edema", "Pleural Effusion", "Zebra")),  # else no class is lost
        (["Zebra", "Apple"], (), ("Apple", "Zebra")),  # none of the six: all
        (["Zebra", "Edema", "Apple"], ("Zebra", "Edema"), ("Zebra", "Edema")),
    ],
)
def test_labels_are_those_asked_for_else_the_six_else_all(
    columns: list[str], asked: tuple[str, ...], labels: tuple[str, ...], tmp_path: Path
) -> None:
    rows: Rows = [{name: (i + j) % 2 for j, name in enumerate(columns)} for i in range(20)]
    plan = make_plan(config(tmp_path, data=[table(tmp_path / "films", rows)], labels=asked))
    assert plan.labels == plan.train.labels == plan.tune.labels == labels
    assert plan.measure == "mean AUROC"


def test_a_label_the_data_lack_is_named(tmp_path: Path) -> None:
    data = table(tmp_path / "films", edema("01" * 10))
    with pytest.raises(DataError, match=r"'Zebra'.*have Edema"):
        make_plan(config(tmp_path, data=[data], labels=["Zebra"]))


@pytest.mark.parametrize(
    ("row", "asked", "activation"),
    [
        ({"A": 1, "B": 0, "C": 0}, "auto", "softmax"),
        ({"A": 1, "B": 0, "C": 0}, "sigmoid", "sigmoid"),
        ({"A": 1, "B": 1, "C": 0}, "auto", "sigmoid"),
        ({"A": 0, "B": 0, "C": 0}, "auto", "sigmoid"),
        ({"A": 1, "B": "", "C": 0}, "auto", "sigmoid"),  # B might be there, too
        ({"A": 1, "B": "", "C": 0}, "softmax", "softmax"),
        ({"A": 1}, "auto", "sigmoid"),  # softmax over one label knows nothing
    ],
)
def test_softmax_is_for_films_with_exactly_one_of_several_labels(
    row: dict[str, object], asked: str, activation: str, tmp_path: Path
) -> None:
    sure: Rows = [{name: int(name == "A") for name in row} for _ in range(19)]
    plan = make_plan(config(tmp_path, data=[table(tmp_path / "films", [*sure, row])], activation=asked))
    assert plan.activation == activation


@pytest.mark.parametrize(
    ("weighting", "weights"), [("balanced", [4.0, 20.0]), ("sqrt", [2.0, 24**0.5]), ("none", [1.0, 1.0])]
)
def test_sigmoid_weights_are_negatives_over_positives_of_the_training_part(
    weighting: str, weights: list[float], tmp_path: Path
) -> None:
    # 25 train: A is known of 10, 2 positive; B of all, 1 positive (24, cut to 20). What tunes has no say.
    rows: Rows = [{"A": ("" if i >= 10 else int(i < 2)), "B": int(i == 3 or i >= 25)} for i in range(30)]
    data = table(tmp_path / "films", rows)
    split = tuned_by(tmp_path / "films", 30, 5)
    plan = make_plan(config(tmp_path, data=[data], split=split))
    assert class_weights(plan, weighting).tolist() == pytest.approx(weights)


def test_softmax_weights_are_the_inverse_shares(tmp_path: Path) -> None:
    rows: Rows = [{"A": int(i % 4 > 0), "B": int(i % 4 == 0)} for i in range(24)]
    data = table(tmp_path / "films", rows)
    plan = make_plan(config(tmp_path, data=[data], split=tuned_by(tmp_path / "films", 24, 4)))
    assert class_weights(plan, "balanced").tolist() == pytest.approx([20 / 15 / 2, 20 / 5 / 2])


@pytest.mark.parametrize(("extra", "drawn"), [(60, 20), (10, 10)])
def test_extra_films_count_as_often_as_an_epoch_draws_them(extra: int, drawn: int, tmp_path: Path) -> None:
    rows: Rows = [{"A": int(i % 4 > 0), "B": int(i % 4 == 0)} for i in range(24)]
    data = table(tmp_path / "films", rows)
    more = table(tmp_path / "more", [{"A": 0, "B": 1} for _ in range(extra)])
    split = tuned_by(tmp_path / "films", 24, 4)
    plan = make_plan(config(tmp_path, data=[data], extra=[more], split=split, activation="sigmoid"))
    absent, present = 5 + drawn, 15  # of A; the data's own 20 films are 15 A and 5 B
    weights = class_weights(plan, "balanced").tolist()
    assert weights == pytest.approx([absent / present, present / absent])
    assert log_odds(plan).tolist() == pytest.approx(np.log([present / absent, absent / present]).tolist())


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_the_adjusted_loss_asks_for_what_frequency_alone_does_not_tell(
    activation: str, tmp_path: Path
) -> None:
    rows: Rows = [{"A": int(i % 4 > 0), "B": int(i % 4 == 0)} for i in range(24)]
    data = table(tmp_path / "films", rows)
    settings = config(
        tmp_path,
        data=[data],
        split=tuned_by(tmp_path / "films", 24, 4),
        activation=activation,
        loss="adjusted",
        weighting="none",
    )
    plan = make_plan(settings)  # 20 train, 15 with A, 5 with B
    shares = torch.tensor([0.75, 0.25])
    logits = shares.logit() if activation == "sigmoid" else shares.log()
    assert log_odds(plan).tolist() == pytest.approx(logits.tolist())
    # So a network that says nothing has the loss of one that knows the frequencies: their entropy.
    truth = torch.tensor([[1.0, 0.0]] * 15 + [[0.0, 1.0]] * 5)
    entropy = -(shares * shares.log()).sum().item()
    loss = objective(settings, plan, torch.device("cpu"))
    assert loss({"logits": torch.zeros(20, 2)}, {"labels": truth}).item() == pytest.approx(entropy)


def test_few_unreadable_films_are_set_aside_and_listed(tmp_path: Path) -> None:
    data = table(tmp_path / "films", edema("01" * 15), broken=1)
    split = tuned_by(tmp_path / "films", 30, 5)
    plan = make_plan(config(tmp_path, data=[data], split=split))
    assert (len(plan.train), len(plan.tune)) == (24, 5)
    with (tmp_path / "run" / "unreadable.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["film"] == "films:0.png"
    assert "0.png" in row["reason"]


def test_more_than_a_twentieth_unreadable_is_no_data_set(tmp_path: Path) -> None:
    data = table(tmp_path / "films", edema("01" * 15), broken=3)
    split = tuned_by(tmp_path / "films", 30, 5)
    with pytest.raises(DataError, match="3 of 30 films cannot be read"):
        make_plan(config(tmp_path, data=[data], split=split))


def test_one_bad_film_of_many_is_borne_in_a_small_part_too(tmp_path: Path) -> None:
    data = table(tmp_path / "films", edema("01" * 15), broken=1)
    split = tmp_path / "films" / "split.csv"
    parts = {f"films:{i}.png": "0" if i < 6 else "1" for i in range(30)}
    write_split(Split(parts=parts, sha256=""), split)
    assert len(make_plan(config(tmp_path, data=[data], split=split)).tune.cache.samples) == 5


def test_a_part_that_cannot_be_read_is_no_part(tmp_path: Path) -> None:
    data = table(tmp_path / "films", edema("01" * 30), broken=2)
    split = tmp_path / "films" / "split.csv"
    parts = {f"films:{i}.png": "0" if i < 3 else "1" for i in range(60)}
    write_split(Split(parts=parts, sha256=""), split)
    with pytest.raises(DataError, match="2 of 3 films of the tune part cannot be read"):
        make_plan(config(tmp_path, data=[data], split=split))


def test_processes_of_one_run_leave_the_split_that_the_first_has_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_plan(config(tmp_path, data=["phantom:20"]))
    monkeypatch.setattr("hilum.training.plan.write_split", lambda *_: pytest.fail("written again"))
    assert make_plan(config(tmp_path, data=["phantom:20"])).split == first.split


def test_films_that_were_mended_are_not_told_again(tmp_path: Path) -> None:
    rows = edema("01" * 15)
    split = tuned_by(tmp_path, 30, 6)
    parts = {f"films:{i}.png": "0" if i >= 24 else "1" for i in range(30)}
    write_split(Split(parts=parts, sha256=""), split)
    make_plan(config(tmp_path, data=[table(tmp_path / "films", rows, broken=1)], split=split))
    assert len(not_read(tmp_path / "run")) == 1
    make_plan(config(tmp_path, data=[table(tmp_path / "films", rows)], split=split))
    assert not_read(tmp_path / "run") == []


def test_a_label_that_no_film_tells_is_refused(tmp_path: Path) -> None:
    rows: Rows = [{"Edema": "nan"} for _ in range(20)]
    with pytest.raises(DataError, match="label 'Edema': no training film has a value"):
        make_plan(config(tmp_path, data=[table(tmp_path / "films", rows)]))


def test_films_that_are_all_of_one_patient_are_told_so(tmp_path: Path) -> None:
    """As of studies whose patients are all called ANONYMOUS: the films are many, and yet too few."""
    data = table(tmp_path / "films", [row | {"patient": "ANONYMOUS"} for row in edema("01" * 10)])
    with pytest.raises(DataError, match=r"no films in the .* part .*; all 20 films are of 1 patients: give"):
        make_plan(config(tmp_path, data=[data]))


def test_a_split_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    data = table(tmp_path / "films", edema("01" * 10))
    split = tuned_by(tmp_path / "films", 20, 5)
    with pytest.raises(DataError, match=r"no films in the tune part .*; its folds are 0, 1: change fold=3"):
        make_plan(config(tmp_path, data=[data], split=split, fold=3))
    with pytest.raises(DataError, match="not in the split file"):
        make_plan(config(tmp_path, data=[data, "phantom:2"], split=split))


def test_an_architecture_of_the_other_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'unet' is made to segment"):
        make_plan(config(tmp_path, data=["phantom:20"], architecture="unet"))


@pytest.mark.parametrize(
    "labels",
    [
        read_toml(CONFIGS / "nih-fourteen.toml")["labels"],
        ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion", "Pneumothorax"],
    ],
    ids=["fourteen", "six diseases"],
)
def test_another_set_of_labels_is_a_setting_and_no_code(labels: list[str], tmp_path: Path) -> None:
    rows = [{label: (i + place) % 2 for place, label in enumerate(labels)} for i in range(10)]
    data = table(tmp_path / "films", [dict[str, object](row) for row in rows])
    own: dict[str, Any] = {"architecture": "cnn", "arguments": {"grid": 2}}
    chosen = config(tmp_path, data=[data], labels=labels, activation="sigmoid", **own)
    plan = make_plan(chosen)
    assert plan.labels == tuple(labels)
    module, _ = network(chosen, plan)
    assert module.eval()(torch.zeros(1, 1, 32, 32))["logits"].shape == (1, len(labels))


@pytest.mark.parametrize("architecture", sorted(MODELS.keys() - {"ensemble"}))
def test_an_architecture_starts_from_imagenet_weights_where_it_has_some(architecture: str) -> None:
    task = "segment" if architecture.startswith("unet") else "classify"
    about = {"task": task, "data": ["x"], "architecture": architecture}
    has = hasattr(build(architecture, 3, seed=0), "load_imagenet")
    assert started(train_config(about)).start == ("imagenet" if has else "random")
    assert started(train_config({**about, "start": "random"})).start == "random"


def test_a_unet_has_no_imagenet_start(tmp_path: Path) -> None:
    chosen = config(tmp_path, task="segment", data=["phantom:20"], start="imagenet")
    with pytest.raises(ConfigError, match="unet has no ImageNet weights"):
        network(chosen, make_plan(chosen))


@pytest.mark.parametrize(
    ("task", "architecture"),
    [("classify", "mobilenetv2"), ("segment", "unet-mobilenetv2"), ("segment", "unet-efficientnet-lite0")],
)
def test_networks_on_a_backbone_start_from_imagenet_where_asked(
    task: str, architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[str] = []

    def fill(_: object, name: str) -> str:
        filled.append(name)
        return "a source"

    monkeypatch.setattr(imagenet, "fill", fill)
    chosen = config(tmp_path, task=task, architecture=architecture, data=["phantom:20"])
    plan = make_plan(chosen)
    assert network(chosen, plan)[1] == ""
    assert filled == []
    assert network(chosen.model_copy(update={"start": "imagenet"}), plan)[1] == "ImageNet, a source"
    assert len(filled) == 1


def test_the_network_has_an_output_for_each_label(tmp_path: Path) -> None:
    chosen = config(tmp_path, data=["phantom:20"])
    module, _ = network(chosen, make_plan(chosen))
    assert module.get_parameter("head.bias").shape == (len(SIX),)


def test_fewer_patients_are_the_first_of_more_and_the_tuning_part_stays(tmp_path: Path) -> None:
    plans = [make_plan(config(tmp_path, data=["phantom:60"], patients=n)) for n in (8, 16, 0)]
    few, more, everyone = (patients(plan, "train") for plan in plans)
    assert (len(few), len(more)) == (8, 16)
    assert few < more < everyone
    assert len({frozenset(patients(plan, "tune")) for plan in plans}) == 1
    with pytest.raises(DataError, match=f"the training part has {len(everyone)}"):
        make_plan(config(tmp_path, data=["phantom:60"], patients=1000))


def test_auxiliary_labels_stand_behind_the_others(tmp_path: Path) -> None:
    rows: Rows = [
        {"Edema": i % 2, "Mass": int(i % 4 == 0), "view": ("AP", "PA", "")[i % 3]} for i in range(20)
    ]
    data = table(tmp_path / "films", rows)
    plan = make_plan(config(tmp_path, data=[data], auxiliary=["Mass", "view"]))
    assert plan.labels == ("Edema",)
    assert plan.train.labels == ("Edema", "Mass", "view")
    for sample in plan.train.cache.samples:
        number = int(sample.image.stem)  # type: ignore[union-attr]
        view = sample.labels["view"]
        assert np.isnan(view) if number % 3 == 2 else view == (number % 3 == 0)
    assert len(class_weights(plan, "sqrt")) == 3
    with pytest.raises(DataError, match="'Hernia'"):
        make_plan(config(tmp_path, data=[data], auxiliary=["Hernia"]))
    with pytest.raises(ConfigError, match="activation=sigmoid"):
        make_plan(config(tmp_path, data=[data], auxiliary=["Mass"], activation="softmax"))


def test_a_label_is_not_auxiliary_to_itself(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'Edema' stands in labels"):
        config(tmp_path, data=["phantom:4"], labels=["Edema"], auxiliary=["Edema"])


def test_pretraining_takes_films_as_they_are_without_labels_or_masks(tmp_path: Path) -> None:
    plan = make_plan(config(tmp_path, task="pretrain", data=["phantom:20"], dimensions=5))
    assert plan.labels == tuple(f"dimension {i}" for i in range(5))
    assert plan.train.labels == plan.tune.labels == ()
    assert plan.train.cache.masks is None
    assert (plan.train.views, plan.tune.views, plan.measure) == (2, 2, "agreement")
    assert plan.train.recipe == "views"
    with pytest.raises(ConfigError, match="'unet' is made to segment"):
        make_plan(config(tmp_path, task="pretrain", data=["phantom:20"], architecture="unet"))


def test_tuning_films_are_never_cut_into_views(tmp_path: Path) -> None:
    plan = make_plan(config(tmp_path, data=["phantom:20"], recipe="views"))
    assert (plan.train.recipe, plan.tune.recipe) == ("views", "general")
    with pytest.raises(ConfigError, match="'views' cuts films without their masks"):
        config(tmp_path, data=["phantom:20"], task="segment", recipe="views")


def doubtful(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings for films: one that trains and one that tunes are uncertain, and one is unmentioned."""
    name = table(folder, edema("0011?0110011"))
    split = tuned_by(folder, 12, 4)
    uncertain, silent = {f"{folder.name}:{i}.png" for i in (0, 11)}, f"{folder.name}:4.png"

    def listed(one: str) -> Listing:
        films = listing(one).samples
        return Listing(
            samples=tuple(
                replace(film, labels={"Edema": UNCERTAIN}) if film.id in uncertain else film for film in films
            )
        )

    assert np.isnan({film.id: film for film in listing(name).samples}[silent].labels["Edema"])
    monkeypatch.setattr("hilum.training.plan.listing", listed)
    return {"data": [name], "split": split}


@pytest.mark.parametrize(
    ("settings", "first", "fifth"),
    [
        ({}, np.nan, np.nan),
        ({"uncertain": "one"}, 1, np.nan),
        ({"uncertain": {"Edema": 0.7}, "unmentioned": "zero"}, 0.7, 0),
    ],
)
def test_policies_hold_where_films_train_and_uncertain_labels_never_tune(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], first: float, fifth: float
) -> None:
    plan = make_plan(config(tmp_path, **doubtful(tmp_path / "films", monkeypatch), **settings))
    train, tune = (films.cache.truth(["Edema"])[:, 0] for films in (plan.train, plan.tune))
    np.testing.assert_array_equal(train, [first, 0, 1, 1, fifth, 0, 1, 1])
    np.testing.assert_array_equal(tune, [0, 0, 1, np.nan])


def test_the_split_is_the_same_under_every_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = doubtful(tmp_path / "films", monkeypatch)["data"]
    hashes = {
        make_plan(config(tmp_path / policy, data=data, uncertain=policy)).split.sha256
        for policy in ("ignore", "one")
    }
    assert len(hashes) == 1


def test_one_label_alone_excludes_nothing_and_none_stands_twice(tmp_path: Path) -> None:
    data = table(tmp_path / "ward", edema("01" * 8))
    split = tuned_by(tmp_path / "ward", 16, 4)
    with pytest.raises(ConfigError, match="Edema alone excludes nothing; set activation=sigmoid"):
        make_plan(config(tmp_path, data=[data], split=split, labels=["Edema"], activation="softmax"))
    with pytest.raises(ConfigError, match="label 'Edema' is named twice"):
        make_plan(config(tmp_path, data=[data], split=split, labels=["Edema", "Edema"]))


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("cnn", {"dropout": 2}),
        ("cnn", {"width": 0, "grid": 4, "depth": 2}),
        ("cnn", {"dense": -1}),
        ("cnn", {"grid": 0}),
        ("vit", {"patch": 0}),
        ("vit", {"backbone": "nosuch"}),
    ],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_arguments_that_no_network_can_have_are_told_before_any_work(
    tmp_path: Path, architecture: str, arguments: dict[str, Any]
) -> None:
    wrong = config(tmp_path, data=["phantom:9"], architecture=architecture, arguments=arguments)
    with pytest.raises(ConfigError, match=f"architecture='{architecture}'.*{next(iter(arguments))}"):
        sized(wrong)


def test_a_task_that_is_no_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be one of"):
        train_config({"task": ["classify"], "data": ["phantom:9"]})


def test_a_label_must_be_told_of_films_that_train(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    rows: Rows = [{"Edema": i % 2, "Mass": i % 2 if i >= 8 else "", "patient": f"p{i}"} for i in range(12)]
    data = table(ours, rows)
    write_split(
        Split(parts={f"ours:p{i}": "0" if i >= 8 else "1" for i in range(12)}, sha256=""), tmp_path / "s.csv"
    )
    settings = {"data": [data], "split": tmp_path / "s.csv"}
    with pytest.raises(DataError, match="label 'Mass': no training film has a value"):
        make_plan(config(tmp_path, **settings))
    more = table(tmp_path / "more", [{"Edema": "", "Mass": i % 2, "patient": f"q{i}"} for i in range(4)])
    assert make_plan(config(tmp_path, **settings, extra=[more])).labels == ("Edema", "Mass")


def test_films_that_name_no_patient_and_labels_left_aside_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    named: Rows = [dict.fromkeys(SIX, i % 2) | {"patient": f"p{i}"} for i in range(20)]
    make_plan(config(tmp_path / "a", data=[table(tmp_path / "named", named)]))
    assert not caplog.messages
    unnamed: Rows = [dict.fromkeys(SIX, i % 2) | {"Mass": i % 2} for i in range(20)]
    data = table(tmp_path / "unnamed", unnamed)
    assert make_plan(config(tmp_path / "b", data=[data])).labels == SIX
    assert caplog.messages[0].startswith("20 of 20 films name no patient")
    assert "the data also have Mass: set labels=[...] to learn others" in caplog.messages[1]
    caplog.clear()
    make_plan(config(tmp_path / "c", data=[data], labels=["Mass"]))
    assert [message[:8] for message in caplog.messages] == ["20 of 20"]


def test_a_stem_without_imagenet_weights_begins_at_random(tmp_path: Path) -> None:
    for stem, start in (("patches", "imagenet"), ("convolutions", "random")):
        asked = config(
            tmp_path, start="auto", architecture="vit", arguments={"stem": stem}, data=["phantom:4"]
        )
        assert started(asked).start == start


def test_weights_that_find_no_place_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    small = {"architecture": "cnn", "arguments": {"width": 2, "depth": 2, "grid": 4, "dense": 8}}
    first = config(tmp_path, data=["phantom:12"], epochs=1, **small)
    train(first)
    caplog.clear()
    other = small | {"arguments": small["arguments"] | {"grid": 2}}
    again = config(tmp_path, data=["phantom:12"], **other).model_copy(update={"start": str(first.out)})
    network(again, make_plan(again))
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "has no fitting dense.weight; these start at random"
    ]
