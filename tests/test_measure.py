"""Measurements against drawn rectangles whose sizes are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hilum.measure import is_mirrored, measure, remarks
from hilum.types import STRUCTURES, Anatomy, Array, Measurements, Origin, Radiograph


def draw(**boxes: tuple[int, int, int, int]) -> Anatomy:
    """A film of 100 x 200 pixels with boxes (top, bottom, left, right), the ends excluded."""
    mask: Array = np.zeros((100, 200), np.uint8)
    for value, name in enumerate(STRUCTURES, start=1):
        if name in boxes:
            top, bottom, left, right = boxes[name]
            mask[top:bottom, left:right] = value
    return Anatomy(mask=mask, quality=dict.fromkeys(STRUCTURES, 0.9))


def film(view: str | None = "PA", *, supine: bool = False) -> Radiograph:
    origin = Origin(path="a.dcm", sha256="0" * 64, format="DICOM", supine=supine)
    return Radiograph(pixels=np.zeros((100, 200), np.float32), view=view, origin=origin)


CHEST = {"right_lung": (20, 80, 30, 80), "left_lung": (10, 70, 120, 190), "heart": (50, 90, 70, 150)}
"""The heart is drawn last and covers parts of both lungs, but no outer edge."""


def test_known_rectangles() -> None:
    result = measure(draw(**CHEST), spacing=(2.5, 10.0))
    # Thorax: columns 30 to 189. Lungs: 60 x 50 less 30 x 10, and 60 x 70 less 20 x 30, under the heart.
    # The middles: of the heart column 110, of the thorax 110.
    assert result == Measurements(
        cardiothoracic_ratio=80 / 160,
        right_lung_fraction=2700 / 20000,
        left_lung_fraction=3600 / 20000,
        right_lung_pixels=2700,
        left_lung_pixels=3600,
        lung_symmetry=2700 / 3600,
        heart_offset=0.0,
        heart_span=(70, 150),
        thorax_span=(30, 190),
        right_lung_cm2=675.0,  # 25 mm2 a pixel
        left_lung_cm2=900.0,
        heart_width_mm=800.0,  # 10 mm a column
        thorax_width_mm=1600.0,
    )


def test_without_spacing_there_are_no_lengths_but_all_else_is_the_same() -> None:
    scaled, plain = measure(draw(**CHEST), (0.5, 0.2)), measure(draw(**CHEST), None)
    lengths = dict.fromkeys(("right_lung_cm2", "left_lung_cm2", "heart_width_mm", "thorax_width_mm"))
    assert plain == replace(scaled, **lengths)  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", CHEST)
def test_a_missing_structure_leaves_the_ratio_open(missing: str) -> None:
    result = measure(draw(**{name: box for name, box in CHEST.items() if name != missing}), (1.0, 1.0))
    assert result.cardiothoracic_ratio is None
    assert result.heart_offset is None
    assert (result.heart_width_mm is None) == (result.heart_span is None) == (missing == "heart")
    assert (result.thorax_width_mm is None) == (result.thorax_span is None) == (missing != "heart")
    assert (result.lung_symmetry is None) == (missing != "heart")
    for lung, area, pixels, fraction in (
        ("right_lung", result.right_lung_cm2, result.right_lung_pixels, result.right_lung_fraction),
        ("left_lung", result.left_lung_cm2, result.left_lung_pixels, result.left_lung_fraction),
    ):
        assert (area is None) == (pixels == 0) == (fraction == 0) == (lung == missing)


def test_an_empty_mask_measures_nothing() -> None:
    assert measure(draw(), (1.0, 1.0)) == Measurements(
        cardiothoracic_ratio=None, right_lung_fraction=0.0, left_lung_fraction=0.0
    )


def test_the_thorax_reaches_from_edge_to_edge_over_the_whole_film() -> None:
    # The lungs' outermost columns, 30 and 189, lie on different rows: no one row is 160 wide.
    anatomy = draw(right_lung=(20, 80, 40, 80), left_lung=(10, 70, 120, 180), heart=(60, 90, 100, 170))
    anatomy.mask[75, 30] = 1
    anatomy.mask[15, 189] = 2
    result = measure(anatomy, None)
    assert result.thorax_span == (30, 190)
    assert result.cardiothoracic_ratio == 70 / 160


def test_lungs_on_no_common_row_give_a_ratio_all_the_same() -> None:
    anatomy = draw(right_lung=(0, 40, 30, 80), left_lung=(40, 80, 120, 190), heart=(50, 90, 90, 110))
    assert measure(anatomy, None).cardiothoracic_ratio == 20 / 160


def test_the_heart_is_measured_at_its_widest() -> None:
    anatomy = draw(**CHEST | {"heart": (50, 90, 90, 120)})
    anatomy.mask[60, 75:100] = 3  # its right border reaches out on one row, its left on another
    anatomy.mask[85, 100:145] = 3
    result = measure(anatomy, None)
    assert result.heart_span == (75, 145)
    assert result.cardiothoracic_ratio == 70 / 160


def test_a_heart_in_two_pieces_counts_from_end_to_end() -> None:
    anatomy = draw(**CHEST)
    anatomy.mask[:, 100:110] = 0
    assert measure(anatomy, None).cardiothoracic_ratio == 0.5


def test_structures_at_the_films_border_count_to_its_last_pixel() -> None:
    result = measure(
        draw(right_lung=(0, 100, 0, 50), left_lung=(0, 100, 150, 200), heart=(99, 100, 90, 130)), None
    )
    assert (result.heart_span, result.thorax_span) == ((90, 130), (0, 200))
    assert result.cardiothoracic_ratio == 40 / 200


@pytest.mark.parametrize(("shift", "offset"), [(20, 0.25), (-20, -0.25), (40, 0.5), (0, 0.0)])
def test_the_offset_is_positive_to_the_pictures_right_in_heart_widths(shift: int, offset: float) -> None:
    heart = (50, 90, 70 + shift, 150 + shift)
    assert measure(draw(**CHEST | {"heart": heart}), None).heart_offset == offset


def test_symmetry_does_not_ask_which_lung_is_the_smaller() -> None:
    right, left = (0, 10, 0, 30), (0, 10, 100, 140)
    assert measure(draw(right_lung=right, left_lung=left), None).lung_symmetry == 0.75
    assert measure(draw(right_lung=left, left_lung=right), None).lung_symmetry == 0.75


def test_rows_and_columns_have_spacings_of_their_own() -> None:
    one, other = (measure(draw(**CHEST), spacing) for spacing in ((0.5, 0.2), (0.2, 0.5)))
    assert (one.heart_width_mm, other.heart_width_mm) == pytest.approx((16, 40))
    assert one.right_lung_cm2 == pytest.approx(other.right_lung_cm2)


OF_LUNGS = ("cardiothoracic_ratio", "lung_symmetry", "heart_offset", "thorax_span", "thorax_width_mm")
OF_HEART = ("cardiothoracic_ratio", "heart_offset", "heart_span", "heart_width_mm")


@pytest.mark.parametrize(
    ("names", "withheld"),
    [
        ({"right_lung"}, OF_LUNGS),
        ({"left_lung"}, OF_LUNGS),
        ({"heart"}, OF_HEART),
        (set(STRUCTURES), OF_LUNGS + OF_HEART),
    ],
)
def test_an_unreliable_outline_withholds_what_rests_on_it_and_nothing_else(
    names: set[str], withheld: tuple[str, ...]
) -> None:
    trusted = measure(draw(**CHEST), (1.0, 1.0))
    doubted = measure(replace(draw(**CHEST), unreliable=frozenset(names)), (1.0, 1.0))
    assert None not in [getattr(trusted, name) for name in withheld]
    assert doubted == replace(trusted, **dict.fromkeys(withheld))


def said(anatomy: Anatomy, shown: Radiograph) -> tuple[str, ...]:
    return remarks(measure(anatomy, None), anatomy, shown)


@pytest.mark.parametrize("view", ["PA", None, ""])
def test_nothing_is_remarked_on_a_plain_film(view: str | None) -> None:
    assert said(draw(**CHEST), film(view)) == ()


@pytest.mark.parametrize(
    ("view", "supine", "start"),
    [
        ("AP", False, "AP film:"),
        ("ap", False, "AP film:"),
        ("AP", True, "AP, supine film:"),
        ("PA", True, "supine film:"),
        (None, True, "supine film:"),
    ],
)
def test_a_magnified_heart_is_remarked(view: str | None, supine: bool, start: str) -> None:
    (note,) = said(draw(**CHEST), film(view, supine=supine))
    assert note.startswith(start)
    assert "cardiothoracic ratio, is magnified" in note


@pytest.mark.parametrize("missing", CHEST)
def test_a_ratio_that_is_missing_is_explained_and_not_called_magnified(missing: str) -> None:
    anatomy = draw(**{name: box for name, box in CHEST.items() if name != missing})
    (note,) = said(anatomy, film("AP", supine=True))
    assert note == "no cardiothoracic ratio: the heart or a lung was not found"


def test_unreliable_outlines_are_named_with_their_quality_and_withhold_the_ratio() -> None:
    anatomy = replace(
        draw(**CHEST),
        quality={"right_lung": 0.97, "left_lung": 0.9204, "heart": 0.3},
        unreliable=frozenset({"heart", "left_lung"}),
        needed={"right_lung": 0.94, "left_lung": 0.9344},
    )
    assert said(anatomy, film("AP")) == (
        "left lung: outline not reliable (quality 0.920, needs 0.934)",
        "heart: outline not reliable (quality 0.300)",
        "no cardiothoracic ratio: an outline is not reliable",
    )


def test_a_heart_that_is_unreliable_by_its_shape_is_not_blamed_on_its_quality() -> None:
    anatomy = replace(draw(**CHEST), unreliable=frozenset({"heart"}), needed=dict.fromkeys(STRUCTURES, 0.9))
    assert said(anatomy, film())[0] == (
        "heart: outline not reliable (reaches beyond the lungs, or is larger than both)"
    )


@pytest.mark.parametrize(("middle", "noted"), [(110 - 20, True), (110 - 3, True), (110, False), (130, False)])
def test_a_heart_that_points_to_the_pictures_left_may_be_mirrored(middle: int, noted: bool) -> None:
    # The thorax's middle is column 110, the heart 80 wide: 20 and 3 columns are 0.25 and 0.0375 of it.
    measured = measure(draw(**CHEST | {"heart": (50, 90, middle - 40, middle + 40)}), None)
    assert is_mirrored(measured) is noted


def test_turning_a_film_round_is_what_points_the_heart_the_other_way() -> None:
    chest = CHEST | {"heart": (50, 90, 80, 160)}
    turned = {
        name: (top, bottom, 200 - right, 200 - left) for name, (top, bottom, left, right) in chest.items()
    }
    turned["right_lung"], turned["left_lung"] = turned["left_lung"], turned["right_lung"]
    right_way, wrong_way = draw(**chest), draw(**turned)
    measured = [measure(anatomy, None) for anatomy in (right_way, wrong_way)]
    assert [one.heart_offset for one in measured] == [0.125, -0.125]
    assert [is_mirrored(one) for one in measured] == [False, True]
