"""Augmentation: a film stays a film, its mask stays on it, and the generator alone decides."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from hilum import augment as module
from hilum.augment import augment, geometry, intensity, mirror, outlined
from hilum.data.phantom import draw
from hilum.types import Array

SEEDS = range(60)


@pytest.fixture(scope="module")
def chest() -> tuple[Array, Array]:
    phantom = draw(3, size=128)
    return phantom.pixels.astype(np.float32) / 255, phantom.mask


def overlap(one: Array, other: Array) -> float:
    return float((one & other).sum() / (one | other).sum())


def changed(film: Array, mask: Array, seed: int, strength: float = 1.0) -> tuple[Array, Array]:
    film, warped = augment(film, mask, np.random.default_rng(seed), strength=strength)
    assert warped is not None
    return film, warped


def test_strength_zero_changes_nothing(chest: tuple[Array, Array]) -> None:
    rng = np.random.default_rng(0)
    film, mask = augment(*chest, rng, strength=0)
    np.testing.assert_array_equal(film, chest[0])
    assert mask is not None
    np.testing.assert_array_equal(mask, chest[1])
    assert rng.random() == np.random.default_rng(0).random()


def test_its_halves_move_the_film_or_change_its_greys(chest: tuple[Array, Array]) -> None:
    film, mask = chest
    for seed in SEEDS:
        turned, followed = geometry(film, mask, np.random.default_rng(seed))
        shaded, stayed = intensity(film, mask, np.random.default_rng(seed))
        assert followed is not None
        assert stayed is mask
        assert not np.array_equal(followed, mask)
        # A lung is as grey as it was.
        assert np.median(turned[followed == 1]) == pytest.approx(np.median(film[mask == 1]), abs=0.05)
        assert not np.array_equal(shaded, film)
        # One after the other they are the whole.
        rng = np.random.default_rng(seed)
        both = intensity(*geometry(film, mask, rng), rng)
        np.testing.assert_array_equal(both[0], changed(*chest, seed)[0])
    for half in (geometry, intensity):
        still, same = half(film, mask, np.random.default_rng(0), strength=0)
        assert still is film
        assert same is mask


def test_the_generator_decides_and_nothing_else(chest: tuple[Array, Array]) -> None:
    state = np.random.get_state(legacy=False)  # noqa: NPY002 - must stay untouched
    shown = set()
    for seed in SEEDS:
        once, again = changed(*chest, seed), changed(*chest, seed)
        np.testing.assert_array_equal(once[0], again[0])
        np.testing.assert_array_equal(once[1], again[1])
        shown.add(once[0].tobytes())
    assert len(shown) == len(SEEDS)
    np.testing.assert_equal(np.random.get_state(legacy=False), state)  # noqa: NPY002


def test_the_films_way_does_not_depend_on_the_mask_being_there(chest: tuple[Array, Array]) -> None:
    same = 0
    for seed in SEEDS:
        film, none = augment(chest[0], None, np.random.default_rng(seed))
        assert none is None
        same += np.array_equal(film, changed(*chest, seed)[0])
    assert same > 0.7 * len(SEEDS)  # the border alone, on a fifth of the films, makes way for the anatomy


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0, 2.0])
def test_a_film_stays_a_film(chest: tuple[Array, Array], strength: float) -> None:
    film, mask = chest[0].copy(), chest[1] * 60  # far apart, so that a value between two would show
    values = set(np.unique(mask))
    for seed in SEEDS:
        shown, warped = changed(film, mask, seed, strength)
        assert shown.dtype == np.float32
        assert warped.dtype == np.uint8
        assert shown.shape == warped.shape == film.shape
        assert 0 <= shown.min() <= shown.max() <= 1
        assert set(np.unique(warped)) <= values
    np.testing.assert_array_equal(film, chest[0])  # the caller's arrays are his own
    np.testing.assert_array_equal(mask, chest[1] * 60)


@pytest.mark.parametrize("grey", [0.0, 1.0])
def test_black_and_white_films_survive(grey: float) -> None:
    film, mask = np.full((64, 64), grey, np.float32), np.zeros((64, 64), np.uint8)
    for seed in SEEDS:
        shown, _ = changed(film, mask, seed)
        assert np.isfinite(shown).all()
        assert 0 <= shown.min() <= shown.max() <= 1


def test_the_mask_moves_with_the_film(chest: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch) -> None:
    # A film that is its own mask, and what changes greys or covers pixels taken out: the geometry is left.
    for name in ("_shade", "_degrade", "_collimate", "_letter"):
        monkeypatch.setattr(module, name, lambda film, *_: film)
    mask = (chest[1] > 0).astype(np.uint8)
    kept, moved = zip(
        *(
            (overlap(film > 0.5, warped > 0), overlap(mask > 0, warped > 0))
            for film, warped in (changed(mask.astype(np.float32), mask, seed) for seed in SEEDS)
        ),
        strict=True,
    )
    assert min(kept) > 0.95
    assert np.median(kept) > 0.99
    assert np.median(moved) < 0.8  # it did move


def test_the_outline_is_still_seen_under_all_changes(chest: tuple[Array, Array]) -> None:
    mask = (chest[1] > 0).astype(np.uint8)
    kept = [
        overlap(film > 0.5, warped > 0)
        for film, warped in (changed(mask.astype(np.float32), mask, seed) for seed in SEEDS)
    ]
    assert np.median(kept) > 0.95
    assert np.quantile(kept, 0.1) > 0.8


def test_more_strength_moves_further(chest: tuple[Array, Array]) -> None:
    moved = [
        np.mean([overlap(chest[1] > 0, changed(*chest, seed, strength)[1] > 0) for seed in SEEDS])
        for strength in (0.25, 0.5, 1.0)
    ]
    assert moved[0] > moved[1] > moved[2]


def test_a_chest_is_never_mirrored(chest: tuple[Array, Array]) -> None:
    for seed in SEEDS:
        _, mask = changed(*chest, seed)
        right, left = (np.nonzero(mask == value)[1].mean() for value in (1, 2))
        assert right < left


def test_a_border_does_not_cover_the_anatomy() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[1:-1, 2:-2] = 1
    film = np.full((64, 64), 0.5, np.float32)
    for seed in SEEDS:
        bordered = module._collimate(film, mask, np.random.default_rng(seed))
        np.testing.assert_array_equal(bordered[mask > 0], film[mask > 0])
    bordered = module._collimate(film, None, np.random.default_rng(0))
    assert 0 < (bordered != 0.5).mean() < 0.4


def drawn(chest: tuple[Array, Array], seed: int, strength: float = 1.0) -> tuple[Array, Array]:
    return outlined(*chest, np.random.default_rng(seed), strength=strength)


def test_for_outlines_too_strength_zero_changes_nothing(chest: tuple[Array, Array]) -> None:
    rng = np.random.default_rng(0)
    film, mask = outlined(*chest, rng, strength=0)
    np.testing.assert_array_equal(film, chest[0])
    np.testing.assert_array_equal(mask, chest[1])
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("strength", [0.3, 1.0, 2.0])
def test_for_outlines_a_film_stays_a_film_and_the_generator_alone_decides(
    chest: tuple[Array, Array], strength: float
) -> None:
    film, mask = chest[0].copy(), chest[1].copy()
    state = np.random.get_state(legacy=False)  # noqa: NPY002 - must stay untouched
    films = set()
    for seed in SEEDS:
        shown, warped = drawn((film, mask), seed, strength)
        assert shown.dtype == np.float32
        assert warped.dtype == np.uint8
        assert shown.shape == warped.shape == film.shape
        assert 0 <= shown.min() <= shown.max() <= 1
        assert set(np.unique(warped)) <= {0, 1, 2, 3}
        again = drawn((film, mask), seed, strength)
        np.testing.assert_array_equal(shown, again[0])
        np.testing.assert_array_equal(warped, again[1])
        films.add(shown.tobytes())
    assert len(films) == len(SEEDS)
    np.testing.assert_equal(np.random.get_state(legacy=False), state)  # noqa: NPY002
    np.testing.assert_array_equal(film, chest[0])
    np.testing.assert_array_equal(mask, chest[1])


@pytest.mark.parametrize(
    "values", [(0,), (0, 3), (0, 4), (0, 1)], ids=["none", "heart", "unsided", "one lung"]
)
def test_for_outlines_any_mask_will_do(chest: tuple[Array, Array], values: tuple[int, ...]) -> None:
    mask = np.where(chest[1] > 0, np.uint8(values[-1]), np.uint8(0))
    for seed in SEEDS:
        shown, warped = drawn((chest[0], mask), seed)
        assert np.isfinite(shown).all()
        assert set(np.unique(warped)) <= {0, *values}  # a lung alone is never taken for the other one


def test_for_outlines_the_mask_moves_with_the_film(
    chest: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As above for `augment`: only the geometry is left. The left lung alone is white, so that a mirrored
    # mask whose film was not mirrored would show.
    for name in ("_shade", "_degrade", "_collimate", "_letter", "_veil", "_recurve", "_tone"):
        monkeypatch.setattr(module, name, lambda film, *_: film)
    kept, sides = [], set()
    for seed in SEEDS:
        film, warped = drawn(((chest[1] == 2).astype(np.float32), chest[1]), seed)
        if film[0, 0] > 0.5:  # inverted: the black frame is white
            film = 1 - film
        by_value = [overlap(film > 0.5, warped == value) for value in (1, 2)]
        kept.append(max(by_value))
        sides.add(int(np.argmax(by_value)) + 1)
    assert min(kept) > 0.9
    assert np.median(kept) > 0.97
    assert sides == {1, 2}


def test_for_outlines_the_right_lung_stays_to_the_left_of_the_picture(chest: tuple[Array, Array]) -> None:
    hearts = []
    for seed in SEEDS:
        _, mask = drawn(chest, seed)
        right, left, heart = (np.nonzero(mask == value)[1].mean() for value in (1, 2, 3))
        assert right < left
        hearts.append(heart - (right + left) / 2)
    assert 0.15 < np.mean(np.array(hearts) < 0) < 0.45  # three in ten are mirrored


def test_mirror_swaps_left_and_right_in_picture_and_names() -> None:
    film = np.arange(8, dtype=np.float32).reshape(2, 4) / 8
    mask = np.array([[1, 1, 3, 2], [0, 1, 4, 2]], np.uint8)
    shown, named = mirror(film, mask)
    np.testing.assert_array_equal(shown * 8, [[3, 2, 1, 0], [7, 6, 5, 4]])
    np.testing.assert_array_equal(named, [[1, 3, 2, 2], [1, 4, 2, 0]])
    for once, twice in zip((film, mask), mirror(shown, named), strict=True):
        np.testing.assert_array_equal(once, twice)


def test_a_bend_is_smooth_and_some_hundredths_of_the_side_and_the_mask_goes_along() -> None:
    side = 200
    ramp = np.tile(np.linspace(0, 1, side, dtype=np.float32), (side, 1))
    disc = cv2.circle(np.zeros((side, side), np.uint8), (100, 100), 60, 2, -1)
    shifts = []
    for seed in range(20):
        bent, _ = module._bend(ramp, disc, np.random.default_rng(seed), 1.0)
        shift = (bent - ramp)[40:-40, 40:-40]  # of the ramp's one side
        shifts.append(np.abs(shift).mean())
        assert np.abs(np.diff(shift, axis=0)).max() < 0.004
        film, mask = module._bend((disc > 0).astype(np.float32), disc, np.random.default_rng(seed), 1.0)
        assert set(np.unique(mask)) == {0, 2}
        assert overlap(film > 0.5, mask == 2) > 0.97
        assert overlap(disc > 0, mask > 0) < 0.99
    assert 0.004 < np.mean(shifts) < 0.03


def test_a_veil_hides_lung_and_nothing_far_from_it_and_never_darkens(chest: tuple[Array, Array]) -> None:
    film, mask = chest
    lungs = (mask == 1) | (mask == 2)
    far = cv2.distanceTransform((~lungs).astype(np.uint8), cv2.DIST_L2, 5) > 0.13 * len(mask)
    hidden = []
    for seed in SEEDS:
        change = module._veil(film, mask, np.random.default_rng(seed)) - film
        assert change.min() >= 0
        assert change[far].max() < 1e-3
        hidden.append([(change[mask == value] > 0.05).mean() for value in (1, 2)])
    right, left = np.array(hidden).T
    assert (right > 0.1).any()
    assert (left > 0.1).any()
    assert ((right > 0.1) & (left == 0)).any()  # one side alone
    assert ((right > 0.1) & (left > 0.1)).any()


def test_another_tone_curve_keeps_black_white_and_the_order_of_greys() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    curves = [module._recurve(ramp, np.random.default_rng(seed))[0] for seed in SEEDS]
    for curve in curves:
        assert curve.dtype == np.float32
        assert (curve[0], curve[-1]) == pytest.approx((0, 1))
        assert (np.diff(curve) >= 0).all()
    assert min(curve[128] for curve in curves) < 0.4
    assert max(curve[128] for curve in curves) > 0.6
