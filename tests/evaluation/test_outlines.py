"""Evaluation of segmenters: drawn chests, so that every figure is known by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, spearmanr
from sklearn.metrics import roc_auc_score

from hilum.card import Card, Preparation, Reliability
from hilum.data import open_data
from hilum.data.cache import Cache, cached
from hilum.errors import ConfigError
from hilum.evaluation import outlines as evaluate_outlines
from hilum.evaluation.evaluate import evaluate
from hilum.evaluation.figures import Evaluation, Figure
from hilum.evaluation.stress import STRESSES
from hilum.prepare import levels
from hilum.types import STRUCTURES, Array, Sample

SIZE = 64
ALL = frozenset(STRUCTURES)
SIDES = frozenset(STRUCTURES[:2])


def box(top: int, bottom: int, left: int, right: int) -> Array:
    shape = np.zeros((SIZE, SIZE), bool)
    shape[top:bottom, left:right] = True
    return shape


def heart(left: int, right: int) -> Array:
    return box(50, 60, left, right)


NOTHING = box(0, 0, 0, 0)
RIGHT, LEFT, HEART = box(8, 48, 6, 26), box(8, 48, 36, 56), heart(26, 46)  # thorax 50 wide, heart 20
CHEST = (RIGHT, LEFT, HEART)


def label_map(right: Array, left: Array, heart: Array) -> Array:
    return np.select([right, left, heart], [1, 2, 3], 0).astype(np.uint8)


def says(*shapes: Array, promises: Sequence[float] = (1, 1, 1)) -> Array:
    """Logits (1, 3, S, S) of a network that finds these shapes and promises these Dice, above 2/3, of them.

    Of a shape that has the probability p, and nothing around it, a Dice of 2p / (1 + p) is promised.
    """
    doubts = [12.0 if promise == 1 else math.log(promise / (2 - 2 * promise)) for promise in promises]
    planes = [np.where(shape, doubt, -20.0) for shape, doubt in zip(shapes, doubts, strict=True)]
    return np.stack(planes)[None].astype(np.float32)


# The promise itself is the quality, and unreliable below 0.8.
PLAIN = {name: Reliability(intercept=0, slope=1, threshold=0.8) for name in STRUCTURES}


@dataclass
class Stub:
    """In the place of a loaded segmenter: says the logits it was given, film after film."""

    answers: Sequence[Array]
    labels: tuple[str, ...] = STRUCTURES
    reliability: dict[str, Reliability] = field(default_factory=lambda: PLAIN)
    seen: list[Array] = field(default_factory=list)

    @property
    def card(self) -> Card:
        fields = {"name": "stub", "version": "1", "task": "segment", "architecture": "none"}
        return Card.model_validate(
            fields
            | {"labels": self.labels, "preparation": Preparation(size=SIZE), "reliability": self.reliability}
        )

    def __call__(self, films: Array) -> dict[str, Array]:
        assert films.shape == (1, 1, SIZE, SIZE)  # once a film
        self.seen.append(films)
        return {"logits": self.answers[len(self.seen) - 1]}


def cache(
    masks: Sequence[Array] | None,
    shown: Sequence[frozenset[str]] = (),
    about: Sequence[dict[str, Any]] = (),
) -> Cache:
    """Films of noise with these masks, or without any; `about` is the rest of each sample."""
    count = len(about) if masks is None else len(masks)
    structures = shown or [frozenset() if masks is None else ALL] * count
    samples = tuple(
        Sample(**{"id": f"f{i}", "patient": f"p{i}", "image": Path("x.png"), "structures": what, **more})
        for i, (what, more) in enumerate(zip(structures, about or [{}] * count, strict=True))
    )
    films = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE)).astype(np.uint8)
    return Cache(samples=samples, films=films, masks=None if masks is None else np.stack(masks), failures={})


def run(stub: Stub, films: Cache, **more: Any) -> Evaluation:
    return evaluate(stub, films, **{"repeats": 20, **more})  # type: ignore[arg-type]


def one(evaluation: Evaluation, subject: str, measure: str, condition: str = "") -> Figure:
    wanted = (subject, measure, condition)
    (found,) = (f for f in evaluation.figures if (f.subject, f.measure, f.condition) == wanted)
    return found


def value(evaluation: Evaluation, subject: str, measure: str, condition: str = "") -> float:
    return one(evaluation, subject, measure, condition).value


def test_overlap_and_distances_by_hand() -> None:
    right, left = box(4, 12, 4, 12), box(20, 40, 40, 60)
    found = says(box(4, 12, 5, 13), left, NOTHING)  # a column off, exact, missing
    evaluation = run(Stub([found]), cache([label_map(right, left, HEART)]))
    assert value(evaluation, "right_lung", "Dice") == pytest.approx(56 / 64)
    assert value(evaluation, "right_lung", "IoU") == pytest.approx(56 / 72)
    assert value(evaluation, "right_lung", "pixel accuracy") == pytest.approx(1 - 16 / SIZE**2)
    assert value(evaluation, "right_lung", "HD95, pixels") == 1
    # Of the 28 pixels of either outline, the 14 on the upright sides but for two corners are one pixel off.
    assert value(evaluation, "right_lung", "surface distance, pixels") == pytest.approx(0.5)
    assert value(evaluation, "left_lung", "Dice") == value(evaluation, "left_lung", "IoU") == 1
    assert value(evaluation, "left_lung", "HD95, pixels") == 0
    assert value(evaluation, "heart", "Dice") == 0
    assert math.isnan(value(evaluation, "heart", "HD95, pixels"))  # no distance to what is not there
    assert one(evaluation, "heart", "HD95, pixels").films == 0
    assert value(evaluation, "lungs", "Dice") == pytest.approx((56 + 400) / (64 + 400))
    assert evaluation.confusion == {}


def test_a_missed_structure_has_no_distance_but_counts_as_missed() -> None:
    seen = [says(RIGHT, LEFT, heart(28, 48)), says(RIGHT, LEFT, NOTHING)]
    evaluation = run(Stub(seen), cache([label_map(*CHEST)] * 2))
    distance = one(evaluation, "heart", "HD95, pixels")
    assert (distance.value, distance.films) == (2, 1)
    overlapping = one(evaluation, "heart", "Dice")
    assert overlapping.value == pytest.approx((18 / 20 + 0) / 2)
    assert overlapping.films == 2
    missed = one(evaluation, "heart", "share not found")
    assert (missed.value, missed.films) == (1 / 2, 2)
    assert value(evaluation, "lungs", "share not found") == 0


@pytest.mark.parametrize("count", [1, 4, 30])
def test_a_share_that_is_none_or_all_has_its_exact_bound(count: int) -> None:
    # Six films in all of each patient: they say no more than one.
    about = [{"patient": f"p{i % count}"} for i in range(6 * count)]
    seen = [says(RIGHT, LEFT, NOTHING)] * len(about)
    evaluation = run(Stub(seen), cache([label_map(*CHEST)] * len(about), about=about), repeats=5)
    # Of none in `count`, the bound is where none at all has a chance of one in forty.
    bound = binomtest(0, count).proportion_ci(0.95, "exact").high
    for measure in ("share not found", "share below Dice 0.85", "share below Dice 0.90"):
        none, every = one(evaluation, "right_lung", measure), one(evaluation, "heart", measure)
        assert (none.low, none.value, none.high) == (0, 0, pytest.approx(bound))
        assert (every.low, every.value, every.high) == (pytest.approx(1 - bound), 1, 1)
    withheld = one(evaluation, "cardiothoracic ratio", "withheld")
    assert (withheld.low, withheld.value, withheld.high) == (pytest.approx(1 - bound), 1, 1)
    flagged = one(evaluation, "heart", "flagged of Dice below 0.85", "all")
    assert (flagged.low, flagged.value, flagged.high) == (pytest.approx(1 - bound), 1, 1)
    called = one(evaluation, "film", "called mirrored")
    assert (called.low, called.value, called.high) == (0, 0, pytest.approx(bound))


def test_the_share_below_a_dice_leaves_out_the_dice_itself() -> None:
    shifted = [heart(26 + columns, 46 + columns) for columns in (0, 2, 3, 4)]  # Dice 1, 0.9, 0.85, 0.8
    seen = [says(RIGHT, LEFT, shape) for shape in shifted]
    evaluation = run(Stub(seen), cache([label_map(*CHEST)] * 4))
    assert value(evaluation, "heart", "Dice") == pytest.approx((1 + 0.9 + 0.85 + 0.8) / 4)
    assert value(evaluation, "heart", "share below Dice 0.90") == 2 / 4
    assert value(evaluation, "heart", "share below Dice 0.85") == 1 / 4
    assert value(evaluation, "lungs", "share below Dice 0.90") == 0


def test_stray_parts_are_counted_before_the_outline_drops_them() -> None:
    specks = box(2, 4, 60, 62) | box(58, 60, 2, 4)
    seen = [says(RIGHT | specks, LEFT, HEART), says(RIGHT, LEFT, NOTHING)]
    evaluation = run(Stub(seen), cache([label_map(*CHEST)] * 2))
    assert value(evaluation, "right_lung", "Dice") == 1
    rows = evaluation.tables["outlines"]
    found = {(row["film"], row["structure"]): row["stray parts"] for row in rows}
    assert found["f0", "right_lung"] == found["f0", "lungs"] == 2  # two lungs are no stray part
    assert found["f0", "left_lung"] == found["f0", "heart"] == 0
    assert found["f1", "heart"] == 0  # nothing at all is not less than none
    assert value(evaluation, "right_lung", "stray parts") == 1


def test_only_what_the_masks_show_is_scored() -> None:
    masks = [(RIGHT | LEFT) * np.uint8(4), label_map(RIGHT, LEFT, NOTHING), np.zeros_like(RIGHT, np.uint8)]
    films = cache(masks, [frozenset({"lungs"}), SIDES, frozenset()])
    evaluation = run(Stub([says(*CHEST)] * 3), films)
    counts = {f.subject: f.films for f in evaluation.figures if f.measure == "Dice"}
    assert counts == {"right_lung": 1, "left_lung": 1, "lungs": 2}
    assert value(evaluation, "lungs", "Dice") == value(evaluation, "right_lung", "Dice") == 1
    # No mask shows lungs and heart, so that no ratio is known; it is measured all the same.
    assert [row["true ratio"] for row in evaluation.tables["ratios"]] == [None] * 3
    assert [row["ratio"] for row in evaluation.tables["ratios"]] == [20 / 50] * 3
    assert "mean absolute error" not in {f.measure for f in evaluation.figures}
    assert one(evaluation, "cardiothoracic ratio", "withheld").films == 3


def test_sides_told_by_a_mask_of_both_lungs_are_scored_as_sides() -> None:
    films = cache([label_map(RIGHT, LEFT, NOTHING)], [frozenset({"lungs"})])
    evaluation = run(Stub([says(LEFT, RIGHT, HEART)]), films)  # the model has the sides wrong
    assert value(evaluation, "right_lung", "Dice") == value(evaluation, "left_lung", "Dice") == 0
    assert value(evaluation, "lungs", "Dice") == 1


def test_the_ratios_error_by_hand() -> None:
    seen = [says(RIGHT, LEFT, heart(26, right)) for right in (51, 46, 44)]  # 25, 20 and 18 of 50
    evaluation = run(Stub(seen), cache([label_map(*CHEST)] * 3))
    errors = [0.1, 0.0, -0.04]
    subject = "cardiothoracic ratio"
    assert value(evaluation, subject, "mean absolute error") == pytest.approx(0.14 / 3)
    assert value(evaluation, subject, "mean error") == pytest.approx(mean(errors))
    assert value(evaluation, subject, "standard deviation of the error") == pytest.approx(stdev(errors))
    assert value(evaluation, subject, "withheld") == value(evaluation, "film", "called mirrored") == 0


def test_a_withheld_ratio_is_counted_and_its_outlines_still_measured() -> None:
    unsure = says(RIGHT, LEFT, heart(26, 51), promises=(1, 1, 0.7))
    seen = [unsure, says(*CHEST), says(RIGHT, LEFT, NOTHING), says(RIGHT, NOTHING, HEART)]
    evaluation = run(Stub(seen), cache([label_map(*CHEST)] * 4))
    rows = evaluation.tables["ratios"]
    assert [row["withheld"] for row in rows] == [1, 0, 1, 1]
    assert [row["ratio"] for row in rows] == [25 / 50, 20 / 50, None, None]
    assert [row["true ratio"] for row in rows] == [20 / 50] * 4
    assert value(evaluation, "cardiothoracic ratio", "withheld") == 3 / 4
    error = one(evaluation, "cardiothoracic ratio", "mean absolute error")
    assert error.value == pytest.approx(0.05)
    assert error.films == 2


def test_mirrored_calls_are_counted_where_the_heart_points_to_the_left() -> None:
    seen = [says(RIGHT, LEFT, heart(left, left + 20)) for left in (26, 21, 16, 6)]  # the middle is at 31
    evaluation = run(Stub(seen), cache([label_map(*CHEST)] * 4))
    assert [row["called mirrored"] for row in evaluation.tables["ratios"]] == [0, 0, 1, 1]
    assert value(evaluation, "film", "called mirrored") == 1 / 2


def test_quality_is_held_against_the_dice_of_the_same_outline() -> None:
    # Shifted by so many columns, and promising so much.
    shifts, promised = (0, 5, 1, 8, 2, 6, 0), (0.99, 0.75, 0.93, 0.68, 0.72, 0.88, 0.96)
    seen = [
        says(RIGHT, LEFT, heart(26 + s, 46 + s), promises=(1, 1, p))
        for s, p in zip(shifts, promised, strict=True)
    ]
    evaluation = run(Stub(seen), cache([label_map(*CHEST)] * 7))
    dices = [1 - s / 20 for s in shifts]
    rows = [row for row in evaluation.tables["outlines"] if row["structure"] == "heart"]
    assert [row["Dice"] for row in rows] == pytest.approx(dices)
    assert [row["quality"] for row in rows] == pytest.approx(promised, abs=1e-5)
    assert [row["flagged"] for row in rows] == [0, 1, 0, 1, 1, 0, 0]
    # Poor are the films of shifts 5, 8 and 6, and of these the last is missed; of the others one is flagged.
    poor = one(evaluation, "heart", "flagged of Dice below 0.85", "all")
    assert poor.value == pytest.approx(2 / 3)
    assert poor.films == 3
    others = one(evaluation, "heart", "flagged of the others", "all")
    assert (others.value, others.films) == (1 / 4, 4)
    ranks = value(evaluation, "heart", "Spearman of quality and Dice", "all")
    assert ranks == pytest.approx(spearmanr(promised, dices).statistic)
    assert "flagged of Dice below 0.85" not in {f.measure for f in evaluation.figures if f.subject == "lungs"}


def test_the_lungs_together_are_as_good_as_the_worse_of_them() -> None:
    seen = says(*CHEST, promises=(0.7, 0.9, 1))
    (row,) = (
        r
        for r in run(Stub([seen]), cache([label_map(*CHEST)])).tables["outlines"]
        if r["structure"] == "lungs"
    )
    assert row["quality"] == pytest.approx(0.7, abs=1e-5)
    assert row["flagged"] == 1


def test_without_reliability_quality_is_the_promise_and_nothing_is_flagged() -> None:
    seen = says(*CHEST, promises=(1, 1, 0.7))
    evaluation = run(Stub([seen], reliability={}), cache([label_map(*CHEST)]))
    rows = {row["structure"]: row for row in evaluation.tables["outlines"]}
    assert rows["heart"]["quality"] == pytest.approx(0.7, abs=1e-5)
    assert {row["flagged"] for row in rows.values()} == {0}
    assert evaluation.tables["ratios"][0]["withheld"] == 0


def down(film: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    del rng
    return np.roll(film, 2, axis=0), np.roll(mask, 2, axis=0)


def as_it_is(film: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    del rng
    return film, mask


def test_a_stress_changes_film_and_truth_and_costs_dice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_outlines, "STRESSES", {"down": down, "same": as_it_is})
    films = cache([label_map(*CHEST)] * 2)
    moved = [np.roll(shape, 2, axis=0) for shape in CHEST]
    stub = Stub([says(*CHEST), says(*CHEST), says(*CHEST), says(*CHEST), says(*moved), says(*CHEST)])
    said: list[tuple[int, int, str]] = []
    evaluation = run(stub, films, stress=True, tick=lambda *now: said.append(now))
    # The first film is outlined where it was, the second where it went: 8 of 10 rows of the heart, and all.
    assert [value(evaluation, "heart", "Dice", c) for c in ("", "down", "same")] == [1, pytest.approx(0.9), 1]
    assert value(evaluation, "heart", "Dice", "all stresses") == pytest.approx((0.8 + 1 + 1 + 1) / 4)
    lost = one(evaluation, "heart", "Dice lost to stress", "all stresses")
    assert lost.value == pytest.approx(0.2 / 4)
    assert lost.films == 2
    assert value(evaluation, "heart", "share below Dice 0.85", "down") == 1 / 2
    assert value(evaluation, "heart", "share below Dice 0.85", "all stresses") == 1 / 4
    assert value(evaluation, "cardiothoracic ratio", "mean absolute error", "down") == 0
    assert value(evaluation, "film", "called mirrored", "down") == 0
    rows = [row for row in evaluation.tables["outlines"] if row["structure"] == "heart"]
    assert [(row["film"], row["condition"]) for row in rows] == [
        (film, condition) for film in ("f0", "f1") for condition in ("clean", "down", "same")
    ]
    preparation = stub.card.preparation
    for seen, row in zip(stub.seen, rows, strict=True):
        film = films.films[row["index"]].astype(np.float32) / 255
        film = down(film, film, np.random.default_rng())[0] if row["condition"] == "down" else film
        np.testing.assert_array_equal(seen[0, 0], levels(film, preparation))
    assert said == [(i, 6, "outlining") for i in range(1, 7)]


@dataclass
class Seer(Stub):
    """A network that knows the mask of every film that it is shown."""

    masks: list[Array] = field(default_factory=list)

    def __call__(self, films: Array) -> dict[str, Array]:
        mask = self.masks[len(self.seen)]
        self.seen.append(films)
        return {"logits": says(*(mask == value for value in (1, 2, 3)))}


def test_every_stress_is_a_condition_and_its_truth_is_stressed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    films, stub = cache([label_map(*CHEST)] * 2), Seer([])

    def watched(stress: Callable[..., tuple[Array, Array]], last: bool) -> Callable[..., tuple[Array, Array]]:
        def changed(film: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
            result = stress(film, mask, rng)
            stub.masks.append(result[1])
            if last:
                stub.masks.append(label_map(*CHEST))  # of the next film as it is
            return result

        return changed

    names = list(STRESSES)
    watching = {name: watched(stress, name == names[-1]) for name, stress in STRESSES.items()}
    monkeypatch.setattr(evaluate_outlines, "STRESSES", watching)
    stub.masks.append(label_map(*CHEST))
    evaluation = run(stub, films, stress=True)
    assert len(stub.seen) == 2 * (1 + len(STRESSES))
    for condition in ("", *names, "all stresses"):
        for subject in (*STRUCTURES, "lungs"):
            assert value(evaluation, subject, "Dice", condition) == 1
    assert value(evaluation, "heart", "Dice lost to stress", "all stresses") == 0
    assert value(evaluation, "film", "called mirrored", "mirror") == 1
    for condition in ("", *names):
        assert value(evaluation, "cardiothoracic ratio", "mean absolute error", condition) == 0


def part(films: Cache, chosen: slice) -> Cache:
    masks = None if films.masks is None else films.masks[chosen]
    return Cache(samples=films.samples[chosen], films=films.films[chosen], masks=masks, failures={})


def test_stresses_are_drawn_from_the_seed_and_from_the_films_name() -> None:
    def seen(films: Cache, seed: int) -> list[Array]:
        stub = Stub([says(*CHEST)] * (len(films.samples) * (1 + len(STRESSES))))
        run(stub, films, stress=True, seed=seed, repeats=1)
        return stub.seen

    two = cache([label_map(*CHEST)] * 2)
    both, second = seen(two, 0), seen(part(two, slice(1, 2)), 0)
    for film, same in zip(both[1 + len(STRESSES) :], second, strict=True):
        np.testing.assert_array_equal(film, same)  # whatever films are beside it
    place = 1 + list(STRESSES).index("noise")
    other = seen(part(two, slice(1, 2)), 1)
    assert (second[0] == other[0]).all() and (second[place] != other[place]).any()
    # The same picture under two names is stressed in two ways.
    twins = Cache(samples=two.samples, films=two.films[[0, 0]], masks=two.masks, failures={})
    pair = seen(twins, 0)
    assert (pair[0] == pair[1 + len(STRESSES)]).all()
    assert (pair[place] != pair[1 + len(STRESSES) + place]).any()


def test_without_stress_the_films_are_outlined_once() -> None:
    stub = Stub([says(*CHEST)] * 2)
    evaluation = run(stub, cache([label_map(*CHEST)] * 2))
    assert len(stub.seen) == 2
    assert {f.condition for f in evaluation.figures} == {"", "all"}  # all: quality, over all conditions


LABELLED = [  # view, label, columns of the heart, of 50
    ("PA", 1.0, 30),
    ("PA", 0.0, 20),
    ("PA", 0.0, 25),
    ("AP", 1.0, 25),
    ("AP", 0.0, 30),
    (None, 1.0, 40),
    ("PA", float("nan"), 5),
    ("PA", None, 5),
    ("AP", 1.0, 0),  # a heart that was not found has no ratio
]


@pytest.mark.parametrize("masked", [False, True])
def test_the_ratio_alone_tells_cardiomegaly_by_hand(masked: bool) -> None:
    about = [
        {"view": view, "labels": {} if label is None else {"Cardiomegaly": label}}
        for view, label, _ in LABELLED
    ]
    seen = [says(RIGHT, LEFT, heart(6, 6 + width)) for _, _, width in LABELLED]
    masks = [label_map(*CHEST)] * len(LABELLED) if masked else None
    evaluation = run(Stub(seen), cache(masks, about=about))
    measure = "AUROC of the ratio alone"
    everything = one(evaluation, "Cardiomegaly", measure)
    truth, widths = [1, 0, 0, 1, 0, 1], [30, 20, 25, 25, 30, 40]
    assert everything.value == pytest.approx(roc_auc_score(truth, widths))
    assert everything.value == pytest.approx((2.5 + 1.5 + 3) / 9)
    assert (everything.films, everything.positives) == (6, 3)
    front = one(evaluation, "Cardiomegaly", measure, "PA films")
    assert (front.value, front.films, front.positives) == (1, 3, 1)
    back = one(evaluation, "Cardiomegaly", measure, "AP films")
    assert (back.value, back.films, back.positives) == (0, 2, 1)
    assert ("outlines" in evaluation.tables) and bool(evaluation.tables["outlines"]) == masked
    assert [row["view"] for row in evaluation.tables["ratios"]] == [view for view, _, _ in LABELLED]


def test_one_class_alone_has_no_auroc_and_films_without_masks_no_stress() -> None:
    stub = Stub([says(*CHEST)] * 2)
    evaluation = run(stub, cache(None, about=[{"labels": {"Cardiomegaly": 1.0}}] * 2), stress=True)
    assert len(stub.seen) == 2
    assert {f.subject for f in evaluation.figures} == {"cardiothoracic ratio", "film"}
    assert {f.condition for f in evaluation.figures} == {""}


def test_intervals_are_drawn_over_patients() -> None:
    masks = [label_map(*CHEST)] * 20
    seen = [says(RIGHT, LEFT, heart(26 + i // 10 * 10, 46 + i // 10 * 10)) for i in range(20)]
    two = [{"patient": "ab"[i // 10]} for i in range(20)]
    dices = one(run(Stub(seen), cache(masks, about=two), repeats=200), "heart", "Dice")
    assert (dices.low, dices.value, dices.high) == (0.5, 0.75, 1)  # films drawn one by one stay near 0.75
    alone = one(run(Stub(seen), cache(masks, about=[{"patient": "a"}] * 20)), "heart", "Dice")
    assert alone.value == 0.75
    assert math.isnan(alone.low) and math.isnan(alone.high)


def test_outlines_are_compared_at_the_films_size() -> None:
    films = cache([label_map(*CHEST)])
    twice = Cache(
        samples=films.samples,
        films=films.films.repeat(2, axis=1).repeat(2, axis=2),
        masks=None if films.masks is None else films.masks.repeat(2, axis=1).repeat(2, axis=2),
        failures={},
    )
    evaluation = run(Stub([says(RIGHT, LEFT, heart(28, 48))]), twice)
    assert value(evaluation, "heart", "HD95, pixels") == pytest.approx(
        4, abs=1
    )  # two columns of the network's
    assert value(evaluation, "right_lung", "Dice") > 0.98


def test_a_segmenter_is_read_by_its_labels_and_not_their_order() -> None:
    answer = says(*CHEST)[:, [2, 1, 0]]
    stub = Stub([answer], labels=("heart", "left_lung", "right_lung"))
    evaluation = run(stub, cache([label_map(*CHEST)]))
    assert [value(evaluation, name, "Dice") for name in (*STRUCTURES, "lungs")] == [1, 1, 1, 1]


def test_rows_name_film_and_site() -> None:
    films = cache([label_map(*CHEST)], about=[{"id": "JSRT:7", "site": "JSRT", "view": "PA"}])
    tables = run(Stub([says(*CHEST)]), films).tables
    for row in (*tables["outlines"], *tables["ratios"]):
        assert (row["index"], row["film"], row["site"], row["condition"]) == (0, "JSRT:7", "JSRT", "clean")
    assert [row["structure"] for row in tables["outlines"]] == [*STRUCTURES, "lungs"]


def test_a_perfect_segmenter_scores_perfectly_on_phantoms(tmp_path: Path) -> None:
    phantoms = cached(open_data("phantom:6@4"), SIZE, tmp_path)
    assert phantoms.masks is not None
    seen = [says(*(mask == value for value in (1, 2, 3))) for mask in phantoms.masks]
    evaluation = run(Stub(seen), phantoms)
    for name in (*STRUCTURES, "lungs"):
        assert one(evaluation, name, "Dice").films == 6
        # Less than 1 only where a structure came in two parts at this size.
        assert value(evaluation, name, "Dice") > 0.995
    assert value(evaluation, "cardiothoracic ratio", "mean absolute error") < 0.02
    swapped = run(Stub([answer[:, [1, 0, 2]] for answer in seen]), phantoms)
    assert value(swapped, "right_lung", "Dice") == 0
    assert value(swapped, "lungs", "Dice") > 0.995


@pytest.mark.parametrize(
    ("films", "message"),
    [
        (cache(None), "no films to evaluate on; check the data set and the part"),
        (cache(None, about=[{}]), "no masks to compare outlines with; give masks:PATH"),
        (cache(None, about=[{"labels": {"Edema": 1.0}}]), "no masks to compare outlines with"),
    ],
)
def test_films_that_do_not_suit_the_model_are_refused(films: Cache, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(Stub([]), films)
