"""From the best weights to a checkpoint that says how good it is: all of it from the tuning part."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

import hilum
from hilum.calibration.calibrate import fit_classes, fit_platt, of_one_class, probabilities
from hilum.calibration.decide import fit_threshold, margins
from hilum.card import Calibration, Card, read_card
from hilum.config import TrainConfig, train_config
from hilum.data import open_data
from hilum.data.split import Split, write_split
from hilum.models import MODELS, TASKS, build
from hilum.runtime import Runtime
from hilum.statistics.scores import patient_weights
from hilum.training import finish as finishing
from hilum.training.batches import Batch, Films, in_order
from hilum.training.finish import finish, tuning_score
from hilum.training.losses import Outputs, multilabel_loss, segmentation_loss
from hilum.training.plan import Plan, make_plan
from hilum.types import STRUCTURES, Array

SIZE = 32
LABELS = ("No Finding", "Edema", "Cardiomegaly")


class Dots(nn.Module):
    """A classifier that is exported in a second: a few filters, then evidence."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.filters = nn.Conv2d(1, 8, 5, stride=4)
        self.head = nn.Conv2d(8, labels, 1)
        nn.init.normal_(self.head.weight, std=3)  # logits far enough apart to survive half precision

    def forward(self, films: Tensor) -> dict[str, Tensor]:
        evidence = self.head(self.filters(films).relu())
        return {"logits": evidence.mean(dim=(2, 3)), "evidence": evidence}


@pytest.fixture(scope="module", autouse=True)
def dots() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks this small only wait for each other's threads
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "dots", Dots)
        patch.setitem(TASKS, "dots", "classify")
        yield
    torch.set_num_threads(threads)


def divided(folder: Path, data: str, rare: str) -> Path:
    """A split by patient of which three fifths tune; films with the label `rare` all train."""
    samples = open_data(data)
    patients = sorted({sample.patient for sample in samples})
    parts = {patient: "0" if i % 5 < 3 else "1" for i, patient in enumerate(patients)}
    parts |= {sample.patient: "1" for sample in samples if sample.labels.get(rare) == 1}
    write_split(Split(parts=parts, sha256=""), folder / "split.csv")
    return folder / "split.csv"


def config(folder: Path, rare: str = "", data: str = "phantom:40", **settings: Any) -> TrainConfig:
    about: dict[str, Any] = {"data": [data], "preparation": {"size": SIZE}, "out": folder / "run"}
    if settings["task"] == "classify":
        about |= {"architecture": "dots", "labels": LABELS, "start": "random"}
    return train_config({"split": divided(folder, data, rare), "seed": 3} | about | settings)


def of_graph(folder: Path, films: Films) -> tuple[Array, Array]:
    """The exported graph's logits for every film, and the films' labels or masks."""
    runtime = Runtime(folder / "checkpoint", threads=1)
    batches = list(in_order(films, 7))
    logits = [runtime(batch["films"].numpy())["logits"] for batch in batches]
    truth = [batch["labels" if films.labels else "masks"].numpy() for batch in batches]
    return np.concatenate(logits), np.concatenate(truth)


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, Card, Plan]:
    folder = tmp_path_factory.mktemp("classified")
    about = {"name": "mine", "version": "2.0", "intended_use": "Tests."}
    chosen = config(folder, data="phantom:100", task="classify", **about)
    return chosen, *finished(chosen)


def finished(chosen: TrainConfig) -> tuple[Card, Plan]:
    plan = make_plan(chosen)
    module = build("dots", len(plan.labels), seed=1).eval()
    return finish(module, chosen, plan), plan


def test_calibration_thresholds_and_metrics_are_those_of_the_graph_on_the_tuning_films(
    classified: tuple[TrainConfig, Card, Plan],
) -> None:
    chosen, card, plan = classified
    assert read_card(chosen.out / "checkpoint") == card
    assert card.activation == "sigmoid"
    logits, truth = of_graph(chosen.out, plan.tune)
    scores = probabilities(logits, card)
    patients = np.array([sample.patient for sample in plan.tune.cache.samples])
    assert len(set(patients.tolist())) < len(patients)  # of whom each counts as one
    assert card.calibration["No Finding"].slope != 1  # films enough to fit one
    for i, label in enumerate(LABELS):
        platt = fit_platt(logits[:, i], truth[:, i], patients)
        assert card.calibration[label].slope == pytest.approx(platt.slope, rel=1e-2)
        assert card.calibration[label].intercept == pytest.approx(platt.intercept, abs=1e-2)
        assert card.calibration[label].events == truth[:, i].sum()
        threshold = fit_threshold(scores[:, i], truth[:, i])
        assert card.thresholds[label].value == pytest.approx(threshold.value, abs=1e-2)
        metric = next(metric for metric in card.metrics if metric.name == f"AUROC {label}")
        assert metric.value == pytest.approx(roc_auc_score(truth[:, i], logits[:, i]), abs=1e-2)
        assert (metric.n, metric.part) == (len(truth), "tuning")
        ill = int(truth[:, i].sum())
        if min(ill, len(truth) - ill) < 10:  # an interval of so few would be far too narrow
            assert (metric.low, metric.high) == (None, None)
        else:
            assert metric.low is not None and metric.high is not None
            assert metric.low < metric.value < metric.high
    assert {metric.low is None for metric in card.metrics} == {False, True}
    assert len(card.metrics) == len(LABELS)
    patients = len({sample.patient for sample in plan.tune.cache.samples})
    assert f"{len(truth)} films of {patients} patients" in card.threshold_data
    assert card.split_sha256[:12] in card.threshold_data


def test_the_card_says_where_everything_comes_from(classified: tuple[TrainConfig, Card, Plan]) -> None:
    chosen, card, plan = classified
    split = chosen.out.parent / "split.csv"
    assert (card.name, card.version, card.task, card.labels) == ("mine", "2.0", "classify", LABELS)
    (source,) = card.sources
    trained = plan.train.cache.samples
    assert source.name == "phantom:100"
    assert source.films == len(trained) != len(plan.tune)
    assert source.patients == len({sample.patient for sample in trained})
    assert card.split_sha256 == hashlib.sha256(split.read_bytes()).hexdigest()
    assert re.fullmatch(r"([0-9a-f]{40}(-dirty)?)?", card.commit)
    assert card.packages["hilum"] == hilum.__version__
    assert card.packages["torch"] == torch.__version__
    assert {"numpy", "onnx", "onnxruntime", "timm"} <= card.packages.keys()
    assert card.config["rate"] == chosen.rate
    assert str(split.parent) not in (chosen.out / "checkpoint" / "card.json").read_text()
    assert (card.seed, card.intended_use) == (3, "Tests.")


def test_a_label_that_the_tuning_part_cannot_score_costs_its_figure_not_the_run(tmp_path: Path) -> None:
    chosen = config(tmp_path, "Edema", task="classify")
    card, _ = finished(chosen)
    assert [metric.name for metric in card.metrics] == ["AUROC No Finding", "AUROC Cardiomegaly"]
    assert "Edema" in card.thresholds
    assert Runtime(chosen.out / "checkpoint", threads=1).card == card


@pytest.mark.parametrize("weighting", ["none", "sqrt"])
def test_classes_are_as_probable_as_they_are_frequent_and_called_as_training_meant(
    weighting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finishing, "save", lambda _folder, _module, card: card)
    seen: list[np.ndarray] = []

    def seeing(logits: np.ndarray, *others: Any) -> tuple[Calibration, ...]:
        seen.append(logits)
        return fit_classes(logits, *others)

    monkeypatch.setattr(finishing, "fit_classes", seeing)
    card, plan = finished(config(tmp_path, task="classify", activation="softmax", weighting=weighting))
    assert plan.activation == card.activation == "softmax"
    assert card.calibration.keys() == set(card.labels)
    assert len({one.slope for one in card.calibration.values()}) == 1
    assert not card.thresholds
    assert len(card.metrics) == len(LABELS)
    (logits,) = seen
    said = probabilities(logits, card)
    truth = plan.tune.cache.truth(plan.labels)
    one = of_one_class(truth)
    by_patient = patient_weights(np.array([sample.patient for sample in plan.tune.cache.samples])[one])
    found, expected = (np.average(of[one], axis=0, weights=by_patient) for of in (said, truth))
    assert found == pytest.approx(expected, abs=0.1)
    meant = logits if weighting == "sqrt" else said
    np.testing.assert_array_equal(margins(said, card).argmax(axis=1), meant.argmax(axis=1))
    assert bool(card.leaning) == (weighting == "sqrt")


def test_outlines_are_measured_by_dice_on_the_tuning_films(tmp_path: Path) -> None:
    chosen = config(tmp_path, task="segment", arguments={"width": 4, "depth": 2})
    plan = make_plan(chosen)
    module = build("unet", 3, seed=0, width=4, depth=2)
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(30):  # until the outlines are of some use
        for batch in in_order(plan.train, 8):
            segmentation_loss(module(batch["films"]), batch["masks"], batch["known"]).backward()
            optimizer.step()
            optimizer.zero_grad()
    card = finish(module.eval(), chosen, plan)
    logits, masks = of_graph(chosen.out, plan.tune)
    assert [metric.name for metric in card.metrics] == [f"Dice {name}" for name in (*STRUCTURES, "lungs")]
    found = logits > 0
    planes = {name: (masks == i + 1, found[:, i]) for i, name in enumerate(STRUCTURES)}
    planes["lungs"] = ((masks == 1) | (masks == 2), found[:, 0] | found[:, 1])
    for metric in card.metrics:
        truth, own = planes[metric.name.removeprefix("Dice ")]
        overlap = 2 * (truth & own).sum(axis=(1, 2)) / (truth.sum(axis=(1, 2)) + own.sum(axis=(1, 2)))
        assert metric.value == pytest.approx(overlap.mean(), abs=1e-2)
        assert metric.n == len(masks)
    assert card.metrics[-1].value > 0.5
    assert not card.thresholds


def test_the_score_is_the_mean_auroc_of_labels_that_occur(tmp_path: Path) -> None:
    plan = make_plan(config(tmp_path, "Edema", task="classify"))
    module = build("dots", len(LABELS), seed=1).eval()

    def loss(outputs: Outputs, batch: Batch) -> Tensor:
        return multilabel_loss(outputs["logits"], batch["labels"], torch.ones(len(LABELS)))

    value, mean = tuning_score(module, plan, loss, torch.device("cpu"))
    (batch,) = in_order(plan.tune, len(plan.tune))
    with torch.no_grad():
        outputs = module(batch["films"])
    logits = outputs["logits"]
    assert value == pytest.approx(loss(outputs, batch).item(), rel=1e-5)
    aurocs = [roc_auc_score(batch["labels"][:, i], logits[:, i]) for i in (0, 2)]  # no Edema tunes
    assert mean == pytest.approx(np.mean(aurocs))


def test_the_commit_is_that_of_the_code_not_of_what_lies_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=N", "-c", "user.email=n@example.org"]
        finishing.subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True)

    code = tmp_path / "finish.py"
    code.write_text("")
    monkeypatch.setattr(finishing, "__file__", str(code))
    assert finishing._commit() == ""
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "another project")
    assert finishing._commit() == ""
    git("add", "finish.py")
    git("commit", "-q", "-m", "code")
    git("tag", "v1")
    assert re.fullmatch("[0-9a-f]{40}", finishing._commit())
    code.write_text("# changed")
    assert finishing._commit().endswith("-dirty")


def test_classes_that_exclude_one_another_are_scored_by_what_the_model_says(tmp_path: Path) -> None:
    """A shift that all classes of a film share means nothing: it cancels in the softmax."""
    chosen = config(tmp_path, data="phantom:100", task="classify", activation="softmax")
    plan = make_plan(chosen)

    class Shifted(nn.Module):
        def __init__(self, shift: float) -> None:
            super().__init__()
            self.module, self.shift = build("dots", len(plan.labels), seed=1).eval(), shift

        def forward(self, films: Tensor) -> dict[str, Tensor]:
            logits = self.module(films)["logits"]
            noise = films.mean(dim=(1, 2, 3), keepdim=False)[:, None] * self.shift
            return {"logits": logits + noise}

    def loss(outputs: Outputs, _: Batch) -> Tensor:
        return outputs["logits"].mean()

    plain, shifted = (
        tuning_score(Shifted(shift), plan, loss, torch.device("cpu"))[1] for shift in (0.0, 50.0)
    )
    assert shifted == pytest.approx(plain, abs=1e-6)
