"""Maps are judged right where the true map is known: the network is a weighted sum of the film's pixels."""

from __future__ import annotations

import errno
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hilum import explain
from hilum.card import Card, Preparation, read_card
from hilum.data.phantom import samples
from hilum.errors import ConfigError, DataError
from hilum.evaluation import faithful
from hilum.evaluation.faithful import BY_METHOD, EVERY, areas, by_chance, carry, judge_maps, order
from hilum.evaluation.figures import Evaluation, Figure
from hilum.evaluation.pointing import fixed_place
from hilum.explain import CELLS, FAITHFUL, hiding, occlusion
from hilum.runtime import Runtime, find
from hilum.types import Array, Box

SIZE = 64
LABELS = ("Edema", "Mass", "No Finding")


class Linear:
    """In the place of a Runtime: each logit is a weighted mean of the film, and its evidence the terms."""

    def __init__(self, weights: Array, *, maps: bool = True) -> None:
        self.weights, self.maps, self.runs = weights, maps, 0
        about = {"name": "linear", "version": "1", "task": "classify", "architecture": "none"}
        more = {"labels": LABELS, "preparation": Preparation(size=SIZE)}
        self.card = Card.model_validate(about | more)

    def __call__(self, films: Array) -> dict[str, Array]:
        self.runs += len(films)
        terms = films[:, :1] * self.weights
        maps = {"evidence": terms.astype(np.float32)} if self.maps else {}
        return {"logits": terms.mean(axis=(2, 3)).astype(np.float32)} | maps


def planted(row: int = 40, column: int = 12) -> Array:
    """Weights (3, S, S) that look at one place of 8 x 8 pixels, at all, and at nothing."""
    weights = np.zeros((3, SIZE, SIZE), np.float32)
    weights[0, row : row + 8, column : column + 8] = 200
    weights[1] = 1
    return weights


def film(row: int = 40, column: int = 12) -> Array:
    """A noisy film (1, S, S) with a bright spot."""
    made = np.random.default_rng(5).normal(0, 0.1, (1, SIZE, SIZE)).astype(np.float32)
    made[0, row : row + 8, column : column + 8] += 2
    return made


def test_occlusion_finds_the_place_that_the_logit_rests_on() -> None:
    network = Linear(planted())
    worth = occlusion(network, film())
    assert worth.shape == (3, CELLS, CELLS)
    assert network.runs == 1 + 8**2 + 9**2
    row, column = np.unravel_index(worth[0].argmax(), worth[0].shape)
    assert 10 <= row <= 11 and 3 <= column <= 4  # cells of 4 pixels
    assert np.abs(worth[0, :8]).max() < 1e-3 * worth[0].max()
    np.testing.assert_array_equal(worth[2], 0)


def test_what_hiding_costs_is_in_the_unit_of_evidence() -> None:
    # Hidden under a patch is what the blur takes from the spot; over the patch's share it is a density.
    network = Linear(planted())
    worth = occlusion(network, film())
    gone = film()[0] - cv2.GaussianBlur(film()[0], (0, 0), SIZE / 8)
    whole = float((network.weights[0] * gone).mean())
    assert float(worth[0].mean()) == pytest.approx(whole, rel=1e-4)


def test_of_a_network_linear_in_the_film_the_mean_is_what_hiding_all_of_it_costs() -> None:
    network = Linear(np.random.default_rng(1).normal(0, 9, (3, SIZE, SIZE)).astype(np.float32))
    everything = np.ones((1, CELLS, CELLS), bool)
    (hidden,) = next(hiding(network, film(), everything))
    cost = network(film()[None])["logits"][0] - hidden
    np.testing.assert_allclose(occlusion(network, film()).mean(axis=(1, 2)), cost, rtol=1e-3, atol=1e-3)


def test_of_softmax_what_raises_every_logit_alike_speaks_for_none() -> None:
    network = Linear(np.broadcast_to(planted()[:1], (3, SIZE, SIZE)).copy())
    assert np.abs(occlusion(network, film())).max() > 1
    np.testing.assert_allclose(occlusion(network, film(), softmax=True), 0, atol=1e-3)
    network.weights[1:] = 0  # of three labels with logits a, 0 and 0 the first has the odds a - log 2
    alone = occlusion(network, film(), softmax=True)
    np.testing.assert_allclose(alone[0], occlusion(network, film())[0], rtol=1e-3, atol=1e-3)
    assert alone[1].min() < -0.5


def test_maps_by_chance_are_smooth_and_one_another_s_reverse() -> None:
    for seed in range(5):
        best, worst = by_chance(np.random.default_rng(seed))
        assert sorted(best) == list(range(CELLS**2))
        np.testing.assert_array_equal(best, worst[::-1])
        rank = np.argsort(best).reshape(CELLS, CELLS)
        assert np.abs(np.diff(rank, axis=0)).mean() < 0.4 * CELLS**2 / 3  # of scattered cells, a third


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_the_size_of_a_batch_changes_nothing(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Linear(np.random.default_rng(1).normal(0, 1, (3, SIZE, SIZE)).astype(np.float32))
    expected = occlusion(network, film())
    monkeypatch.setattr(explain, "_BATCH", batch)
    np.testing.assert_allclose(occlusion(network, film()), expected, rtol=1e-4, atol=1e-4)


def test_a_side_that_cells_do_not_divide_is_covered_too() -> None:
    network = Linear(planted())
    network.weights = np.ones((3, 50, 50), np.float32)
    worth = occlusion(network, film()[:, :50, :50])
    assert np.isfinite(worth).all() and np.abs(worth).max() > 0


def test_only_the_film_is_hidden_not_the_outlines_beside_it() -> None:
    seen: list[Array] = []

    def network(films: Array) -> dict[str, Array]:
        seen.append(films)
        return {"logits": films[:, 0].mean(axis=(1, 2))[:, None]}

    beside = np.random.default_rng(0).normal(0, 1, (4, SIZE, SIZE)).astype(np.float32)
    occlusion(network, np.concatenate([film(), beside]))
    for films in seen:
        for one in films:
            np.testing.assert_array_equal(one[1:], beside)


def test_deleting_by_the_true_map_beats_random_and_its_reverse_loses() -> None:
    network, rng = Linear(planted()), np.random.default_rng(0)
    true = network.weights[0] * film()[0]
    best = order(true, rng)
    chance = [rng.permutation(CELLS**2) for _ in range(20)]
    found = areas(network, network.card, film(), [best, best[::-1], *chance])[:, 0]  # type: ignore[arg-type]
    assert found[0] < min(found[2:])
    assert found[1] > max(found[2:])
    assert areas(network, network.card, film(), [best])[0, 2] == 0  # type: ignore[arg-type]


def test_cells_of_equal_worth_come_in_no_order() -> None:
    rng = np.random.default_rng(0)
    flat = np.zeros((SIZE, SIZE), np.float32)
    first, second = order(flat, rng), order(flat, rng)
    assert sorted(first) == sorted(second) == list(range(CELLS**2))
    assert first.tolist() != second.tolist()


def test_the_fixed_place_is_where_most_boxes_overlap() -> None:
    assert fixed_place([]) is None
    boxes: list[list[Box]] = [[(0.1, 0.1, 0.4, 0.4)], [(0.3, 0.3, 0.4, 0.4)], [(0.8, 0.8, 0.1, 0.1)]]
    across, down = fixed_place(boxes) or (0, 0)
    assert 0.35 < across < 0.45 and 0.35 < down < 0.45


@pytest.fixture(scope="module")
def judged() -> dict[tuple[str, str], Any]:
    network = Linear(planted(44, 30))
    found = judge_maps(network, cases(), films=4, bias=np.zeros(3, np.float32), repeats=100)  # type: ignore[arg-type]
    rows = {(row["film"], row["method"]): row for row in found.tables["maps"]}
    figures = {(one.subject, one.measure, one.condition): one for one in found.figures}
    return {("rows", ""): rows, ("figures", ""): figures}


def cases() -> list[Any]:
    """Four phantoms said to show Edema, boxed where the network looks on two, elsewhere on two."""
    here, there = (0.42, 0.62, 0.2, 0.2), (0.7, 0.1, 0.2, 0.2)
    return [
        replace(sample, patient=f"p{i}", labels={"Edema": 1.0}, boxes={"Edema": (here if i < 2 else there,)})
        for i, sample in enumerate(samples("4@3"))
    ]


def test_maps_are_judged_by_every_method_the_model_allows(judged: dict[tuple[str, str], Any]) -> None:
    rows, figures = judged["rows", ""], judged["figures", ""]
    assert {method for _, method in rows} == {"evidence", "Grad-CAM", "occlusion"}
    assert len(rows) == 12
    for measure in faithful.MEASURES:
        assert ("Edema", measure, f"{BY_METHOD}evidence") in figures
    one = figures[EVERY, "deletion over random", f"{BY_METHOD}occlusion"]
    values = [row["deletion over random"] for (_, method), row in rows.items() if method == "occlusion"]
    assert (one.films, one.value) == (4, pytest.approx(np.mean(values)))
    assert one.low <= one.value <= one.high
    for row in rows.values():
        both = row["deletion over random"] + row["insertion over random"]
        assert row["insertion over deletion"] == pytest.approx(both, abs=1e-5)


def test_the_highest_place_hits_the_planted_box_and_no_other(judged: dict[tuple[str, str], Any]) -> None:
    rows = judged["rows", ""]
    for method in ("evidence", "Grad-CAM"):
        assert [rows[sample.id, method]["points at it"] for sample in cases()] == [1, 1, 0, 0]
    # Of the three other films two have their box where this one has not.
    assert [rows[sample.id, "evidence"]["fixed place points at it"] for sample in cases()] == [0, 0, 0, 0]


def test_without_evidence_only_occlusion_is_judged() -> None:
    found = judge_maps(Linear(planted(), maps=False), cases()[:1], films=1, repeats=100)  # type: ignore[arg-type]
    assert [row["method"] for row in found.tables["maps"]] == ["occlusion"]


def test_no_finding_has_no_place_and_a_segmenter_no_maps() -> None:
    network = Linear(planted())
    normal = [replace(sample, labels={"No Finding": 1.0}) for sample in cases()]
    assert judge_maps(network, normal, films=2).figures == ()  # type: ignore[arg-type]
    network.card = network.card.model_copy(update={"task": "segment"})
    with pytest.raises(ConfigError, match="classifier"):
        judge_maps(network, cases(), films=1)  # type: ignore[arg-type]


def test_a_film_that_a_disk_fails_to_give_for_a_moment_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.data.opened._PATIENCE", (0.0, 0.0))
    sample = cases()[0]
    whole, reads = sample.image, []

    def failing(times: int) -> Array:
        reads.append(times)
        if len(reads) <= times:
            raise OSError(errno.EIO, "Input/output error")
        assert callable(whole)
        return whole()

    network = Linear(planted(), maps=False)
    flaky = replace(sample, image=partial(failing, 1))
    assert judge_maps(network, [flaky], films=1, repeats=100).tables["maps"]  # type: ignore[arg-type]
    reads.clear()
    lost = replace(sample, image=partial(failing, 9))
    with pytest.raises(DataError, match=sample.id):
        judge_maps(network, [lost], films=1)  # type: ignore[arg-type]


def test_the_same_seed_draws_the_same_films() -> None:
    network = Linear(planted())
    drawn = [
        [row["film"] for row in judge_maps(network, cases(), films=2, seed=seed).tables["maps"]]  # type: ignore[arg-type]
        for seed in (1, 1)
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 2


def test_a_card_is_told_what_its_maps_are_worth_once(tmp_path: Path) -> None:
    about: dict[str, Any] = {"films": 20, "positives": None, "low": 0.61234, "high": math.nan}
    figures = tuple(
        Figure(subject=subject, measure=measure, condition=f"{BY_METHOD}evidence", value=0.75, **about)
        for subject, measure in ((EVERY, FAITHFUL), ("Edema", FAITHFUL), (EVERY, "lift"))
    )
    folder, name = find("hilum-six"), "insertion over deletion, maps by evidence"
    out = carry(folder, Evaluation(figures=figures), tmp_path / "new", part="tune")
    before, after = read_card(folder), read_card(out)
    (told,) = (one for one in after.metrics if one.name == name)
    assert (told.value, told.low, told.high, told.n, told.part) == (0.75, 0.6123, None, 20, "tuning")
    assert [one for one in after.metrics if one.name != name] == [
        one for one in before.metrics if one.name != name
    ]
    assert after.model_copy(update={"metrics": ()}) == before.model_copy(update={"metrics": ()})
    assert Runtime(out).card == after
