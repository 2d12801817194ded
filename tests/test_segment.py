"""From a film to its Anatomy, with a stub for the network: white shapes told apart by where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import cast

import cv2
import numpy as np
import pytest

from hilum.card import Card, Preparation, Reliability
from hilum.prepare import prepare
from hilum.runtime import Runtime
from hilum.segment import anatomy, heart_spills, outputs, segment
from hilum.statistics.metrics import dice
from hilum.types import STRUCTURES, Anatomy, Array

SIZE = 64
SURE = Reliability(intercept=-99.0, slope=0.0, threshold=1.0)  # a quality of 1, which is not below 1
DOUBTED = Reliability(intercept=99.0, slope=0.0, threshold=0.01)  # a quality of 0


class Stub:
    """Stands for a Runtime: outlines white shapes on black, the one furthest left as the right lung."""

    def __init__(
        self, labels: tuple[str, ...] = STRUCTURES, reliability: Mapping[str, Reliability] | None = None
    ) -> None:
        self.card = Card(
            name="stub",
            version="0",
            task="segment",
            labels=labels,
            architecture="none",
            preparation=Preparation(size=SIZE),
            reliability=dict(reliability or {}),
        )
        self.asked: list[Array] = []

    def __call__(self, films: Array) -> dict[str, Array]:
        self.asked.append(films)
        return {"logits": np.stack([self.look(film[0]) for film in films])}

    def look(self, film: Array) -> Array:
        _, parts, _, centres = cv2.connectedComponentsWithStats((film > 0).astype(np.uint8))
        names = ("right_lung", "heart", "left_lung")
        order = dict(zip(names, 1 + np.argsort(centres[1:, 0]), strict=False))
        planes = [np.where(parts == order.get(name, -1), 9.0, -9.0) for name in self.card.labels]
        return np.asarray(planes, np.float32)


def chest(height: int, width: int) -> tuple[Array, Array]:
    """A film of white shapes on black, and their label map."""
    mask = np.zeros((height, width), np.uint8)
    for value, (top, bottom, left, right) in enumerate(
        ((0.2, 0.8, 0.12, 0.35), (0.25, 0.75, 0.65, 0.9), (0.5, 0.78, 0.4, 0.56)), start=1
    ):
        mask[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = value
    return (mask > 0).astype(np.float32), mask


def segmented(stub: Stub, film: Array) -> Anatomy:
    return segment(cast(Runtime, stub), film)


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (150, 220), (40, 300)])
def test_outlines_lie_on_the_films_own_pixels(shape: tuple[int, int]) -> None:
    film, mask = chest(*shape)
    found = segmented(Stub(), film)
    assert found.mask.shape == shape
    assert found.mask.dtype == np.uint8
    for value in (1, 2, 3):
        assert dice(mask == value, found.mask == value) > 0.94


def test_the_network_is_asked_once_of_the_prepared_film() -> None:
    stub, (film, _) = Stub(), chest(150, 220)
    assert outputs(cast(Runtime, stub), film).shape == (len(STRUCTURES), SIZE, SIZE)
    (asked,) = stub.asked
    assert asked.shape == (1, 1, SIZE, SIZE)
    assert asked.dtype == np.float32
    np.testing.assert_array_equal(asked[0], prepare(film, stub.card.preparation))


@pytest.mark.parametrize("labels", list(permutations(STRUCTURES)))
def test_the_order_of_the_cards_labels_changes_nothing(labels: tuple[str, ...]) -> None:
    film, _ = chest(100, 120)
    one, other = segmented(Stub(), film), segmented(Stub(labels), film)
    np.testing.assert_array_equal(one.mask, other.mask)
    assert one.quality == other.quality


def test_a_network_that_is_sure_has_quality_and_one_that_finds_nothing_has_none() -> None:
    film, _ = chest(150, 220)
    assert min(segmented(Stub(), film).quality.values()) > 0.98
    nothing = segmented(Stub(), np.zeros_like(film))
    assert nothing.quality == dict.fromkeys(STRUCTURES, 0.0)
    assert not nothing.mask.any()


def test_doubt_about_one_structure_lowers_the_quality_of_that_one() -> None:
    logits = outputs(cast(Runtime, Stub()), chest(SIZE, SIZE)[0]) * 9
    logits[2][logits[2] > 0] = np.log(0.8 / 0.2)
    expected = {"right_lung": 1.0, "left_lung": 1.0, "heart": 1.6 / 1.8}
    assert anatomy(logits, {}, (SIZE, SIZE)).quality == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("reliability", "unreliable"),
    [
        ({}, set()),  # a card without fits judges nothing
        (dict.fromkeys(STRUCTURES, SURE), set()),
        (dict.fromkeys(STRUCTURES, DOUBTED), set(STRUCTURES)),
        (dict.fromkeys(STRUCTURES, SURE) | {"heart": DOUBTED}, {"heart"}),
        ({"right_lung": SURE, "left_lung": SURE}, {"heart"}),  # never shown one
        ({"heart": DOUBTED}, set(STRUCTURES)),
    ],
)
def test_outlines_below_their_threshold_or_never_shown_are_unreliable(
    reliability: dict[str, Reliability], unreliable: set[str]
) -> None:
    film, _ = chest(100, 120)
    found = segmented(Stub(reliability=reliability), film)
    assert found.unreliable == unreliable
    assert found.needed == {name: fitted.threshold for name, fitted in reliability.items()}
    for name, fitted in reliability.items():
        assert found.quality[name] == (1.0 if fitted is SURE else 0.0)


@pytest.mark.parametrize("shown", STRUCTURES)
def test_doubted_outlines_are_drawn_and_those_never_shown_are_not(shown: str) -> None:
    film, mask = chest(100, 120)
    found = segmented(Stub(reliability={shown: DOUBTED}), film)
    for value, name in enumerate(STRUCTURES, 1):
        if name == shown:
            assert dice(mask == value, found.mask == value) > 0.94
        else:
            assert not (found.mask == value).any()
            assert found.quality[name] == 0


def test_an_outline_just_above_its_threshold_is_reliable_and_one_just_below_is_not() -> None:
    logits = np.full((3, SIZE, SIZE), -99.0, np.float32)
    logits[:, 10:30] = np.log(0.8 / 0.2)  # of each structure 1.6 / 1.8 is promised
    quality = anatomy(logits, {}, (SIZE, SIZE)).quality["heart"]
    assert quality == pytest.approx(1.6 / 1.8, abs=1e-6)
    for threshold, flags in ((quality - 1e-6, set()), (quality + 1e-6, set(STRUCTURES))):
        fitted = Reliability(intercept=0.0, slope=1.0, threshold=threshold)
        assert anatomy(logits, dict.fromkeys(STRUCTURES, fitted), (SIZE, SIZE)).unreliable == flags


@pytest.mark.parametrize(
    ("box", "spills"),
    [
        ((50, 90, 40, 60), False),
        ((50, 90, 20, 60), False),
        ((50, 90, 19, 60), True),
        ((50, 90, 40, 81), True),
    ],
)
def test_a_heart_beyond_the_lungs_is_not_relied_on(box: tuple[int, int, int, int], spills: bool) -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[10:80, 20:40], mask[10:80, 60:80] = 1, 2
    top, bottom, left, right = box
    mask[top:bottom, left:right] = 3
    assert heart_spills(mask) == spills


def test_a_heart_larger_than_the_lungs_is_not_relied_on_and_none_does_not_spill() -> None:
    mask = np.zeros((100, 100), np.uint8)
    assert not heart_spills(mask)
    mask[0:10, 0:20], mask[0:10, 80:100] = 1, 2
    assert not heart_spills(mask)
    mask[10:25, 20:46] = 3  # 390 pixels, the lungs have 400
    assert not heart_spills(mask)
    mask[10:25, 20:47] = 3
    assert heart_spills(mask)
