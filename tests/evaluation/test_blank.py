"""Parts of a film blanked: what is hidden leaves no trace, what stays stays, and no edge is made."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.data.phantom import draw
from hilum.evaluation.blank import BLANKS, INSIDE, OUTSIDE, UNFRAMED
from hilum.prepare import chest
from hilum.types import Array

PHANTOM = draw(3, size=200)
FILM, MASK = PHANTOM.pixels.astype(np.float32) / 255, PHANTOM.mask
ROWS, COLUMNS = (
    slice(where[0], where[-1] + 1) for where in (np.flatnonzero(MASK.any(axis=i)) for i in (1, 0))
)


def region(name: str) -> Array:
    """Pixels, (H, W) bool, of which nothing may show."""
    hidden = np.zeros(MASK.shape, bool)
    if name == OUTSIDE:
        hidden[ROWS, COLUMNS] = True
        return hidden
    hidden[:] = True
    hidden[chest(MASK)] = False
    return hidden


@pytest.mark.parametrize("name", BLANKS)
def test_nothing_of_what_is_hidden_shows(name: str) -> None:
    hidden = region(name)
    assert 0.1 < hidden.mean() < 0.9
    other = np.where(hidden, np.random.default_rng(0).random(FILM.shape, np.float32), FILM)
    shown = BLANKS[name](FILM, MASK)
    np.testing.assert_array_equal(BLANKS[name](other, MASK), shown)
    assert np.ptp(shown[hidden]) == 0
    assert shown.dtype == np.float32
    assert FILM.min() <= shown.min() and shown.max() <= FILM.max()


@pytest.mark.parametrize("name", [INSIDE, UNFRAMED])
def test_lungs_and_heart_stay_as_they_are(name: str) -> None:
    shown = BLANKS[name](FILM, MASK)
    np.testing.assert_array_equal(shown[MASK > 0], FILM[MASK > 0])
    assert (shown != FILM).mean() > 0.1


def test_the_chest_wall_stays_without_the_frame_and_goes_with_all_but_the_lungs() -> None:
    alike = {name: BLANKS[name](FILM, MASK) == FILM for name in (INSIDE, UNFRAMED)}
    assert not (alike[INSIDE] & ~alike[UNFRAMED])[region(INSIDE)].any()
    assert alike[UNFRAMED].mean() > alike[INSIDE].mean() + 0.05


def test_what_lies_around_the_box_stays_on_the_outside() -> None:
    shown = BLANKS[OUTSIDE](FILM, MASK)
    corner = np.zeros(MASK.shape, bool)
    corner[:10, :10] = corner[-10:, -10:] = True
    np.testing.assert_array_equal(shown[corner], FILM[corner])


@pytest.mark.parametrize("name", BLANKS)
def test_no_edge_is_made(name: str) -> None:
    ramp = np.tile(np.linspace(0, 1, 200, dtype=np.float32), (200, 1))
    shown = BLANKS[name](ramp, MASK)
    blank = shown[region(name)][0]
    cut = np.where(shown == blank, blank, ramp)
    soft, hard = (max(np.abs(np.diff(film, axis=axis)).max() for axis in (0, 1)) for film in (shown, cut))
    assert hard > 0.2
    assert soft < 0.4 * hard


def test_a_box_that_fills_the_film_leaves_nothing() -> None:
    full = np.ones_like(MASK)
    assert not BLANKS[OUTSIDE](FILM, full).any()
    for name in (INSIDE, UNFRAMED):
        np.testing.assert_array_equal(BLANKS[name](FILM, full), FILM)
