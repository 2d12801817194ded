"""Masks: three conventions on disk become one label map, with sides where they are clear."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data import open_data
from hilum.data.masks import read_mask, shown, structures_of
from hilum.data.sources.outlined import samples
from hilum.errors import DataError
from hilum.types import LUNG_OF_UNKNOWN_SIDE, STRUCTURES, Array

LABEL_MAP = np.repeat(np.array([[0, 1, 3, 2]], np.uint8), 4, axis=0)
BLACK_AND_WHITE = np.repeat(np.array([[0, 255, 0, 255]], np.uint8), 4, axis=0)


def save(path: Path, image: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def lay(folder: Path, mask: Array, suffix: str = "", count: int = 3) -> str:
    for i in range(count):
        save(folder / "images" / f"film{i}.png", np.full((4, 4), 9, np.uint8))
        save(folder / "masks" / f"film{i}{suffix}.png", mask)
    return str(folder)


@pytest.mark.parametrize(
    ("mask", "suffix", "structures", "expected"),
    [
        (LABEL_MAP, "", set(STRUCTURES), LABEL_MAP),
        (LABEL_MAP, "_mask", set(STRUCTURES), LABEL_MAP),
        (
            np.where(LABEL_MAP == 3, 0, LABEL_MAP),
            "",
            {"right_lung", "left_lung"},
            LABEL_MAP * (LABEL_MAP < 3),
        ),
        (BLACK_AND_WHITE, "", {"lungs"}, LABEL_MAP * (LABEL_MAP < 3)),
        (BLACK_AND_WHITE, "_mask", {"lungs"}, LABEL_MAP * (LABEL_MAP < 3)),
    ],
    ids=[
        "label map",
        "label map named _mask",
        "lungs with sides",
        "black and white",
        "black and white _mask",
    ],
)
def test_conventions_are_told_apart(
    tmp_path: Path, mask: Array, suffix: str, structures: set[str], expected: Array
) -> None:
    found = samples(lay(tmp_path / "here", mask, suffix))
    assert [sample.id for sample in found] == ["here:film0", "here:film1", "here:film2"]
    assert [sample.patient for sample in found] == [sample.id for sample in found]
    for sample in found:
        assert sample.structures == structures
        assert isinstance(sample.masks, Path)
        assert sample.masks.name == f"{sample.image.stem}{suffix}.png"  # type: ignore[union-attr]
        read = read_mask(sample.masks)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, expected)


def test_a_film_without_a_mask_is_left_out(tmp_path: Path) -> None:
    lay(tmp_path, LABEL_MAP)
    save(tmp_path / "images" / "other.png", LABEL_MAP)
    save(tmp_path / "masks" / "nobody.png", LABEL_MAP)
    assert [sample.image.name for sample in samples(str(tmp_path))] == [f"film{i}.png" for i in range(3)]  # type: ignore[union-attr]


def test_greys_between_fall_to_the_nearer_side(tmp_path: Path) -> None:
    mask = np.array([[0, 60, 127, 128, 200, *[255] * 30]], np.uint8)
    lung = LUNG_OF_UNKNOWN_SIDE
    assert read_mask(save(tmp_path / "m.png", mask)).tolist() == [[0, 0, 0, *[lung] * 32]]


def test_a_mask_stored_as_jpeg_keeps_its_outline(tmp_path: Path) -> None:
    disc = cv2.circle(np.zeros((96, 96), np.uint8), (48, 48), 30, 255, -1)
    read = read_mask(save(tmp_path / "m.jpg", disc))
    assert set(np.unique(read)) == {0, LUNG_OF_UNKNOWN_SIDE}
    assert ((read > 0) != (disc > 0)).mean() < 0.005


def test_sixteen_bits_mean_the_same_as_eight(tmp_path: Path) -> None:
    wide = LABEL_MAP.astype(np.uint16)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "labels.png", wide)), LABEL_MAP)
    lungs = read_mask(save(tmp_path / "lungs.png", BLACK_AND_WHITE.astype(np.uint16) * 257))
    np.testing.assert_array_equal(lungs > 0, BLACK_AND_WHITE > 0)


def lungs(*boxes: tuple[int, int, int, int]) -> Array:
    """A black-and-white map, 40 x 80, of boxes (top, bottom, left, right), the ends excluded."""
    mask = np.zeros((40, 80), np.uint8)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = 255
    return mask


RIGHT, LEFT = (5, 35, 10, 30), (8, 33, 45, 70)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("wider", [0, 8])  # whichever is the larger
def test_of_two_clear_parts_the_one_to_the_left_is_the_right_lung(
    tmp_path: Path, order: int, wider: int
) -> None:
    boxes = [RIGHT, (8, 33, 45, 70 + wider)][::order]
    read = read_mask(save(tmp_path / "m.png", lungs(*boxes)))
    np.testing.assert_array_equal(read == 1, lungs(RIGHT) > 0)
    np.testing.assert_array_equal(read == 2, lungs((8, 33, 45, 70 + wider)) > 0)
    assert set(np.unique(read)) == {0, 1, 2}


def test_specks_go_to_the_lung_they_are_nearer_to(tmp_path: Path) -> None:
    mask = lungs(RIGHT, LEFT, (37, 39, 12, 15), (1, 3, 60, 63))  # 6 pixels each of some 1200
    read = read_mask(save(tmp_path / "m.png", mask))
    assert (read[37:39, 12:15] == 1).all()
    assert (read[1:3, 60:63] == 2).all()
    np.testing.assert_array_equal(read > 0, mask > 0)


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [RIGHT],
        [RIGHT, LEFT, (20, 22, 30, 45)],  # touching
        [(2, 18, 20, 60), (22, 38, 20, 60)],  # one above the other
        [(2, 18, 20, 60), (22, 38, 25, 65)],  # and a little aside
        [RIGHT, (5, 15, 45, 50)],  # the second less than a tenth of both
        [RIGHT, LEFT, (36, 40, 10, 30)],  # a third as large as 6 % of them all
    ],
    ids=["none", "one", "touching", "stacked", "stacked aside", "one and a speck", "three"],
)
def test_lungs_whose_sides_are_not_clear_keep_the_value_of_an_unknown_side(
    tmp_path: Path, boxes: list[tuple[int, int, int, int]]
) -> None:
    mask = lungs(*boxes)
    mask[0, 0] = 255  # so that a map without a lung is a black-and-white one, too
    read = read_mask(save(tmp_path / "m.png", mask))
    np.testing.assert_array_equal(read, np.where(mask > 0, LUNG_OF_UNKNOWN_SIDE, 0))


BOTH, UNSIDED = np.array([[0, 1, 2]], np.uint8), np.array([[0, 1, 2, LUNG_OF_UNKNOWN_SIDE]], np.uint8)


@pytest.mark.parametrize(
    ("structures", "mask", "expected"),
    [
        ({"lungs"}, BOTH, {"right_lung", "left_lung"}),
        ({"lungs"}, UNSIDED, {"lungs"}),
        ({"lungs"}, UNSIDED[:, [0, 3]], {"lungs"}),
        ({"lungs"}, BOTH[:, :2], {"lungs"}),  # one side alone may be the other's lack
        ({"lungs"}, BOTH[:, :1], {"lungs"}),
        ({"heart"}, BOTH, {"heart"}),  # data sets with sides show what they say, lost from view or not
        (set(STRUCTURES), BOTH[:, :1], set(STRUCTURES)),
        (set(), BOTH, set()),
    ],
)
def test_a_film_shows_its_sides_where_its_data_set_could_not(
    structures: set[str], mask: Array, expected: set[str]
) -> None:
    assert shown(frozenset(structures), mask) == expected


def test_a_film_read_in_black_and_white_shows_both_lungs(tmp_path: Path) -> None:
    clear = read_mask(save(tmp_path / "clear.png", lungs(RIGHT, LEFT)))
    touching = read_mask(save(tmp_path / "touching.png", lungs(RIGHT, LEFT, (20, 22, 30, 45))))
    assert shown(frozenset({"lungs"}), clear) == {"right_lung", "left_lung"}
    assert shown(frozenset({"lungs"}), touching) == {"lungs"}


@pytest.mark.parametrize("lacking", range(3))
def test_a_structure_that_some_films_lack_is_shown_by_the_data_set(tmp_path: Path, lacking: int) -> None:
    maps = [LABEL_MAP] * 3
    maps[lacking] = LABEL_MAP * (LABEL_MAP < 3)
    files = [save(tmp_path / f"{i}.png", one) for i, one in enumerate(maps)]
    assert structures_of(files) == set(STRUCTURES)


def test_of_many_masks_a_few_from_first_to_last_are_opened(tmp_path: Path) -> None:
    files = [save(tmp_path / f"{i:03}.png", LABEL_MAP * (LABEL_MAP < 3)) for i in range(100)]
    for path in files[12::12]:
        save(path, LABEL_MAP)
    files[1].write_bytes(b"not an image")  # is never opened
    assert structures_of(files) == set(STRUCTURES)


def test_an_unknown_convention_is_refused_not_taken_for_an_empty_mask(tmp_path: Path) -> None:
    # Five structures with the clavicles, or palette colours turned to grey.
    path = save(tmp_path / "m.png", np.array([[0, 1, 2, 3, 4, 5]], np.uint8))
    with pytest.raises(DataError, match=r"m\.png: values up to 5; write 1, 2, 3 .* or 255"):
        read_mask(path)


def test_masks_of_zero_and_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only 0 and 1; write both lungs as 255, or sides as 1 and 2"):
        samples(lay(tmp_path, BLACK_AND_WHITE // 255))


@pytest.mark.parametrize("content", [b"", b"not an image"], ids=["empty", "text"])
def test_a_damaged_mask_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png: not an image of whole numbers; write masks as PNG"):
        read_mask(path)


def test_masks_that_bear_no_films_name_are_refused(tmp_path: Path) -> None:
    lay(tmp_path, LABEL_MAP, "_outline")
    with pytest.raises(DataError, match=r"no mask has a film's name; name it NAME\.png or NAME_mask\.png"):
        samples(str(tmp_path))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="masks: no such folder"):
        samples(str(tmp_path))


def test_real_jsrt_outlines_have_all_structures_and_their_sides(films: Path) -> None:
    found = open_data(f"masks:{films / 'jsrt'}")
    assert len(found) == 200
    assert {sample.structures for sample in found} == {frozenset(STRUCTURES)}
    for sample in found:
        mask = read_mask(sample.masks)  # type: ignore[arg-type]
        right, left, heart = (np.nonzero(mask == value)[1].mean() for value in (1, 2, 3))
        # The patient's right lung is on the left half of the picture; the heart is between the lungs.
        assert right < mask.shape[1] / 2 < left
        assert right < heart < left


def test_real_shenzhen_outlines_have_both_lungs_and_nearly_always_clear_sides(films: Path) -> None:
    found = open_data(f"masks:{films / 'shenzhen'}")
    assert len(found) == 550
    assert {sample.structures for sample in found} == {frozenset({"lungs"})}
    shares, sided = [], 0
    for sample in found[::25]:
        mask = read_mask(sample.masks)  # type: ignore[arg-type]
        shares.append((mask > 0).mean())
        if shown(sample.structures, mask) == {"right_lung", "left_lung"}:
            sided += 1
            right, left = (np.nonzero(mask == value)[1].mean() for value in (1, 2))
            assert right < mask.shape[1] / 2 < left
        else:
            assert set(np.unique(mask)) == {0, LUNG_OF_UNKNOWN_SIDE}
    assert 0.15 < np.mean(shares) < 0.45
    assert sided > 0.8 * len(shares)


def test_maps_in_colours_or_of_several_greys_are_refused(tmp_path: Path) -> None:
    """Taken for black and white, a lung would be lost, or the heart become one."""
    colours = np.zeros((64, 64, 3), np.uint8)
    colours[8:56, 4:28], colours[8:56, 36:60], colours[30:50, 28:36] = (0, 0, 255), (0, 255, 0), (255, 0, 0)
    path = save(tmp_path / "m.png", colours)
    for ask in (read_mask, lambda path: structures_of([path])):
        with pytest.raises(DataError, match=r"m\.png: a colour image; write the numbers 1, 2, 3"):
            ask(path)
    greys = np.where(colours[..., 0] > 0, 128, np.where(colours.any(axis=2), 255, 0)).astype(np.uint8)
    greys[25:55, 24:40] = 128
    with pytest.raises(DataError, match=r"m\.png: grey values besides black and white; write 1, 2, 3"):
        read_mask(save(path, greys))
    edge = cv2.resize(np.where(greys == 255, 255, 0).astype(np.uint8), (47, 47), interpolation=cv2.INTER_AREA)
    assert set(np.unique(read_mask(save(path, edge)))) == {0, 1, 2}, "greys of an edge that was scaled"
    with pytest.raises(DataError, match=r"none\.png: No such file or directory; check the path"):
        read_mask(tmp_path / "none.png")
