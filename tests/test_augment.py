"""Augmentation: a film stays a film, its mask stays on it, and the generator alone decides."""

from __future__ import annotations

import numpy as np
import pytest

from hilum import augment as module
from hilum.augment import augment
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
    np.testing.assert_array_equal(mask, chest[1])  # type: ignore[arg-type]
    assert rng.random() == np.random.default_rng(0).random()


def test_the_generator_decides_and_nothing_else(chest: tuple[Array, Array]) -> None:
    state = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]  # noqa: NPY002 - must stay untouched
    shown = set()
    for seed in SEEDS:
        once, again = changed(*chest, seed), changed(*chest, seed)
        np.testing.assert_array_equal(once[0], again[0])
        np.testing.assert_array_equal(once[1], again[1])
        shown.add(once[0].tobytes())
    assert len(shown) == len(SEEDS)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # type: ignore[index]  # noqa: NPY002


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
