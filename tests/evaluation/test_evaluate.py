"""Evaluation of classifiers: figures worked out by hand, on films whose right answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import hilum
from hilum.calibration.calibrate import logit
from hilum.card import Calibration, Card, Preparation, Threshold
from hilum.data import open_data
from hilum.data.cache import Cache, cached
from hilum.data.opened import pixels_of
from hilum.errors import ConfigError
from hilum.evaluation.evaluate import evaluate, films_for, judge
from hilum.evaluation.figures import Evaluation, Figure
from hilum.labels import SIX
from hilum.prepare import levels
from hilum.runtime import Runtime, find
from hilum.types import Array, Sample

NAN = float("nan")
SIZE = 64


@dataclass
class Stub:
    """In the place of a loaded checkpoint: says the logits it was given, film after film."""

    card: Card
    logits: Sequence[Any] | Array
    seen: list[Array] = field(default_factory=list)

    def __call__(self, films: Array) -> dict[str, Array]:
        start = sum(map(len, self.seen))
        self.seen.append(films)
        return {"logits": np.asarray(self.logits[start : start + len(films)], np.float32)}


def card(labels: Sequence[str] = SIX, **more: object) -> Card:
    fields = {"name": "stub", "version": "1", "task": "classify", "labels": labels, "architecture": "none"}
    return Card.model_validate(fields | {"preparation": Preparation(size=SIZE)} | more)


def films(labels: Sequence[dict[str, float]], patients: Sequence[str] = ()) -> Cache:
    """A cache of blank films with these labels."""
    names = patients or [f"p{i}" for i in range(len(labels))]
    samples = tuple(
        Sample(id=f"f{i}", patient=name, image=Path("x.png"), labels=carried)
        for i, (carried, name) in enumerate(zip(labels, names, strict=True))
    )
    return Cache(
        samples=samples, films=np.zeros((len(samples), SIZE, SIZE), np.uint8), masks=None, failures={}
    )


def run(stub: Stub, cache: Cache, **more: Any) -> Evaluation:
    return evaluate(stub, cache, **{"repeats": 50, **more})  # type: ignore[arg-type]


def values(evaluation: Evaluation) -> dict[tuple[str, str], float]:
    return {
        (figure.subject, figure.measure): figure.value
        for figure in evaluation.figures
        if not figure.condition.startswith(("against", "coverage"))
    }


def one(evaluation: Evaluation, subject: str, measure: str) -> Figure:
    asked = (subject, measure, "")
    (found,) = (f for f in evaluation.figures if (f.subject, f.measure, f.condition) == asked)
    return found


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return cached(open_data("phantom:40@4"), SIZE, tmp_path_factory.mktemp("cache"))


def test_scores_of_a_label_by_hand() -> None:
    truth = [1.0, 1.0, 0.0, 0.0, NAN]
    logits = [2.0, -1.0, 0.0, -2.0, 9.0]
    cache = films([{"Edema": value} for value in truth])
    evaluation = run(Stub(card(labels=["Edema"]), np.array(logits)[:, None]), cache)
    p = 1 / (1 + np.exp(-np.array(logits[:4])))
    found = values(evaluation)
    # Of four pairs, a positive outscores a negative in three. The film of unknown label counts nowhere.
    assert found["Edema", "AUROC"] == pytest.approx(0.75)
    assert found["Edema", "average precision"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert found["Edema", "Brier score"] == pytest.approx(np.mean((p - truth[:4]) ** 2))
    assert found["Edema", "calibration error"] == pytest.approx(np.mean(np.abs(p - truth[:4])))
    figure = one(evaluation, "Edema", "AUROC")
    assert (figure.films, figure.positives) == (4, 2)
    conditions = {figure.condition for figure in evaluation.figures}
    assert {one for one in conditions if "coverage" not in one} == {"", "at the threshold"}
    assert evaluation.confusion == {}
    (row, *_) = evaluation.tables["films"]
    assert (row["film"], row["patient"], row["Edema"]) == ("f0", "p0", 1.0)
    assert row["Edema probability"] == pytest.approx(p[0])
    assert row["Edema margin"] == pytest.approx(2.0)  # no threshold given: above one half


def test_the_cards_calibration_is_applied() -> None:
    calibrated = card(labels=["Edema"], calibration={"Edema": Calibration(slope=2, intercept=-1)})
    cache = films([{"Edema": 1.0}, {"Edema": 0.0}])
    found = values(run(Stub(calibrated, [[1.5], [0.5]]), cache))
    expected = np.mean([(1 / (1 + math.exp(-2)) - 1) ** 2, 0.5**2])
    assert found["Edema", "Brier score"] == pytest.approx(expected)


def test_the_mean_over_findings_leaves_no_finding_out() -> None:
    labels = ["No Finding", "Edema", "Mass"]
    rows = [(0, 1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 1), (0, NAN, 1)]
    logits = [(-3, 2, 1), (-3, 1, -1), (3, 0, 0), (-3, 0.5, 2), (0, 0, 0)]
    cache = films([dict(zip(labels, map(float, row), strict=True)) for row in rows])
    evaluation = run(Stub(card(labels=labels), logits), cache)
    figure = one(evaluation, "mean of 2 findings", "AUROC")
    # Each on the films where it is known: Edema 3 of 4 pairs; Mass -1, 2 and 0 over 1 and 0, 2.5 of 6.
    assert figure.value == pytest.approx((3 / 4 + 2.5 / 6) / 2)
    assert figure.films == 5


def test_a_finding_that_the_films_do_not_tell_leaves_the_mean_of_the_others() -> None:
    labels = ["Edema", "Mass", "Hernia", "No Finding"]
    rows = [(1, 0, NAN, 0), (0, 1, NAN, 0), (0, 0, NAN, 1), (1, 1, NAN, 0)]
    logits = [(2, -1, 0, 0), (1, 1, 0, 0), (0, 0, 0, 3), (3, 2, 0, 0)]
    cache = films([dict(zip(labels, map(float, row), strict=True)) for row in rows])
    evaluation = run(Stub(card(labels=labels), logits), cache)
    assert one(evaluation, "mean of 2 findings", "AUROC").value == 1
    # Nor can it be the one label: the question is which of the other three.
    assert one(evaluation, "films with exactly one of the 3", "accuracy").films == 3


def test_six_way_figures_rest_on_films_with_exactly_one_label() -> None:
    labels = [*SIX[::-1], "Mass"]  # not in the six's order, and one that is none of them
    none, effusion, edema, _, _, atelectasis, mass = np.eye(7)
    rows = [
        (edema, 3 * edema + atelectasis + 9 * mass),  # called edema although the mass scores higher
        (edema + mass, atelectasis),  # one of the six, and called another
        (atelectasis, atelectasis),
        (none, 5 * none),
        (edema + atelectasis, 9 * edema),  # two of the six
        (mass, 9 * edema),  # none of the six
        (effusion + np.nan * atelectasis, effusion),  # perhaps two
    ]
    cache = films([dict(zip(labels, truth.tolist(), strict=True)) for truth, _ in rows])
    evaluation = run(Stub(card(labels=labels), [logits.tolist() for _, logits in rows]), cache)
    subject = "films with exactly one of the 6"
    seen = {true: {call: n for call, n in row.items() if n} for true, row in evaluation.confusion.items()}
    assert tuple(seen) == SIX
    assert {true: row for true, row in seen.items() if row} == {
        "Atelectasis": {"Atelectasis": 1},
        "Edema": {"Atelectasis": 1, "Edema": 1},
        "No Finding": {"No Finding": 1},
    }
    assert one(evaluation, subject, "accuracy").value == pytest.approx(3 / 4)
    assert one(evaluation, subject, "accuracy").films == 4
    assert one(evaluation, subject, "macro F1").value == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert one(evaluation, subject, "balanced accuracy").value == pytest.approx((1 / 2 + 1 + 1) / 3)


def test_a_model_of_other_labels_is_asked_for_one_of_its_own() -> None:
    labels = ["Pleural Effusion", "Normal", "Pneumothorax"]
    truth = np.eye(3)[[0, 1, 2, 2]]
    cache = films([dict(zip(labels, row, strict=True)) for row in truth.tolist()])
    logits = [[2, 0, 0], [0, 2, 0], [0, 0, 2], [1, 0, 0]]
    evaluation = run(Stub(card(labels=labels, activation="softmax"), logits), cache)
    assert one(evaluation, "films with exactly one of the 3", "accuracy").value == pytest.approx(3 / 4)
    assert evaluation.confusion["Pneumothorax"] == {"Pleural Effusion": 1, "Normal": 0, "Pneumothorax": 1}


def test_what_stands_furthest_above_its_own_threshold_may_be_rare() -> None:
    rare = Threshold(value=0.1, low=0.1, high=0.1, rule="")
    rows = [((1.0, 0.0), (-1.0, 0.5)), ((0.0, 1.0), (-4.0, 0.5)), ((1.0, 0.0), (-2.1, 0.2))]
    cache = films([{"Edema": edema, "No Finding": none} for (edema, none), _ in rows])
    about = card(labels=["Edema", "No Finding"], thresholds={"Edema": rare})  # a logit of -2.2
    evaluation = run(Stub(about, [logits for _, logits in rows]), cache)
    subject = "films with exactly one of the 2"
    # By probability all three are called No Finding; by threshold the first is called edema, by 1.2 to 0.5.
    assert one(evaluation, subject, "balanced accuracy").value == pytest.approx((0 + 1) / 2)
    assert one(evaluation, subject, "balanced accuracy by threshold").value == pytest.approx((1 / 2 + 1) / 2)


def test_films_that_the_labels_cannot_tell_give_nan() -> None:
    cache = films([{"Edema": 0.0}, {"Edema": 0.0}])
    evaluation = run(Stub(card(labels=["Edema", "Mass"]), [[0, 1], [1, 0]]), cache)
    assert math.isnan(one(evaluation, "Edema", "AUROC").value)
    assert one(evaluation, "Edema", "Brier score").value > 0
    figure = one(evaluation, "Mass", "Brier score")
    assert math.isnan(figure.value)
    assert (figure.films, figure.positives) == (0, 0)


def test_a_model_of_no_finding_alone_has_no_mean_over_findings() -> None:
    cache = films([{"No Finding": 1.0}, {"No Finding": 0.0}])
    found = values(run(Stub(card(labels=["No Finding"]), [[1], [0]]), cache))
    assert {subject for subject, _ in found} == {"No Finding"}
    assert found["No Finding", "AUROC"] == 1


def test_intervals_hold_the_value_and_are_drawn_over_patients() -> None:
    rng = np.random.default_rng(0)
    truth = np.tile([0.0, 1.0], 30)
    logits = (truth + rng.normal(size=60))[:, None]
    labels = [{"Edema": value} for value in truth]
    alone = one(run(Stub(card(labels=["Edema"]), logits), films(labels)), "Edema", "AUROC")
    again = one(run(Stub(card(labels=["Edema"]), logits), films(labels)), "Edema", "AUROC")
    other = one(run(Stub(card(labels=["Edema"]), logits), films(labels), seed=1), "Edema", "AUROC")
    assert alone.low < alone.value < alone.high
    assert alone == again
    assert other.value == alone.value
    assert (other.low, other.high) != (alone.low, alone.high)
    same = films(labels, ["p"] * 60)  # sixty films of one patient tell nothing about other patients
    single = one(run(Stub(card(labels=["Edema"]), logits), same), "Edema", "AUROC")
    assert math.isnan(single.low)
    assert math.isnan(single.high)
    assert single.value == alone.value


def test_a_model_that_knows_the_phantoms_scores_perfectly(phantoms: Cache) -> None:
    logits = [[4 * sample.labels[name] - 2 for name in SIX] for sample in phantoms.samples]
    stub = Stub(card(), logits)
    evaluation = run(stub, phantoms)
    found = values(evaluation)
    for name in SIX:
        positives = sum(sample.labels[name] == 1 for sample in phantoms.samples)
        assert 0 < positives < 40
        assert one(evaluation, name, "AUROC").positives == positives
        assert found[name, "AUROC"] == found[name, "average precision"] == 1
        assert found[name, "Brier score"] == pytest.approx((1 / (1 + math.exp(2))) ** 2)
    assert found["mean of 5 findings", "AUROC"] == 1
    single = [s for s in phantoms.samples if sum(s.labels.values()) == 1]
    figure = one(evaluation, "films with exactly one of the 6", "accuracy")
    assert (figure.value, figure.low, figure.high, figure.films) == (1, 1, 1, len(single))
    assert sum(sum(row.values()) for row in evaluation.confusion.values()) == len(single)


def test_the_model_sees_every_film_once_prepared_as_its_card_says(phantoms: Cache) -> None:
    preparation = Preparation(size=SIZE, low=5, high=95, mean=0.4, std=0.3)
    stub, said = Stub(card(preparation=preparation), np.zeros((40, 6))), []
    run(stub, phantoms, tick=lambda *now: said.append(now))
    assert max(map(len, stub.seen)) <= 16
    seen = np.concatenate(stub.seen)
    assert seen.shape == (40, 1, SIZE, SIZE)
    assert seen.dtype == np.float32
    for film, stored in zip(seen, phantoms.films, strict=True):
        np.testing.assert_array_equal(film[0], levels(stored.astype(np.float32) / 255, preparation))
    assert [done for done, _, _ in said] == [16, 32, 40]
    assert {total for _, total, _ in said} == {40}


def test_films_that_could_not_be_read_shift_nothing(tmp_path: Path) -> None:
    samples = []
    for i in range(20):
        path = tmp_path / f"{i}.png"
        ramp = np.tile(np.linspace(0, 10 * (i + 1), 96).astype(np.uint8), (96, 1))
        path.write_bytes(b"broken" if i == 3 else cv2.imencode(".png", ramp)[1].tobytes())
        samples.append(Sample(id=str(i), patient=str(i), image=path, labels={"Edema": float(i % 2)}))
    cache = cached(samples, SIZE, tmp_path / "cache")
    stub = Stub(card(labels=["Edema"]), [[float(i % 2)] for i in range(20) if i != 3])
    figure = one(run(stub, cache), "Edema", "AUROC")
    assert (figure.films, figure.positives, figure.value) == (19, 9, 1)
    assert sum(map(len, stub.seen)) == 19


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: films([]), "no films to evaluate on; check the data set and the part"),
        (lambda: films([{"Hernia": 1.0}]), "the films have none of Atelectasis, .*; give other data"),
        (lambda: films([{"Edema": NAN}]), "the films have none of Atelectasis"),
    ],
)
def test_films_that_do_not_suit_the_model_are_refused(make: Callable[[], Cache], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(Stub(card(), np.zeros((1, 6))), make())


def test_a_specialists_word_counts_where_the_classifier_left_its_label_open() -> None:
    rule = Threshold(value=0.5, low=0.4, high=0.6, rule="")
    general = card(labels=["Edema", "Mass"], thresholds={"Edema": rule, "Mass": rule})
    second = card(labels=["Mass"])
    cache = films([{"Edema": 1.0, "Mass": 0.0}, {"Edema": 0.0, "Mass": 1.0}, {"Edema": 0.0, "Mass": 0.0}])
    logits = [[2.0, 0.1], [-2.0, -0.1], [0.0, -3.0]]  # of the third only edema is left open
    alone = values(run(Stub(general, logits), cache))
    both = values(run(Stub(general, logits), cache, specialist=Stub(second, [[-1.0], [1.0], [9.0]])))
    assert alone["Mass", "AUROC"] == 0.5
    assert both["Mass", "AUROC"] == 1.0
    assert both["Edema", "AUROC"] == alone["Edema", "AUROC"]
    assert both["films", "share shown to the specialist"] == pytest.approx(2 / 3)
    for wrong in (card(labels=["Nodule"]), card(labels=["Mass"], preparation=Preparation(size=2 * SIZE))):
        with pytest.raises(ConfigError, match="stub: its labels must be stub's, or some of them"):
            run(Stub(general, logits), cache, specialist=Stub(wrong, logits))


def test_films_are_judged_as_the_pipeline_judges_them(tmp_path: Path) -> None:
    """Also those of which 8 bits would keep too few grey levels."""
    samples = []
    for i, sample in enumerate(open_data("phantom:3@5")):
        path = tmp_path / f"{i}.png"
        faint = np.rint(20_000 + 1500 * pixels_of(sample.image)).astype(np.uint16)
        path.write_bytes(cv2.imencode(".png", faint)[1].tobytes())
        samples.append(replace(sample, image=path, masks=None))
    runtime = Runtime(find("hilum-six"))
    found = judge(runtime, films_for([runtime.card], samples, tmp_path / "cache"))
    pipeline = hilum.load()
    for row, sample in zip(found.probabilities, samples, strict=True):
        prediction = pipeline(sample.image).prediction
        assert prediction is not None
        np.testing.assert_allclose(logit(row), logit(np.array(prediction.probabilities)), atol=2e-3)
