"""Measurements against drawn rectangles whose sizes are known."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.measure import measure
from hilum.types import Anatomy, Array, Measurements


def draw(**boxes: tuple[int, int, int, int]) -> Anatomy:
    """A film of 100 x 200 pixels with boxes (top, bottom, left, right), the ends excluded."""
    mask: Array = np.zeros((100, 200), np.uint8)
    for value, name in enumerate(("right_lung", "left_lung", "heart"), start=1):
        if name in boxes:
            top, bottom, left, right = boxes[name]
            mask[top:bottom, left:right] = value
    return Anatomy(mask=mask, quality={})


CHEST = {"right_lung": (20, 80, 30, 80), "left_lung": (10, 70, 120, 190), "heart": (50, 90, 70, 150)}
"""The heart is drawn last and covers parts of both lungs, but no outer edge."""


def test_known_rectangles() -> None:
    result = measure(draw(**CHEST), spacing=(0.5, 0.2))
    # Thorax: columns 30 to 189. Lungs: 60 x 50 less 30 x 10, and 60 x 70 less 20 x 30, under the heart.
    assert result == Measurements(
        cardiothoracic_ratio=80 / 160,
        right_lung_fraction=2700 / 20000,
        left_lung_fraction=3600 / 20000,
        right_lung_mm2=pytest.approx(270),
        left_lung_mm2=pytest.approx(360),
        heart_width_mm=pytest.approx(16),
        thorax_width_mm=pytest.approx(32),
    )


def test_without_spacing_there_are_no_lengths_but_the_same_ratio() -> None:
    result = measure(draw(**CHEST), None)
    assert result.cardiothoracic_ratio == 0.5
    lengths = (result.right_lung_mm2, result.left_lung_mm2, result.heart_width_mm, result.thorax_width_mm)
    assert lengths == (None,) * 4


@pytest.mark.parametrize("missing", CHEST)
def test_a_missing_structure_leaves_the_ratio_open(missing: str) -> None:
    result = measure(draw(**{name: box for name, box in CHEST.items() if name != missing}), (1.0, 1.0))
    assert result.cardiothoracic_ratio is None
    assert (result.heart_width_mm is None) == (missing == "heart")
    assert (result.thorax_width_mm is None) == (missing != "heart")
    assert (result.right_lung_mm2 is None) == (missing == "right_lung")
    assert (result.right_lung_fraction == 0) == (missing == "right_lung")


def test_an_empty_mask_measures_nothing() -> None:
    assert measure(draw(), (1.0, 1.0)) == Measurements(
        cardiothoracic_ratio=None, right_lung_fraction=0.0, left_lung_fraction=0.0
    )


def test_thorax_is_measured_along_one_row() -> None:
    # The lungs' outermost columns, 30 and 189, lie on different rows: no row is 160 wide.
    anatomy = draw(right_lung=(20, 80, 40, 80), left_lung=(10, 70, 120, 180), heart=(60, 90, 100, 170))
    anatomy.mask[75, 30] = 1
    anatomy.mask[15, 189] = 2
    assert measure(anatomy, None).cardiothoracic_ratio == 70 / 140


def test_lungs_on_no_common_row_give_no_ratio() -> None:
    anatomy = draw(right_lung=(0, 40, 30, 80), left_lung=(40, 80, 120, 190), heart=(50, 90, 90, 110))
    assert measure(anatomy, None).cardiothoracic_ratio is None


def test_a_heart_in_two_pieces_counts_from_end_to_end() -> None:
    anatomy = draw(**CHEST)
    anatomy.mask[:, 100:110] = 0
    assert measure(anatomy, None).cardiothoracic_ratio == 0.5


def test_remarks_say_what_the_ratio_hides() -> None:
    from hilum.measure import remarks
    from hilum.types import Measurements

    whole = Measurements(cardiothoracic_ratio=0.5, right_lung_fraction=0.2, left_lung_fraction=0.2)
    without = Measurements(cardiothoracic_ratio=None, right_lung_fraction=0.2, left_lung_fraction=0.0)
    assert remarks(whole, "PA") == remarks(whole, None) == ()
    assert "magnified" in remarks(whole, "AP")[0]
    assert "was not found" in remarks(without, "AP")[0]
