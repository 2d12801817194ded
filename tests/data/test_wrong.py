"""Films spoiled on purpose: what each kind does, and that a data set of them is what the gate learns from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hilum.data import open_data, wrong
from hilum.data.opened import pixels_of
from hilum.data.phantom import draw
from hilum.types import Array

FILM = draw(3, size=128).pixels[:, :100].astype(np.float32) / 255  # higher than wide


def changed(kind: str, seed: int = 0) -> Array:
    return wrong.WRONG[kind](FILM, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", wrong.WRONG)
def test_every_kind_is_a_picture_in_range_that_follows_from_its_seed(kind: str) -> None:
    before = FILM.copy()
    for seed in range(12):
        film = changed(kind, seed)
        assert film.dtype == np.float32 and film.ndim == 2
        assert 0 <= film.min() < film.max() <= 1
        assert film.shape != FILM.shape or not np.allclose(film, FILM, atol=0.02)
        np.testing.assert_array_equal(film, changed(kind, seed))
    np.testing.assert_array_equal(FILM, before)


def test_turned_lies_on_either_side() -> None:
    sides = [changed("turned", seed) for seed in range(12)]
    assert all(film.shape == (100, 128) for film in sides)
    left, right = np.rot90(FILM), np.rot90(FILM, 3)
    assert {bool((film == left).all()) for film in sides} == {True, False}
    assert all((film == left).all() or (film == right).all() for film in sides)


def test_upside_down_inverted_and_mirrored_undo_themselves() -> None:
    for seed in range(12):
        film = changed("upside-down", seed)
        assert (film[::-1, ::-1] == FILM).all() or (film[::-1] == FILM).all()
    np.testing.assert_allclose(1 - changed("inverted"), FILM, atol=1e-6)
    np.testing.assert_array_equal(changed("mirrored")[:, ::-1], FILM)


def test_cropped_leaves_half_the_film_at_most_and_all_of_it_the_films_own() -> None:
    for seed in range(24):
        film = changed("cropped", seed)
        assert film.size <= 0.56 * FILM.size
        places = np.argwhere(film[0, 0] == FILM)
        tall, wide = film.shape
        assert any(np.array_equal(FILM[y : y + tall, x : x + wide], film) for y, x in places)


def test_a_badly_exposed_film_has_lost_most_of_its_grey_levels() -> None:
    for seed in range(12):
        film = changed("exposure", seed)
        assert max((film == 0).mean(), (film == 1).mean()) > 0.55


def test_a_photograph_shows_more_than_the_screen() -> None:
    for seed in range(6):
        film = changed("photograph", seed)
        assert min(film.shape) > 256
        assert film.size > (256 / 100) ** 2 * FILM.size


def test_films_come_as_they_are_bordered_and_in_three_wrong_kinds() -> None:
    films = open_data("phantom:6@2")
    samples = wrong.samples(films)
    assert len({sample.id for sample in samples}) == len(samples) == 5 * len(films)
    assert {sample.patient for sample in samples} == {film.patient for film in films}
    for film in films:
        own = [sample for sample in samples if sample.id.split("+")[0] == film.id]
        kinds = [next(name for name, value in sample.labels.items() if value) for sample in own]
        assert kinds[:2] == ["frontal", "frontal"] and len(set(kinds[2:])) == 3
        assert "frontal" not in kinds[2:]
        np.testing.assert_array_equal(pixels_of(own[0].image), pixels_of(film.image))
    assert all(set(sample.labels) == set(wrong.KINDS) for sample in samples)
    assert all(sum(sample.labels.values()) == 1 and sample.masks is None for sample in samples)


def test_what_is_drawn_follows_from_the_films_name_alone() -> None:
    film = open_data("phantom:1@2")[0]
    assert [s.id for s in wrong.samples([film])] == [s.id for s in wrong.samples([film, film])[:5]]
    one, same = (pixels_of(wrong.wrong(film, "cropped").image) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    other = pixels_of(wrong.wrong(replace(film, id="another"), "cropped").image)
    assert one.shape != other.shape or (one != other).any()


def test_pictures_of_another_kind_are_passed_through() -> None:
    picture = replace(open_data("phantom:1@2")[0], labels=wrong.labelled(wrong.OTHER))
    assert wrong.samples([picture]) == [picture]
