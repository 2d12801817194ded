"""From logits to outlines: one part a structure, without holes, the surest first."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.metrics import dice
from hilum.outline import outline
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
    anatomy = outline(planes(right, left, heart), (SIZE, SIZE))
    expected = np.select([right, left, heart], [1, 2, 3], 0)
    np.testing.assert_array_equal(anatomy.mask, expected)
    assert anatomy.mask.dtype == np.uint8
    assert tuple(anatomy.quality) == STRUCTURES


def test_the_largest_part_is_kept() -> None:
    large, small, speck = box(10, 40, 10, 30), box(45, 60, 40, 60), box(0, 1, 0, 1)
    anatomy = outline(planes(large | small | speck), (SIZE, SIZE))
    np.testing.assert_array_equal(anatomy.mask == 1, large)


def test_parts_that_touch_at_a_corner_are_two() -> None:
    anatomy = outline(planes(box(10, 40, 10, 40) | box(40, 50, 40, 50)), (SIZE, SIZE))
    np.testing.assert_array_equal(anatomy.mask == 1, box(10, 40, 10, 40))


def test_holes_are_filled_and_bays_are_not() -> None:
    body, hole, bay = box(10, 50, 10, 50), box(20, 30, 20, 30), box(35, 40, 40, 50)
    anatomy = outline(planes(body & ~hole & ~bay), (SIZE, SIZE))
    np.testing.assert_array_equal(anatomy.mask == 1, body & ~bay)
    at_edge = box(0, 50, 0, 50)  # what touches the border of the image does not enclose it
    anatomy = outline(planes(at_edge & ~box(0, 20, 20, 30)), (SIZE, SIZE))
    np.testing.assert_array_equal(anatomy.mask == 1, at_edge & ~box(0, 20, 20, 30))


def test_the_surer_structure_has_the_pixel() -> None:
    lung, heart = box(10, 50, 10, 40), box(20, 40, 30, 50)
    logits = planes(lung, None, heart)
    logits[0][lung], logits[2][heart] = 1.0, 3.0
    assert (outline(logits, (SIZE, SIZE)).mask[lung & heart] == 3).all()
    logits[0][lung] = 5.0
    mask = outline(logits, (SIZE, SIZE)).mask
    assert (mask[lung & heart] == 1).all()
    assert (mask[heart & ~lung] == 3).all()


def test_a_filled_hole_gives_way_to_what_is_seen_there() -> None:
    lung, heart = box(5, 60, 5, 60) & ~box(20, 40, 20, 40), box(22, 38, 22, 38)
    mask = outline(planes(lung, None, heart), (SIZE, SIZE)).mask
    assert (mask[heart] == 3).all()
    assert (mask[20, 20:40] == 1).all()  # the seam between both


def test_quality_is_one_when_sure_and_falls_with_doubt() -> None:
    lung = box(10, 50, 10, 30)
    sure = outline(planes(lung), (SIZE, SIZE)).quality["right_lung"]
    assert sure == pytest.approx(1, abs=1e-3)
    qualities = [
        outline(planes(lung, inside=logit, outside=-logit), (SIZE, SIZE)).quality["right_lung"]
        for logit in (8.0, 4.0, 2.0, 0.5)
    ]
    assert sure > qualities[0] > qualities[1] > qualities[2] > qualities[3] > 0


def test_quality_is_the_expected_dice() -> None:
    lung = box(0, 32, 0, 32)
    logits = planes(lung, inside=float(np.log(0.8 / 0.2)))  # 1024 pixels at 0.8, the others at 0
    quality = outline(logits, (SIZE, SIZE)).quality["right_lung"]
    assert quality == pytest.approx(2 * 0.8 * 1024 / (0.8 * 1024 + 1024), abs=1e-3)


def test_nothing_found_is_an_empty_mask_of_quality_zero() -> None:
    anatomy = outline(planes(), (100, 80))
    assert anatomy.mask.shape == (100, 80)
    assert not anatomy.mask.any()
    assert anatomy.quality == dict.fromkeys(STRUCTURES, 0.0)


@pytest.mark.parametrize("extreme", [90.0, 1e4])
def test_extreme_logits_do_not_overflow(extreme: float) -> None:
    lung = box(10, 50, 10, 30)
    anatomy = outline(planes(lung, inside=extreme, outside=-extreme), (SIZE, SIZE))
    np.testing.assert_array_equal(anatomy.mask == 1, lung)
    assert anatomy.quality["right_lung"] == pytest.approx(1)


def test_enlarging_keeps_the_edge_smooth() -> None:
    # A disc as a network shows it: the logit grows with the distance from the edge.
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    logits = planes()
    logits[0] = 2 * (20 - np.hypot(rows - 32, columns - 32))
    truth = disc(8 * SIZE, 8 * 32, 8 * 32, 8 * 20)
    smooth = outline(logits, (8 * SIZE, 8 * SIZE)).mask == 1
    blocks = np.kron(outline(logits, (SIZE, SIZE)).mask, np.ones((8, 8), np.uint8)) == 1
    assert dice(truth, smooth) > 0.997 > dice(truth, blocks)
    assert (smooth != truth).sum() < (blocks != truth).sum() / 3


@pytest.mark.parametrize("shape", [(200, 300), (31, 47), (64, 500)])
def test_outlines_lie_on_the_films_own_pixels(shape: tuple[int, int]) -> None:
    right, left = box(16, 48, 8, 24), box(16, 48, 40, 56)
    mask = outline(planes(right, left), shape).mask
    assert mask.shape == shape
    for value, place in ((1, right), (2, left)):
        rows, columns = (((np.arange(n) + 0.5) * SIZE / n).astype(int) for n in shape)  # pixels' centres
        assert dice(place[np.ix_(rows, columns)], mask == value) > 0.97
