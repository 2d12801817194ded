"""Evidence keeps the logit on its way to the film's pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hilum.card import Card, Preparation
from hilum.explain import FAITHFUL, chest_outline, heatmap, trust
from hilum.types import Anatomy


def blank(height: int, width: int) -> Anatomy:
    return Anatomy(mask=np.zeros((height, width), np.uint8), quality={})


@pytest.mark.parametrize("shape", [(256, 256), (301, 517), (1024, 800), (20, 24), (1, 9)])
def test_the_mean_stays_the_logit(shape: tuple[int, int]) -> None:
    evidence = np.random.default_rng(7).normal(0.8, 5, (32, 28)).astype(np.float32)
    result = heatmap(evidence, label="Edema", anatomy=blank(*shape))
    assert result.values.shape == shape
    assert result.values.dtype == np.float32
    assert result.values.mean(dtype=np.float64) == pytest.approx(evidence.mean(dtype=np.float64), abs=1e-5)


def test_the_peak_stays_where_it_was() -> None:
    evidence = np.full((8, 8), -1, np.float32)
    evidence[2, 5] = 9
    values = heatmap(evidence, label="Edema", anatomy=blank(160, 80)).values
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert (row // 20, column // 10) == (2, 5)
    assert values.max() == pytest.approx(9, abs=1)


def test_share_in_lungs_by_hand() -> None:
    # At the grid's own size nothing is interpolated: 3 + 2 + 1 of 3 + 2 + 1 + 4 lies in a structure.
    evidence = np.array([[3, -8, 2], [1, -8, 4]], np.float32)
    anatomy = Anatomy(mask=np.array([[1, 1, 2], [3, 0, 0]], np.uint8), quality={})
    result = heatmap(evidence, label="Edema", anatomy=anatomy)
    assert result.in_lungs == pytest.approx(6 / 10)
    assert (result.label, result.method) == ("Edema", "evidence")


@pytest.mark.parametrize(("value", "expected"), [(0, 0.0), (2, 1.0)])
def test_share_is_none_or_all(value: int, expected: float) -> None:
    anatomy = Anatomy(mask=np.full((40, 40), value, np.uint8), quality={})
    assert heatmap(np.ones((4, 4), np.float32), label="Edema", anatomy=anatomy).in_lungs == expected


def test_without_positive_evidence_there_is_no_share() -> None:
    result = heatmap(np.full((4, 4), -2, np.float32), label="Edema", anatomy=blank(40, 40))
    assert math.isnan(result.in_lungs)


def test_the_network_s_array_is_left_alone() -> None:
    evidence = np.arange(4, dtype=np.float32).reshape(2, 2)
    heatmap(evidence, label="Edema", anatomy=blank(2, 2))
    assert evidence.tolist() == [[0, 1], [2, 3]]


def test_evidence_counts_from_the_label_s_own_threshold() -> None:
    evidence = np.full((2, 2), -5, np.float32)
    evidence[0, 0] = -1
    anatomy = Anatomy(mask=np.zeros((32, 32), np.uint8), quality={})
    anatomy.mask[:16, :16] = 1
    below_zero = heatmap(evidence, label="Edema", anatomy=anatomy)
    assert np.isnan(below_zero.in_lungs)
    above = heatmap(evidence, label="Edema", anatomy=anatomy, baseline=-3)
    assert above.in_lungs > 0.7
    assert float(above.values.mean()) == pytest.approx(-4, abs=1e-5)


def test_evidence_of_a_part_lies_in_that_part_and_its_mean_stays_the_logit() -> None:
    evidence = np.random.default_rng(2).normal(-1, 3, (4, 4)).astype(np.float32)
    part = (slice(5, 25), slice(10, 40))
    shown = heatmap(evidence, label="Edema", anatomy=blank(50, 60), baseline=-2.5, part=part)
    assert shown.values.shape == (50, 60)
    assert shown.values.mean(dtype=np.float64) == pytest.approx(evidence.mean(), abs=1e-4)
    outside = np.ones((50, 60), bool)
    outside[part] = False
    assert set(shown.values[outside]) == {np.float32(-2.5)}
    inside = heatmap(evidence, label="Edema", anatomy=blank(20, 30), baseline=-2.5)
    np.testing.assert_array_equal(shown.values[part] > -2.5, inside.values > -2.5)


def test_what_alternates_from_cell_to_cell_in_a_fine_map_is_taken_off() -> None:
    rows, columns = np.indices((16, 16))
    for grid in ((rows + columns) % 2, rows % 2, columns % 2):
        evidence = (grid * 4.0 - 2.5).astype(np.float32)
        values = heatmap(evidence, label="Edema", anatomy=blank(160, 160)).values
        np.testing.assert_allclose(values[20:-20, 20:-20], -0.5, atol=0.05)


def lungs() -> Anatomy:
    """Two lungs with a gap between, on a film of 200 x 100."""
    mask = np.zeros((200, 100), np.uint8)
    mask[60:140, 20:40], mask[60:120, 60:80] = 1, 2
    return Anatomy(mask=mask, quality={})


def test_the_chest_closes_gaps_and_reaches_a_twentieth_of_the_width_around() -> None:
    around = chest_outline(lungs().mask)
    assert around[100, 50] == 1  # between the lungs
    assert around[100, 16] == 1 and around[100, 13] == 0
    assert around[56, 30] == 1 and around[53, 30] == 0
    assert not chest_outline(np.zeros((20, 20), np.uint8)).any()


@pytest.mark.parametrize("part", [None, (slice(40, 160), slice(10, 90))])
def test_even_evidence_has_a_lift_of_1(part: tuple[slice, slice] | None) -> None:
    even = heatmap(np.ones((4, 4), np.float32), label="Edema", anatomy=lungs(), part=part)
    assert even.lift == pytest.approx(1)


def test_lift_by_hand() -> None:
    evidence = np.zeros((200, 100), np.float32)
    evidence[60:120, 20:80] = 1  # all of it inside
    found = heatmap(evidence, label="Edema", anatomy=lungs(), method="occlusion")
    assert found.lift == pytest.approx(200 * 100 / chest_outline(lungs().mask).sum())
    outside = heatmap(evidence[::-1, ::-1] * 0 - 1, label="Edema", anatomy=lungs())
    assert math.isnan(outside.lift)
    assert math.isnan(heatmap(np.ones((4, 4), np.float32), label="Edema", anatomy=blank(40, 40)).lift)


def test_what_is_no_evidence_of_the_network_s_own_is_not_smoothed_nor_shifted() -> None:
    plane = np.zeros((16, 16), np.float32)
    plane[3, 3] = 5
    shown = heatmap(plane, label="Edema", anatomy=blank(16, 16), method="occlusion")
    np.testing.assert_array_equal(shown.values, plane)
    assert shown.method == "occlusion"


def card(*measured: tuple[str, float, float]) -> Card:
    about = {"name": "x", "version": "1", "task": "classify", "architecture": "none", "labels": ("Edema",)}
    metrics = tuple(
        {"name": f"{FAITHFUL}, maps by {method}", "value": 0.4, "low": low, "high": high, "n": 50}
        | {"part": "tuning"}
        for method, low, high in measured
    )
    return Card.model_validate(about | {"preparation": Preparation(size=32), "metrics": metrics})


def told(low: float) -> str:
    return trust({"evidence"}, card(("evidence", low, 0.6)))


def test_trust_follows_from_what_was_measured() -> None:
    assert "on average the maps show" in told(0.2) and "0.40 logits (0.20 to 0.60)" in told(0.2)
    assert "do not rely on them" in told(-0.1)
    assert "was not measured" in trust({"occlusion"}, None)
    assert trust(set(), None) == ""


def test_occlusion_is_called_more_faithful_only_where_the_intervals_are_apart() -> None:
    apart = card(("evidence", 0.2, 0.6), ("occlusion", 0.7, 0.9))
    assert "maps by occlusion are more faithful" in trust({"evidence"}, apart)
    assert "more faithful;" not in trust({"evidence", "occlusion"}, apart)
    assert "more faithful;" not in trust({"evidence"}, card(("evidence", 0.2, 0.6), ("occlusion", 0.5, 0.9)))
    assert "more faithful;" not in trust({"evidence"}, card(("occlusion", 0.5, 0.9)))
