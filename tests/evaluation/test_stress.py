"""Stresses: a film stays a film, its mask stays on it, and each does what its name says."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import pytest

from hilum.data.phantom import draw
from hilum.evaluation.stress import STRESSES
from hilum.statistics.metrics import dice
from hilum.types import Array

SIZE = 128
SEEDS = range(12)
MOVING = ("rotation", "shift", "zoom", "border", "mirror")
FIXED = ("blur", "JPEG", "inversion", "range", "mirror")  # that leave nothing to chance
GREYS = sorted(set(STRESSES) - set(MOVING))

Pair = tuple[Array, Array]


@pytest.fixture(scope="module")
def chest() -> Pair:
    phantom = draw(3, size=SIZE, findings=[])
    return phantom.pixels.astype(np.float32) / 255, phantom.mask


def stressed(name: str, film: Array, mask: Array, seed: int = 0) -> Pair:
    return STRESSES[name](film, mask, np.random.default_rng(seed))


def boxed(side: int, top: int, bottom: int, left: int, right: int) -> Pair:
    """A film of one white box on black, and the mask that says so."""
    mask = np.zeros((side, side), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask.astype(np.float32), mask


def middle(shape: Array) -> Array:
    """Centre of a boolean mask, (row, column)."""
    return np.array([axis.mean() for axis in np.nonzero(shape)])


@pytest.mark.parametrize("name", STRESSES)
def test_a_film_stays_a_film_and_the_callers_arrays_are_his_own(name: str, chest: Pair) -> None:
    film, mask = chest[0].copy(), chest[1].copy()
    for seed in SEEDS:
        shown, moved = stressed(name, film, mask, seed)
        assert shown.dtype == np.float32
        assert moved.dtype == np.uint8
        assert shown.shape == moved.shape == film.shape
        assert 0 <= shown.min() <= shown.max() <= 1
        assert set(np.unique(moved)) == {0, 1, 2, 3}
        assert np.abs(shown - film).mean() > 0.001
    np.testing.assert_array_equal(film, chest[0])
    np.testing.assert_array_equal(mask, chest[1])


@pytest.mark.parametrize("name", STRESSES)
def test_the_generator_decides_and_nothing_else(name: str, chest: Pair) -> None:
    before = np.random.get_state(legacy=False)  # noqa: NPY002 - must stay untouched
    films = set()
    for seed in SEEDS:
        (film, mask), (film_again, mask_again) = (stressed(name, *chest, seed) for _ in range(2))
        np.testing.assert_array_equal(film, film_again)
        np.testing.assert_array_equal(mask, mask_again)
        films.add(film.tobytes())
    np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002
    assert (len(films) == 1) == (name in FIXED)


@pytest.mark.parametrize("name", GREYS)
def test_what_changes_greys_leaves_the_mask_as_it_is(name: str, chest: Pair) -> None:
    for seed in SEEDS:
        np.testing.assert_array_equal(stressed(name, *chest, seed)[1], chest[1])


@pytest.mark.parametrize("name", MOVING)
def test_the_mask_moves_with_the_film(name: str, chest: Pair) -> None:
    mask = chest[1]
    for value, seed in product((1, 2, 3), SEEDS):
        shape = (mask == (3 - value if name == "mirror" and value < 3 else value)).astype(np.float32)
        # The same on a black film, so that a white border takes itself off.
        bare, moved = stressed(name, np.zeros_like(shape), mask, seed)
        seen = stressed(name, shape, mask, seed)[0] - bare > 0.5
        assert dice(moved == value, seen) > 0.95
        assert dice(moved == value, mask == value) < 0.94


@pytest.mark.parametrize("value", [0, 1, 3, 4], ids=["nothing", "one lung", "heart", "lungs of unknown side"])
@pytest.mark.parametrize("name", STRESSES)
def test_whatever_the_mask_shows_the_film_can_be_stressed(name: str, value: int, chest: Pair) -> None:
    mask = np.where(chest[1] == (value if value < 4 else 1), value, 0).astype(np.uint8)
    if value == 4:
        mask[chest[1] == 2] = value
    for seed in range(3):
        shown, moved = stressed(name, chest[0], mask, seed)
        assert shown.shape == moved.shape == mask.shape
        assert set(np.unique(moved)) <= {0, value, 2 if name == "mirror" and value == 1 else value}


def test_rotation_is_by_10_to_20_degrees_either_way() -> None:
    film, mask = boxed(SIZE, 24, 104, 60, 68)
    angles = []
    for seed in SEEDS:
        moved = stressed("rotation", film, mask, seed)[1]
        np.testing.assert_allclose(middle(moved > 0), middle(mask > 0), atol=0.6)
        rows, columns = np.nonzero(moved)
        angles.append(np.degrees(np.polyfit(rows, columns, 1)[0]))  # small enough for the tangent's own size
    assert all(9 < abs(angle) < 22 for angle in angles)
    assert min(angles) < 0 < max(angles)


def test_shift_is_by_15_percent_of_the_side_in_any_direction() -> None:
    film, mask = boxed(SIZE, 54, 74, 54, 74)
    moves = np.array([middle(stressed("shift", film, mask, s)[1] > 0) - middle(mask > 0) for s in SEEDS])
    np.testing.assert_allclose(np.hypot(*moves.T), 0.15 * SIZE, atol=0.75)
    assert (moves.min(axis=0) < -3).all()
    assert (moves.max(axis=0) > 3).all()


def test_zoom_is_smaller_or_larger_about_the_middle() -> None:
    film, mask = boxed(SIZE, 34, 94, 44, 84)
    scales = []
    for seed in SEEDS:
        moved = stressed("zoom", film, mask, seed)[1]
        np.testing.assert_allclose(middle(moved > 0), middle(mask > 0), atol=0.75)
        scales.append((moved.sum() / mask.sum()) ** 0.5)
    assert all(0.53 < scale < 0.77 or 1.18 < scale < 1.37 for scale in scales)
    assert min(scales) < 1 < max(scales)


def test_a_border_is_black_or_white_above_and_below_or_at_both_sides() -> None:
    film, mask = np.full((SIZE, SIZE), 0.5, np.float32), np.ones((SIZE, SIZE), np.uint8)
    seen = set()
    for seed in range(40):
        shown, moved = stressed("border", film, mask, seed)
        framed = np.abs(shown - 0.5) > 0.25
        assert 0.2 / 1.2 - 0.03 < framed.mean() < 0.4 / 1.4 + 0.03  # 2 x 10 to 20 % of the old side
        np.testing.assert_allclose(framed[moved == 0].mean(), 1, atol=0.1)
        seen.add((float(shown[0, 0]), bool(framed[0].all())))
        assert framed[0].all() != framed[:, 0].all()
    assert seen == {(colour, upright) for colour in (0.0, 1.0) for upright in (True, False)}


@pytest.mark.parametrize("lung", [1, 2])
def test_a_lung_alone_is_not_mirrored_into_the_other_one(chest: Pair, lung: int) -> None:
    film, mask = chest[0], np.where(chest[1] == 3 - lung, 0, chest[1]).astype(np.uint8)
    for before, after in zip((film, mask), stressed("mirror", film, mask), strict=True):
        np.testing.assert_array_equal(before, after)


def test_mirror_swaps_the_sides_and_twice_is_nothing(chest: Pair) -> None:
    film, mask = stressed("mirror", *chest)
    np.testing.assert_array_equal(film, chest[0][:, ::-1])
    np.testing.assert_array_equal(mask == 1, chest[1][:, ::-1] == 2)
    np.testing.assert_array_equal(mask == 2, chest[1][:, ::-1] == 1)
    np.testing.assert_array_equal(mask == 3, chest[1][:, ::-1] == 3)
    assert middle(mask == 1)[1] < middle(mask == 2)[1]  # the right lung is still on the picture's left
    for once, twice in zip(chest, stressed("mirror", film, mask), strict=True):
        np.testing.assert_array_equal(once, twice)


def test_gamma_brightens_or_darkens_the_greys_between_black_and_white() -> None:
    film = np.repeat(np.array([[0.0, 0.25, 1.0]], np.float32), 3, axis=0)
    shown = [stressed("gamma", film, np.ones((3, 3), np.uint8), seed)[0][0].tolist() for seed in SEEDS]
    assert {tuple(round(grey, 4) for grey in row) for row in shown} == {
        (0.0, round(2**-0.7, 4), 1.0),  # 1/4 to the power of 0.35
        (0.0, round(2**-5.6, 4), 1.0),  # and of 2.8
    }


def test_contrast_falls_to_a_fifth_in_the_dark_or_in_the_bright_and_to_whole_levels(chest: Pair) -> None:
    shown = [stressed("contrast", *chest, seed)[0] for seed in SEEDS]
    for one in shown:
        np.testing.assert_allclose(one - one.mean(), (chest[0] - chest[0].mean()) / 5, atol=1 / 255)
        np.testing.assert_allclose(one * 255, np.rint(one * 255), atol=1e-4)
    assert min(one.max() for one in shown) < 0.21
    assert max(one.min() for one in shown) > 0.74


def test_blur_spreads_an_edge_over_two_hundredths_of_the_side() -> None:
    side = 400
    edge = np.zeros((side, side), np.float32)
    edge[:, side // 2 :] = 1
    profile = stressed("blur", edge, np.zeros((side, side), np.uint8))[0][side // 2]
    # One standard deviation beyond the edge, 8 columns, a Gaussian's sum stands at 84.1 %.
    assert np.interp(0.841, profile, np.arange(side) + 0.5) - side / 2 == pytest.approx(8, abs=0.3)


def test_noise_is_12_percent_of_the_range_and_of_no_direction() -> None:
    grey = np.full((SIZE, SIZE), 0.5, np.float32)
    noise = stressed("noise", grey, np.zeros((SIZE, SIZE), np.uint8))[0] - 0.5
    assert noise.std() == pytest.approx(0.12, rel=0.05)
    assert abs(noise.mean()) < 0.005
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.05


def test_jpeg_loses_detail_in_blocks_of_8_pixels() -> None:
    rng = np.random.default_rng(1)
    film = np.clip(rng.normal(0.5, 0.15, (SIZE, SIZE)), 0, 1).astype(np.float32)
    shown = stressed("JPEG", film, np.zeros((SIZE, SIZE), np.uint8))[0]
    changes = np.abs(np.diff(shown, axis=1))
    at_seams = np.arange(1, SIZE) % 8 == 0
    assert changes[:, at_seams].mean() > 1.2 * changes[:, ~at_seams].mean()
    assert 0.01 < np.abs(shown - film).mean() < 0.15


def test_inversion_makes_air_bright_and_twice_is_nothing(chest: Pair) -> None:
    film, mask = stressed("inversion", *chest)
    lungs = (mask == 1) | (mask == 2)
    assert chest[0][lungs].mean() < chest[0][mask == 3].mean()
    assert film[lungs].mean() > film[mask == 3].mean()
    np.testing.assert_allclose(stressed("inversion", film, mask)[0], chest[0], atol=1e-6)


def test_range_leaves_16_dark_levels_in_their_order() -> None:
    ramp = np.linspace(0, 1, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    shown = stressed("range", ramp, np.zeros((SIZE, SIZE), np.uint8))[0].ravel()
    np.testing.assert_allclose(np.unique(shown), np.arange(16) / 255)  # of a byte's 256
    assert (np.diff(shown) >= 0).all()


def test_collimation_leaves_the_anatomy_and_an_even_margin_of_one_percent_at_most() -> None:
    film, mask = np.full((400, 400), 0.5, np.float32), np.zeros((400, 400), np.uint8)
    mask[100:300, 80:180], mask[120:280, 220:340] = 1, 2
    found = set()
    for seed in SEEDS:
        rows, columns = np.nonzero(stressed("collimation", film, mask, seed)[0] == 0.5)
        margins = {100 - rows.min(), rows.max() - 299, 80 - columns.min(), columns.max() - 339}
        assert len(margins) == 1  # the same on all four sides
        found |= margins
    assert 0 == min(found) < max(found) <= 4


def test_letters_are_burnt_in_at_top_and_bottom_and_over_a_lung(chest: Pair) -> None:
    film, mask = np.zeros_like(chest[0]), chest[1]
    for seed in SEEDS:
        shown = stressed("letters", film, mask, seed)[0]
        assert shown.max() == 1
        assert 0.005 < (shown > 0).mean() < 0.1
        assert (shown[: SIZE // 16] > 0).any()
        assert (shown[-SIZE // 12 :] > 0).any()
        grown = cv2.dilate(((mask == 1) | (mask == 2)).astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        assert (shown[grown] > 0).any()
        bright = stressed("letters", np.ones_like(film), mask, seed)[0]
        assert (bright == 1).all()  # they never darken


def test_opacity_brightens_lungs_and_nothing_far_from_them(chest: Pair) -> None:
    film, mask = chest
    lungs = (mask == 1) | (mask == 2)
    far = cv2.distanceTransform((~lungs).astype(np.uint8), cv2.DIST_L2, 5) > 0.05 * SIZE
    risen = []
    for seed in range(20):
        change = stressed("opacity", film, mask, seed)[0] - film
        assert change.min() >= 0
        assert change[far].max() == 0
        assert change[lungs].mean() > change[~lungs].mean()
        risen.append((change[lungs] > 0.05).mean())
    assert np.median(risen) > 0.1


def test_opacity_lies_on_the_lungs_wherever_they_are() -> None:
    film = np.full((SIZE, SIZE), 0.8, np.float32)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[60:120, 4:30], mask[60:120, 40:70] = 1, 2
    film[mask > 0] = 0.2
    for seed in SEEDS:
        rows, columns = np.nonzero(stressed("opacity", film, mask, seed)[0] > film + 0.02)
        assert len(rows)
        assert rows.min() >= 56
        assert columns.max() <= 73
