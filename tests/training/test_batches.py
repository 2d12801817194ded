"""What a step sees follows from (seed, epoch, film) alone, not from processes, workers or the past."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from hilum import augment
from hilum.card import Preparation
from hilum.data import open_data
from hilum.data.cache import Cache, cached
from hilum.labels import SIX
from hilum.prepare import compose, levels
from hilum.training.batches import Films, Shuffled, balanced, in_order, known, loader, mixed, patched
from hilum.types import LUNG_OF_UNKNOWN_SIDE

SIZE = 64


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return cached(open_data("phantom:9"), SIZE, tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def in_five_minutes() -> Iterator[None]:
    """A loader that waits for its workers for ever fails the test."""

    def give_up(*_: object) -> None:
        raise TimeoutError("still waiting after five minutes")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def outlined(cache: Cache) -> Films:
    return Films(cache=cache, labels=(), preparation=Preparation(size=SIZE), strength=1.0, seed=7)


def test_an_item_is_the_film_with_its_mask(cache: Cache, outlined: Films) -> None:
    item = replace(outlined, strength=0.0)[0, 2]
    film = levels(cache.films[2].astype(np.float32) / 255, outlined.preparation)
    assert item["films"].dtype == np.float32
    np.testing.assert_array_equal(item["films"], film[None])
    assert cache.masks is not None
    np.testing.assert_array_equal(item["masks"], cache.masks[2])
    assert item["known"].tolist() == [True, True, True, False]


def test_an_item_is_the_film_with_its_labels_nan_where_unknown(cache: Cache, outlined: Films) -> None:
    item = replace(outlined, labels=("Never Heard Of", *SIX))[0, 2]
    assert item.keys() == {"films", "labels"}
    assert np.isnan(item["labels"][0])
    assert item["labels"][1:].tolist() == [cache.samples[2].labels[name] for name in SIX]


def test_known_tells_sides_from_both_lungs_together() -> None:
    assert known(frozenset({"lungs"})).tolist() == [False, False, False, True]
    assert known(frozenset({"heart", "left_lung"})).tolist() == [False, True, True, False]


def test_augmentation_follows_from_seed_epoch_and_film_alone(outlined: Films) -> None:
    first = outlined[3, 5]
    np.random.seed(1)  # noqa: NPY002 - the global generators must have no say
    torch.manual_seed(1)
    cv2.setRNGSeed(1)
    outlined[0, 0], outlined[3, 4]
    again = outlined[3, 5]
    assert all(np.array_equal(first[key], again[key]) for key in first)
    for other in (outlined[4, 5], replace(outlined, seed=8)[3, 5], outlined[3, 6]):
        assert not np.array_equal(first["films"], other["films"])


def test_equal_films_are_changed_each_in_its_own_way(cache: Cache, outlined: Films) -> None:
    twins = replace(cache, films=np.repeat(cache.films[:1], 2, axis=0), samples=cache.samples[:2])
    first, second = (replace(outlined, cache=twins)[0, i]["films"] for i in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("recipe", ["general", "geometry", "intensity", "outlines"])
def test_the_recipe_names_the_augmentation(cache: Cache, outlined: Films, recipe: str) -> None:
    assert cache.masks is not None
    change = augment.CHANGES.get(recipe, augment.outlined)
    film, mask = change(
        cache.films[5].astype(np.float32) / 255,
        np.array(cache.masks[5]),
        np.random.default_rng([outlined.seed, 3, 5]),
        strength=1.0,
    )
    item = replace(outlined, recipe=recipe)[3, 5]
    np.testing.assert_array_equal(item["films"], levels(film, outlined.preparation)[None])
    np.testing.assert_array_equal(item["masks"], mask)


def test_what_is_told_of_outlines_moves_with_the_film(cache: Cache, outlined: Films) -> None:
    told = replace(outlined, labels=SIX, preparation=Preparation(size=SIZE, region="outlines"))
    item = told[3, 5]
    assert item.keys() == {"films", "labels"}
    film, mask = augment.augment(
        cache.films[5].astype(np.float32) / 255,
        np.array(cache.masks[5]),  # type: ignore[index]
        np.random.default_rng([outlined.seed, 3, 5]),
        strength=1.0,
    )
    np.testing.assert_array_equal(item["films"], compose(film, mask, told.preparation))
    # Who is not told sees the same film whatever masks there are.
    plain = replace(outlined, labels=SIX)
    bare = replace(plain, cache=replace(cache, masks=None))
    np.testing.assert_array_equal(plain[3, 5]["films"], bare[3, 5]["films"])


def test_few_changes_are_two_of_the_many(cache: Cache, outlined: Films) -> None:
    film, mask = cache.films[5].astype(np.float32) / 255, np.array(cache.masks[5])  # type: ignore[index]
    changed = [augment.few(film, mask, np.random.default_rng(i)) for i in range(40)]
    assert all(one.shape == film.shape and one.min() >= 0 and one.max() <= 1 for one, _ in changed)
    moved = sum(not np.array_equal(other, mask) for _, other in changed)
    assert 5 < moved < 25  # of 36 pairs of kinds, 11 move the film
    still, same = augment.few(film, mask, np.random.default_rng(0), strength=0)
    assert still is film
    assert same is mask
    weak = [augment.few(film, mask, np.random.default_rng(i), strength=0.1)[0] for i in range(40)]
    assert 20 < sum(one is film for one in weak) < 40
    item = replace(outlined, recipe="few")[3, 5]
    rng = np.random.default_rng([outlined.seed, 3, 5])
    expected = augment.few(film, mask, rng, strength=1.0)
    np.testing.assert_array_equal(item["films"], compose(*expected, outlined.preparation))


def test_a_film_to_classify_is_never_changed_as_one_to_outline(outlined: Films) -> None:
    general = replace(outlined, labels=SIX)
    for epoch in range(6):
        one, other = (replace(general, recipe=recipe)[epoch, 5] for recipe in ("general", "outlines"))
        np.testing.assert_array_equal(one["films"], other["films"])


def test_what_a_mask_shows_is_told_by_all_of_it_however_little_is_left_in_view(
    cache: Cache, outlined: Films
) -> None:
    assert cache.masks is not None
    samples = [replace(sample, structures=frozenset({"lungs"})) for sample in cache.samples[:3]]
    masks = np.array(cache.masks[:3])
    masks[masks == 3] = 0
    masks[1, masks[1] > 0] = LUNG_OF_UNKNOWN_SIDE
    masks[2] = 0
    masks[2, :2, :20], masks[2, -2:, -20:] = 1, 2  # at the film's edges: a shift takes them away
    lungs = replace(cache, samples=tuple(samples), films=cache.films[:3], masks=masks)
    films = replace(outlined, cache=lungs, recipe="outlines")
    views = [films[epoch, 2] for epoch in range(12)]
    assert min(len(np.unique(view["masks"])) for view in views) < 3
    for view in views:
        assert view["known"].tolist() == [True, True, False, False]
    assert films[0, 0]["known"].tolist() == [True, True, False, False]
    assert films[0, 1]["known"].tolist() == [False, False, False, True]


def test_augmentation_leaves_the_cache_as_it_was(cache: Cache, outlined: Films) -> None:
    before = np.array(cache.films[5])
    outlined[3, 5]
    np.testing.assert_array_equal(cache.films[5], before)


def test_an_epoch_shows_each_film_at_most_once_in_an_order_of_its_own() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [i for batch in Shuffled(11, 3, seed, epoch) for _, i in batch]

    assert len(order(0, 0)) == 9  # whole batches only
    assert len(set(order(0, 0))) == 9
    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert {epoch for batch in Shuffled(11, 3, 0, 4) for epoch, _ in batch} == {4}


def test_fewer_films_than_a_batch_make_one_step_of_them_all() -> None:
    (batch,) = Shuffled(5, 8, 0, 0)
    assert sorted(i for _, i in batch) == [0, 1, 2, 3, 4]


def test_two_processes_share_each_batch_of_one() -> None:
    whole = list(Shuffled(22, 4, 1, 2))
    shards = [list(Shuffled(22, 4, 1, 2, rank=rank, processes=2)) for rank in (0, 1)]
    assert len(whole) == len(shards[0]) == len(shards[1]) == 5
    for batch, one, other in zip(whole, *shards, strict=True):
        assert len(one) == len(other) == 2
        assert not set(one) & set(other)
        assert {*one, *other} == set(batch)


@pytest.mark.parametrize("start", [1, 4, 5])
def test_start_skips_exactly_the_steps_done(start: int) -> None:
    whole = list(Shuffled(22, 4, 1, 2))
    rest = Shuffled(22, 4, 1, 2, start)
    assert len(rest) == 5 - start
    assert list(rest) == whole[start:]


def drawn(films: int, extra: int, epoch: int, batch: int = 2) -> list[int]:
    """The films of one epoch in their order."""
    return [i for step in Shuffled(films, batch, 3, epoch, extra=extra) for _, i in step]


def test_an_epoch_draws_as_many_extra_films_as_there_are_others() -> None:
    seen, early = set(), set()
    for epoch in range(12):
        order = drawn(30, 20, epoch)
        assert len(order) == len(set(order)) == 20
        assert set(range(10)) < set(order)  # the others all, once
        seen |= set(order)
        early |= set(order[:4])
    assert seen == set(range(30))  # in time, each of the extra films has its turn
    assert min(early) < 10 <= max(early)  # mixed, not one kind after the other
    assert drawn(30, 20, 1) == drawn(30, 20, 1) != drawn(30, 20, 2)


def test_fewer_extra_films_than_others_are_all_drawn() -> None:
    assert sorted(drawn(12, 3, 0)) == list(range(12))
    assert sorted(drawn(8, 4, 0)) == list(range(8))


@pytest.mark.parametrize(
    ("films", "extra", "batch", "steps"),
    [(30, 20, 4, 5), (12, 3, 4, 3), (13, 3, 4, 3), (5, 2, 8, 1), (9, 0, 4, 2)],
)
def test_steps_count_the_films_that_are_drawn(films: int, extra: int, batch: int, steps: int) -> None:
    order = Shuffled(films, batch, 0, 0, extra=extra)
    assert len(order) == len(list(order)) == steps
    assert all(len(step) == min(batch, films) for step in order)


def test_with_extra_films_processes_share_and_runs_go_on_as_without() -> None:
    whole = list(Shuffled(30, 4, 1, 2, extra=20))
    shards = [list(Shuffled(30, 4, 1, 2, rank=rank, processes=2, extra=20)) for rank in (0, 1)]
    assert [{*one, *other} for one, other in zip(*shards, strict=True)] == [set(step) for step in whole]
    assert list(Shuffled(30, 4, 1, 2, 3, extra=20)) == whole[3:]


# Python 3.12 and later warn of fork where any thread runs; the loader's processes only read.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_worker_processes_make_the_same_batches_whatever_opencv_did_before(outlined: Films) -> None:
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((2000, 2000), np.float32), (31, 31), 5)  # starts OpenCV's threads
    time.sleep(0.5)  # until they wait for work: a worker that inherits them so never ends
    order = Shuffled(len(outlined), 2, 0, 1)
    alone, helped = (list(loader(outlined, order, workers)) for workers in (0, 2))
    assert len(alone) == len(helped) == 4
    for one, other in zip(alone, helped, strict=True):
        assert one.keys() == other.keys() == {"films", "masks", "known"}
        assert all(torch.equal(one[key], other[key]) for key in one)


class Threads:
    """Tells how many threads OpenCV would use in the process that loads it."""

    def __getitem__(self, _: tuple[int, int]) -> dict[str, int]:
        return {"threads": cv2.getNumThreads()}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_worker_processes_leave_the_other_cores_alone() -> None:
    cv2.setNumThreads(2)
    (batch,) = loader(Threads(), Shuffled(4, 4, 0, 0), 1)  # type: ignore[arg-type]
    assert batch["threads"].tolist() == [1] * 4


def test_in_order_gives_every_film_once(outlined: Films, cache: Cache) -> None:
    batches = list(in_order(replace(outlined, strength=0.0), 4))
    assert [len(batch["films"]) for batch in batches] == [4, 4, 1]
    assert cache.masks is not None
    masks = torch.cat([batch["masks"] for batch in batches]).numpy()
    np.testing.assert_array_equal(masks, cache.masks)


def test_mixed_films_and_labels_are_blended_alike_and_the_unknown_stays_unknown() -> None:
    films = torch.arange(6.0).reshape(6, 1, 1, 1)
    labels = torch.stack([films.flatten() / 5, torch.tensor([0.0, 1, float("nan"), 0, 1, 0])], dim=1)
    one = mixed({"films": films, "labels": labels}, 0.4, np.random.default_rng(1))
    torch.testing.assert_close(one["films"].flatten() / 5, one["labels"][:, 0])
    assert not torch.equal(one["films"], films)
    assert one["films"].sum().item() == pytest.approx(15)  # each film takes part, once on either side
    assert 1 <= one["labels"][:, 1].isnan().sum() <= 2
    again = mixed({"films": films, "labels": labels}, 0.4, np.random.default_rng(1))
    assert torch.equal(again["films"], one["films"])


def test_views_stand_side_by_side_and_differ(cache: Cache, outlined: Films) -> None:
    films = replace(outlined, recipe="views", views=2, cache=replace(cache, masks=None))
    (batch, *_) = Shuffled(9, 4, 0, epoch=3, views=2)
    assert [draw for draw, _ in batch] == [6, 7] * 4
    assert [i for _, i in batch[0::2]] == [i for _, i in batch[1::2]]
    items = [films[place] for place in batch]
    assert all(item["films"].shape == (1, SIZE, SIZE) for item in items)
    assert not any(
        np.array_equal(one["films"], other["films"])
        for one, other in zip(items[0::2], items[1::2], strict=True)
    )
    assert len(next(in_order(films, 3))["films"]) == 6


def test_a_pair_may_be_two_films_of_a_patient_and_never_of_two(cache: Cache, outlined: Films) -> None:
    samples = tuple(
        replace(sample, patient="even" if i % 2 == 0 else f"odd {i}", labels={"number": float(i)})
        for i, sample in enumerate(cache.samples)
    )
    known_by = replace(cache, samples=samples, masks=None)
    films = replace(outlined, cache=known_by, labels=("number",), recipe="views", views=2)
    for i in range(9):
        assert {int(films[2 * draw, i]["labels"][0]) for draw in range(20)} == {i}
        partners = {int(films[2 * draw + 1, i]["labels"][0]) for draw in range(60)}
        assert partners == ({0, 2, 4, 6, 8} if i % 2 == 0 else {i})


def test_rare_labels_films_are_drawn_as_often_as_common_ones() -> None:
    nan = np.nan
    truth = np.array([[1, 0, 0], [1, 0, nan], [1, 0, 0], [1, 1, 0], [0, 0, 0], [nan, 0, 0], [nan] * 3])
    odds = balanced(truth, exclusive=False)
    # Three of the first alone, one that also has the rarer second, two of neither; nobody has the third.
    np.testing.assert_allclose(odds, [1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 6, 1 / 6, 0])
    order = Shuffled(7, 7, seed=3, epoch=0, odds=odds)
    drawn = [i for epoch in range(400) for batch in replace(order, epoch=epoch) for _, i in batch]
    np.testing.assert_allclose(np.bincount(drawn, minlength=7) / len(drawn), odds, atol=0.03)
    assert list(order) == list(replace(order))
    assert list(replace(order, seed=4)) != list(order)
    # Where a film has one label, no film counts that has none or two.
    np.testing.assert_allclose(balanced(truth, exclusive=True), [1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0])
    assert not balanced(truth[6:], exclusive=True).any()


def test_a_part_of_each_film_is_replaced_and_its_labels_by_as_much() -> None:
    batch = {
        "films": torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 10, 10),
        "labels": torch.tensor([[1.0], [0.0], [0.0], [torch.nan]]),
    }
    seen = set()
    for seed in range(20):
        made = patched(batch, 1.0, np.random.default_rng(seed))
        for i, film in enumerate(made["films"]):
            own = (film == i).float().mean()
            others = film[film != i].unique()
            assert len(others) <= 1
            other = int(others[0]) if len(others) else i
            expected = own * batch["labels"][i] + (1 - own) * batch["labels"][other]
            if 0 < own < 1:
                torch.testing.assert_close(made["labels"][i], expected, equal_nan=True)
            seen.add(round(float(own), 2))
        assert torch.equal(batch["films"][:, 0, 0, 0], torch.arange(4.0))  # the batch itself is left alone
    assert len(seen) > 5
