"""From logits to outlines: one part a structure, without holes, the surest first."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from hilum.outline import in_order, outline
from hilum.statistics.metrics import dice
from hilum.types import STRUCTURES, Array

SIZE = 64
SURE = 12.0  # a logit whose probability is 1 within 1e-5


def planes(*shapes: Array | None, inside: float = SURE, outside: float = -SURE) -> Array:
    """Logits (3, S, S) of boolean shapes, None for a structure that is nowhere."""
    found = np.full((3, SIZE, SIZE), outside, np.float32)
    for plane, shape in zip(found, shapes, strict=False):
        if shape is not None:
            plane[shape] = inside
    return found


def box(top: int, bottom: int, left: int, right: int) -> Array:
    shape = np.zeros((SIZE, SIZE), bool)
    shape[top:bottom, left:right] = True
    return shape


def disc(size: int, row: float, column: float, radius: float) -> Array:
    rows, columns = np.mgrid[:size, :size] + 0.5
    return np.asarray((rows - row) ** 2 + (columns - column) ** 2 < radius**2)


def test_each_plane_becomes_the_value_of_its_structure() -> None:
    right, left, heart = box(10, 50, 5, 25), box(10, 50, 40, 60), box(30, 50, 26, 39)
    mask = outline(planes(right, left, heart), (SIZE, SIZE))
    np.testing.assert_array_equal(mask, np.select([right, left, heart], [1, 2, 3], 0))
    assert mask.dtype == np.uint8


@pytest.mark.parametrize("labels", list(permutations(STRUCTURES)))
def test_planes_are_brought_into_the_order_of_the_structures(labels: tuple[str, ...]) -> None:
    numbers = {name: float(value) for value, name in enumerate(STRUCTURES)}
    logits = np.array([numbers[name] for name in labels])[None, :, None, None] * np.ones((2, 1, 4, 4))
    ordered = in_order(logits, labels)
    assert ordered.shape == (2, 3, 4, 4)
    assert ordered[:, :, 0, 0].tolist() == [[0, 1, 2], [0, 1, 2]]
    np.testing.assert_array_equal(in_order(logits[0], labels), ordered[0])  # of one film as of several


def test_a_plane_of_something_else_is_left_out() -> None:
    logits = np.arange(4.0)[:, None, None] * np.ones((4, 2, 2))
    found = in_order(logits, ("clavicles", "heart", "left_lung", "right_lung"))
    assert found[:, 0, 0].tolist() == [3, 2, 1]


def test_the_largest_part_is_kept() -> None:
    large, small, speck = box(10, 40, 10, 30), box(45, 60, 40, 60), box(0, 1, 0, 1)
    mask = outline(planes(large | small | speck), (SIZE, SIZE))
    np.testing.assert_array_equal(mask == 1, large)


def test_parts_that_touch_at_a_corner_are_two() -> None:
    mask = outline(planes(box(10, 40, 10, 40) | box(40, 50, 40, 50)), (SIZE, SIZE))
    np.testing.assert_array_equal(mask == 1, box(10, 40, 10, 40))


def test_holes_are_filled_and_bays_are_not() -> None:
    body, hole, bay = box(10, 50, 10, 50), box(20, 30, 20, 30), box(35, 40, 40, 50)
    mask = outline(planes(body & ~hole & ~bay), (SIZE, SIZE))
    np.testing.assert_array_equal(mask == 1, body & ~bay)
    at_edge = box(0, 50, 0, 50)  # what touches the border of the image does not enclose it
    mask = outline(planes(at_edge & ~box(0, 20, 20, 30)), (SIZE, SIZE))
    np.testing.assert_array_equal(mask == 1, at_edge & ~box(0, 20, 20, 30))


def test_the_surer_structure_has_the_pixel() -> None:
    lung, heart = box(10, 50, 10, 40), box(20, 40, 30, 50)
    logits = planes(lung, None, heart)
    logits[0][lung], logits[2][heart] = 1.0, 3.0
    assert (outline(logits, (SIZE, SIZE))[lung & heart] == 3).all()
    logits[0][lung] = 5.0
    mask = outline(logits, (SIZE, SIZE))
    assert (mask[lung & heart] == 1).all()
    assert (mask[heart & ~lung] == 3).all()


def test_a_filled_hole_gives_way_to_what_is_seen_there() -> None:
    lung, heart = box(5, 60, 5, 60) & ~box(20, 40, 20, 40), box(22, 38, 22, 38)
    mask = outline(planes(lung, None, heart), (SIZE, SIZE))
    assert (mask[heart] == 3).all()
    assert (mask[20, 20:40] == 1).all()  # the seam between both


def test_what_another_structure_cuts_off_is_dropped() -> None:
    lung, heart = box(10, 30, 5, 60), box(5, 50, 40, 50)  # the heart crosses the lung, 35 and 10 columns wide
    logits = planes(lung, None, heart)
    logits[0][lung] = 1.0
    mask = outline(logits, (SIZE, SIZE))
    np.testing.assert_array_equal(mask == 1, box(10, 30, 5, 40))
    np.testing.assert_array_equal(mask == 3, heart)
    assert not mask[:, 50:].any()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", [(SIZE, SIZE), (90, 150), (40, 30)])
def test_each_structure_is_one_part_or_none_whatever_the_network_says(
    seed: int, shape: tuple[int, int]
) -> None:
    referee = pytest.importorskip("scipy.ndimage")
    coarse = np.random.default_rng(seed).normal(0, 3, (3, SIZE, SIZE))
    logits = referee.gaussian_filter(coarse, (0, 3, 3)).astype(np.float32) * 10
    mask = outline(logits, shape)
    assert set(np.unique(mask)) == {0, 1, 2, 3}
    for value in (1, 2, 3):
        assert referee.label(mask == value)[1] == 1


def test_nothing_found_is_an_empty_mask() -> None:
    mask = outline(planes(), (100, 80))
    assert mask.shape == (100, 80)
    assert not mask.any()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("extreme", [90.0, 1e4])
def test_extreme_logits_do_not_overflow(extreme: float, kind: type[np.floating[Any]]) -> None:
    lung = box(10, 50, 10, 30)
    mask = outline(planes(lung, inside=extreme, outside=-extreme).astype(kind), (SIZE, SIZE))
    np.testing.assert_array_equal(mask == 1, lung)


def test_enlarging_keeps_the_edge_smooth() -> None:
    # A disc as a network shows it: the logit grows with the distance from the edge.
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    logits = planes()
    logits[0] = 2 * (20 - np.hypot(rows - 32, columns - 32))
    truth = disc(8 * SIZE, 8 * 32, 8 * 32, 8 * 20)
    smooth = outline(logits, (8 * SIZE, 8 * SIZE)) == 1
    blocks = np.kron(outline(logits, (SIZE, SIZE)), np.ones((8, 8), np.uint8)) == 1
    assert dice(truth, smooth) > 0.997 > dice(truth, blocks)
    assert (smooth != truth).sum() < (blocks != truth).sum() / 3


@pytest.mark.parametrize("shape", [(200, 300), (31, 47), (64, 500)])
def test_outlines_lie_on_the_films_own_pixels(shape: tuple[int, int]) -> None:
    right, left = box(16, 48, 8, 24), box(16, 48, 40, 56)
    mask = outline(planes(right, left), shape)
    assert mask.shape == shape
    for value, place in ((1, right), (2, left)):
        rows, columns = (((np.arange(n) + 0.5) * SIZE / n).astype(int) for n in shape)  # pixels' centres
        assert dice(place[np.ix_(rows, columns)], mask == value) > 0.97


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (17, 29), (200, 131), (512, 512)])
def test_structures_reach_where_their_surest_pixels_lie_at_every_size(shape: tuple[int, int]) -> None:
    """Against the plain way: every plane stretched whole, the surest of those above one half."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        rough = rng.normal(-0.5, 4, (3, SIZE, SIZE)).astype(np.float32)
        logits = np.stack([cv2.GaussianBlur(plane, (0, 0), 3) * 4 for plane in rough])
        mask = outline(logits, shape)
        stretched = []
        for plane in 1 / (1 + np.exp(-logits)):
            count, parts, stats, _ = cv2.connectedComponentsWithStats(
                (plane > 0.5).view(np.uint8), connectivity=4
            )
            largest = parts == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])) if count > 1 else parts > 0
            filled = binary_fill_holes(largest)
            clipped = np.where(filled, np.maximum(plane, 0.501), np.minimum(plane, 0.499)).astype(np.float32)
            stretched.append(cv2.resize(clipped, shape[::-1], interpolation=cv2.INTER_LINEAR))
        surest = np.where(np.max(stretched, axis=0) > 0.5, 1 + np.argmax(stretched, axis=0), 0)
        # What is outlined is what is surest, but for what was cut off from the largest part.
        assert np.array_equal(mask[mask > 0], surest[mask > 0])
        for value in (1, 2, 3):
            found = cv2.connectedComponentsWithStats((surest == value).astype(np.uint8), connectivity=4)[2]
            assert (mask == value).sum() == (found[1:, cv2.CC_STAT_AREA].max() if len(found) > 1 else 0)
