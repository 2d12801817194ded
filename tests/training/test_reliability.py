"""How quality is learned: a stub network that overlooks what is dim, and what its failures teach."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from hilum.card import Preparation, Reliability
from hilum.data.cache import Cache
from hilum.evaluation.stress import STRESSES
from hilum.prepare import prepare
from hilum.segment import anatomy
from hilum.training import reliability as module
from hilum.training.reliability import reliabilities
from hilum.types import LUNG_OF_UNKNOWN_SIDE, STRUCTURES, Anatomy, Array, Sample

SIZE = 64
PREPARATION = Preparation(size=SIZE)
UNTAUGHT = Reliability(intercept=0.0, slope=1.0, threshold=0.0)  # the quality is the promise; no flags
TAKES = 5  # of each film: as it is, twice under one stress, twice under two

Stress = Callable[[Array, Array, np.random.Generator], tuple[Array, Array]]


def drawn(seed: int) -> Array:
    """A label map of three boxes, a little different for each seed."""
    top, left, width = np.random.default_rng(seed).integers((8, 6, 12), (16, 12, 16))
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[top : top + 34, left : left + width] = 1
    mask[top + 4 : top + 36, 42 : 42 + width] = 2
    mask[top + 20 : top + 38, 30:38] = 3
    return mask


def cache(count: int, *structures: str) -> Cache:
    """White boxes on black, and the masks that say so."""
    masks = np.stack([drawn(i) for i in range(count)])
    samples = tuple(
        Sample(
            id=str(i),
            patient=str(i),
            image=lambda: np.zeros(0),
            structures=frozenset(structures or STRUCTURES),
        )
        for i in range(count)
    )
    films = (masks > 0).astype(np.uint8) * 255
    return Cache(samples=samples, films=films, masks=masks, failures={})


def network(films: Array) -> Array:
    """Outlines white boxes on black, the one furthest left as the right lung; (N, 1, S, S) in."""
    planes = []
    for film in films[:, 0]:
        _, parts, _, centres = cv2.connectedComponentsWithStats((film > 0).astype(np.uint8))
        order = [*(1 + np.argsort(centres[1:, 0])), -1, -1, -1][:3]
        planes.append([np.where(parts == order[i], 9.0, -9.0) for i in (0, 2, 1)])
    return np.asarray(planes, np.float32)


def learned(data: Cache, seed: int = 0) -> dict[str, Reliability]:
    return reliabilities(network, PREPARATION, data, seed=seed)


def test_only_structures_that_the_masks_show_are_learned() -> None:
    assert learned(cache(8)).keys() == set(STRUCTURES)
    assert learned(cache(8, "heart", "left_lung")).keys() == {"heart", "left_lung"}


def test_lungs_without_sides_teach_nothing_and_with_sides_both() -> None:
    sided = cache(10, "lungs")
    assert sided.masks is not None
    sided.masks[sided.masks == 3] = 0
    assert learned(sided).keys() == {"right_lung", "left_lung"}
    sided.masks[sided.masks > 0] = LUNG_OF_UNKNOWN_SIDE
    assert learned(sided) == {}


def test_from_fewer_than_40_outlines_nothing_is_learned_and_none_is_flagged() -> None:
    assert learned(cache(40 // TAKES - 1)) == dict.fromkeys(STRUCTURES, UNTAUGHT)
    mixed = cache(40 // TAKES)
    first = Sample(id="0", patient="0", image=lambda: np.zeros(0), structures=frozenset({"heart"}))
    object.__setattr__(mixed, "samples", (first, *mixed.samples[1:]))
    fitted = learned(mixed)
    assert fitted["right_lung"] == fitted["left_lung"] == UNTAUGHT
    assert fitted["heart"].threshold > 0


def test_the_seed_decides_and_nothing_else() -> None:
    data = cache(8)
    np.random.seed(1)  # noqa: NPY002 - the global generator must have no say
    once = learned(data)
    np.random.seed(2)  # noqa: NPY002
    assert learned(data) == once
    assert learned(data, seed=1) != once


def test_the_cache_stays_as_it_was() -> None:
    data = cache(8)
    assert data.masks is not None
    films, masks = data.films.copy(), data.masks.copy()
    learned(data)
    np.testing.assert_array_equal(data.films, films)
    np.testing.assert_array_equal(data.masks, masks)


def test_each_film_is_taken_as_it_is_under_two_stresses_and_under_two_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[list[str]] = []

    def noted(name: str) -> Stress:
        def stress(film: Array, mask: Array, rng: np.random.Generator) -> tuple[Array, Array]:
            taken[-1].append(name)
            return STRESSES[name](film, mask, rng)

        return stress

    def asked(films: Array) -> Array:
        assert films.shape == (1, 1, SIZE, SIZE)
        seen.append(films[0])
        taken.append([])
        return network(films)

    seen: list[Array] = []
    taken.append([])
    monkeypatch.setattr(module, "STRESSES", {name: noted(name) for name in STRESSES})
    data = cache(20)
    reliabilities(asked, PREPARATION, data, seed=0)
    assert [len(names) for names in taken[:-1]] == [0, 1, 1, 2, 2] * 20
    assert all(len(set(names)) == len(names) for names in taken)
    assert {name for names in taken for name in names} == set(STRESSES)
    for film, plain in zip(data.films, seen[::TAKES], strict=True):
        np.testing.assert_array_equal(plain, prepare(film.astype(np.float32) / 255, PREPARATION))


def found_by(ask: Callable[[Array], Array], film: Array, fitted: dict[str, Reliability]) -> Anatomy:
    """What a network and its fits make of a film (S, S) float32."""
    return anatomy(ask(prepare(film, PREPARATION)[None])[0], fitted, (SIZE, SIZE))


def test_outlines_are_held_against_the_mask_as_it_was_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    def lower(film: Array, mask: Array, _: np.random.Generator) -> tuple[Array, Array]:
        return np.roll(film, 4, axis=0), np.roll(mask, 4, axis=0)

    data = cache(8)
    film = data.films[0].astype(np.float32) / 255
    monkeypatch.setattr(module, "STRESSES", dict.fromkeys("ab", lower))
    # Every outline was right, wherever it lay.
    assert min(found_by(network, film, learned(data)).quality.values()) > 0.98
    # The film alone moved, by 4 of a lung's 34 rows or twice that: four of five outlines lie beside the mask.
    monkeypatch.setattr(module, "STRESSES", dict.fromkeys("ab", lambda f, m, r: (lower(f, m, r)[0], m)))
    assert max(found_by(network, film, learned(data)).quality.values()) < 0.95


def dim(film: Array, mask: Array, _: np.random.Generator) -> tuple[Array, Array]:
    """The lower part of each structure falls just below what the stub can see."""
    rows = np.arange(SIZE)[:, None]
    for value in (1, 2, 3):
        inside = mask == value
        middle = np.nonzero(inside)[0].mean()
        film = np.where(inside & (rows > middle), np.float32(0.45), film)
    return film, mask


def doubting(films: Array) -> Array:
    """Overlooks what is dim like `network`, but is not sure that nothing is there."""
    return np.where((films > -1.5) & (films <= 0), np.float32(-0.5), network(films))


def test_what_is_learned_tells_good_outlines_from_poor(monkeypatch: pytest.MonkeyPatch) -> None:
    # Half of a structure makes a Dice of 2/3; the doubt about the other half gives it away.
    monkeypatch.setattr(module, "STRESSES", {"dim": dim, "as it is": lambda film, mask, _: (film, mask)})
    fitted = reliabilities(doubting, PREPARATION, cache(8), seed=0)
    flags = []
    for mask in map(drawn, range(100, 110)):
        film = (mask > 0).astype(np.float32)
        whole = found_by(doubting, film, fitted)
        half = found_by(doubting, dim(film, mask, np.random.default_rng(0))[0], fitted)
        flags += [len(whole.unreliable), len(half.unreliable)]
        assert min(whole.quality.values()) > 0.95
        assert list(half.quality.values()) == pytest.approx([2 / 3] * 3, abs=0.06)
    assert sum(flags[0::2]) <= 2  # of 30
    assert flags[1::2] == [3] * 10
