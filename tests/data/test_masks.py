"""Outlines: three conventions on disk become one label map."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data import open_data
from hilum.data.masks import read_mask, samples
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
        (BLACK_AND_WHITE, "", {"lungs"}, BLACK_AND_WHITE // 255 * LUNG_OF_UNKNOWN_SIDE),
        (BLACK_AND_WHITE, "_mask", {"lungs"}, BLACK_AND_WHITE // 255 * LUNG_OF_UNKNOWN_SIDE),
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
    mask = np.array([[0, 60, 127, 128, 200, 255]], np.uint8)
    lung = LUNG_OF_UNKNOWN_SIDE
    assert read_mask(save(tmp_path / "m.png", mask)).tolist() == [[0, 0, 0, lung, lung, lung]]


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
    with pytest.raises(DataError, match=r"no mask bears a film's name; name it NAME\.png or NAME_mask\.png"):
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


def test_real_shenzhen_outlines_have_both_lungs_without_sides(films: Path) -> None:
    found = open_data(f"masks:{films / 'shenzhen'}")
    assert len(found) == 550
    assert {sample.structures for sample in found} == {frozenset({"lungs"})}
    shares = []
    for sample in found[::25]:
        mask = read_mask(sample.masks)  # type: ignore[arg-type]
        assert set(np.unique(mask)) == {0, LUNG_OF_UNKNOWN_SIDE}
        shares.append((mask > 0).mean())
    assert 0.15 < np.mean(shares) < 0.45
