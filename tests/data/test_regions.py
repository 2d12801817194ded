"""Films cut to the chest, or with outlines beside them: drawn by hilum-lungs, the same way for everyone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import hilum
from hilum.card import Preparation
from hilum.config import train_config
from hilum.data import open_data
from hilum.data.cache import cached
from hilum.data.opened import decode
from hilum.data.regions import regional
from hilum.errors import CheckpointError, ConfigError
from hilum.evaluation.evaluate import films_for, logits_of
from hilum.pipeline import GATE, Pipeline
from hilum.prepare import chest, fit, fit_mask, prepare
from hilum.reading.reader import read
from hilum.runtime import Runtime, find
from hilum.segment import segment
from hilum.training.train import train
from hilum.types import Array, Sample

SIZE = 64
LUNGS = Runtime(find("hilum-lungs"))


def preparation(region: str) -> Preparation:
    return Preparation.model_validate({"size": SIZE, "region": region})


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """A phantom's film, in a file, without its mask."""
    drawn = open_data("phantom:3@5")[2]
    film, _ = decode(drawn, 200)
    path = tmp_path / "film.png"
    cv2.imwrite(str(path), film)
    return replace(drawn, image=path, masks=None, structures=frozenset())


def test_a_whole_film_is_the_sample_without_what_nobody_asked_for() -> None:
    drawn = open_data("phantom:3@5")
    plain = regional(drawn, [preparation("film")])
    assert all(one.masks is None and not one.structures for one in plain)
    assert [one.image for one in plain] == [one.image for one in drawn]


def test_a_film_is_cut_where_hilum_lungs_outlines_the_chest(sample: Sample) -> None:
    film, mask = decode(regional([sample], [preparation("crop")])[0], SIZE)
    pixels = read(sample.image).pixels  # type: ignore[arg-type]
    part = chest(segment(LUNGS, pixels).mask)
    assert pixels[part].size < 0.95 * pixels.size
    np.testing.assert_array_equal(film, np.rint(fit(pixels[part], SIZE) * 255))
    assert mask is None


def test_a_cut_film_is_cut_with_its_outlines(sample: Sample) -> None:
    for asked in (["crop-outlines"], ["crop", "crop-outlines"]):
        film, mask = decode(regional([sample], [preparation(region) for region in asked])[0], SIZE)
        pixels = read(sample.image).pixels  # type: ignore[arg-type]
        drawn = segment(LUNGS, pixels).mask
        part = chest(drawn)
        np.testing.assert_array_equal(film, np.rint(fit(pixels[part], SIZE) * 255))
        np.testing.assert_array_equal(mask, fit_mask(drawn[part], SIZE))  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", [["lungs"], ["outlines"], ["film", "outlines"], ["lungs", "outlines"]])
def test_a_film_is_given_the_outlines_of_hilum_lungs(sample: Sample, asked: list[str]) -> None:
    made = regional([sample], [preparation(region) for region in asked])[0]
    film, mask = decode(made, SIZE)
    pixels = read(sample.image).pixels  # type: ignore[arg-type]
    np.testing.assert_array_equal(film, decode(sample, SIZE)[0])
    np.testing.assert_array_equal(mask, fit_mask(segment(LUNGS, pixels).mask, SIZE))  # type: ignore[arg-type]
    assert made.structures == {"right_lung", "left_lung", "heart"}


def test_cut_and_whole_films_are_not_mixed(sample: Sample) -> None:
    with pytest.raises(ConfigError, match="one of the models takes films cut to the chest"):
        regional([sample], [preparation("crop"), preparation("outlines")])


@pytest.mark.parametrize("region", ["crop", "outlines", "crop-outlines"])
def test_a_changed_file_is_outlined_anew(sample: Sample, region: str, tmp_path: Path) -> None:
    def films() -> np.ndarray:
        made = cached(regional([sample], [preparation(region)]), SIZE, tmp_path / "cache")
        return np.array(made.films if made.masks is None else made.masks)

    before = films()
    np.testing.assert_array_equal(films(), before)
    picture = cv2.imread(str(sample.image), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(sample.image), cv2.warpAffine(picture, np.float32([[1, 0, 20], [0, 1, 10]]), (200, 200)))
    assert not np.array_equal(films(), before)


def test_a_film_on_which_no_chest_is_found_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "blank.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(90, 110, (200, 200)).astype(np.uint8))
    sample = Sample(id="blank", patient="1", image=path)
    whole, _ = decode(sample, SIZE)
    np.testing.assert_array_equal(decode(regional([sample], [preparation("crop")])[0], SIZE)[0], whole)


@pytest.mark.parametrize("region", ["crop", "lungs", "outlines", "crop-outlines"])
def test_a_model_sees_of_a_film_in_use_what_it_sees_in_evaluation(
    region: str, tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "task": "classify",
        "data": ["phantom:24"],
        "architecture": "cnn",
        "arguments": {"width": 2, "depth": 3, "dense": 4},
        "preparation": {"size": SIZE, "region": region},
        "epochs": 1,
        "batch": 8,
        "out": tmp_path / "run",
    }
    card = train(train_config(settings))
    assert card.preparation.region == region
    assert card.outlines_sha256 == LUNGS.card.sha256
    seen: list[Array] = []
    whole = Runtime.__call__

    def spy(runtime: Runtime, films: Array) -> dict[str, Array]:
        if runtime.card.task == "classify" and runtime.card.name != GATE:
            seen.append(films)
        return whole(runtime, films)

    monkeypatch.setattr(Runtime, "__call__", spy)
    logits_of(Runtime(find(tmp_path / "run")), films_for([card], [sample], tmp_path / "cache"))
    assert hilum.load(tmp_path / "run")(sample.image).status == "ok"  # type: ignore[arg-type]
    evaluated, used = seen[:2]  # more are of its map, by occlusion
    # The cache's films have 256 grey levels; outlines are the same to the pixel.
    np.testing.assert_allclose(used[:, 0], evaluated[:, 0], atol=0.05)
    np.testing.assert_array_equal(used[:, 1:], evaluated[:, 1:])
    pixels = read(sample.image).pixels  # type: ignore[arg-type]
    plain = prepare(pixels, preparation("film"))
    assert used.shape[1] > 1 or np.abs(used[0] - plain).mean() > 0.1


def test_a_model_is_not_used_with_outlines_of_another_segmenter(sample: Sample, tmp_path: Path) -> None:
    own = Runtime(find("hilum-six"))
    own.card = own.card.model_copy(update={"outlines_sha256": "another"})
    with pytest.raises(CheckpointError, match="hilum-six: learned from the outlines of another segmenter"):
        Pipeline(LUNGS, own)
    with pytest.raises(CheckpointError, match="another segmenter"):
        Pipeline(LUNGS, Runtime(find("hilum-six")), own)
    with pytest.raises(ConfigError, match="another segmenter"):
        films_for([own.card], [sample], tmp_path)
