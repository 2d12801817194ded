"""From a film to the network's input and back, checked by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.card import Preparation
from hilum.data.cache import Cache, cached
from hilum.data.phantom import draw
from hilum.prepare import chest, fit, levels, prepare, restore, without_diaphragm
from hilum.reading.reader import read
from hilum.types import Array, Sample

USUAL = Preparation(size=64)


def noise(seed: int, shape: tuple[int, int] = (64, 64)) -> Array:
    return np.random.default_rng(seed).random(shape, np.float32)


def test_fit_averages_over_areas_when_it_shrinks() -> None:
    image = np.zeros((6, 6), np.float32)
    image[0, 0], image[2, 5], image[4, 1] = 9, 18, 27  # one in nine pixels of a quarter; the fourth is empty
    np.testing.assert_allclose(fit(image, 2), [[1, 2], [3, 0]])
    wide = np.repeat(image, 3, axis=1)  # stretched, not padded or cropped
    np.testing.assert_allclose(fit(wide, 2), [[1, 2], [3, 0]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(200, 150), (40, 50), (40, 150), (64, 64)])
def test_fit_keeps_the_range_of_any_grey_type(dtype: type, shape: tuple[int, int]) -> None:
    image = (noise(1, shape) * 200).astype(dtype)
    fitted = fit(image, 64)
    assert fitted.shape == (64, 64)
    assert fitted.dtype == np.float32
    assert image.min() <= fitted.min() <= fitted.max() <= image.max()
    assert fitted.mean() == pytest.approx(image.mean(), rel=0.02)


def test_fit_changes_nothing_at_its_own_size() -> None:
    np.testing.assert_array_equal(fit(noise(2), 64), noise(2))


def test_levels_by_hand() -> None:
    image = np.arange(101, dtype=np.float32)[None]  # the percentiles are the values themselves
    usual = levels(image, USUAL)[0]
    assert usual[50] == pytest.approx(0, abs=1e-6)  # (49 / 98 - 0.5) / 0.25
    assert usual[25] == pytest.approx((24 / 98 - 0.5) / 0.25, abs=1e-6)
    assert usual[0] == usual[1] == -2
    assert usual[99] == usual[100] == 2
    other = levels(image, Preparation(size=64, low=10, high=60, mean=0.2, std=0.1))[0]
    assert other[35] == pytest.approx((0.5 - 0.2) / 0.1, abs=1e-5)
    assert other[:11] == pytest.approx(-2)
    assert other[60:] == pytest.approx(8)


@pytest.mark.parametrize(
    ("gain", "offset"), [(0.5, 0), (1, 0.25), (0.3, 0.6), (255, 0), (4095, -1024), (1e-3, 0)]
)
def test_levels_do_not_depend_on_gain_and_offset(gain: float, offset: float) -> None:
    image = noise(3)
    changed = (gain * image + offset).astype(np.float32)
    np.testing.assert_allclose(levels(changed, USUAL), levels(image, USUAL), atol=2e-3)


@pytest.mark.parametrize("shape", [(64, 64), (80, 70), (50, 300)])
@pytest.mark.parametrize("grey", [0.0, 0.1, 0.3, 0.7, 1.0])
def test_a_constant_image_stays_finite_and_nearly_constant(grey: float, shape: tuple[int, int]) -> None:
    prepared = prepare(np.full(shape, grey, np.float32), USUAL)
    assert np.isfinite(prepared).all()
    assert np.ptp(prepared) < 0.5  # the rounding of the averages is not blown up to a picture


def test_a_nearly_constant_image_stays_within_bounds() -> None:
    image = np.full((64, 64), 0.5, np.float32)
    image[0, 0] = 1  # one pixel of 4096 lies above the 99th percentile
    prepared = prepare(image, USUAL)
    assert np.isfinite(prepared).all()
    assert -2 <= prepared.min() <= prepared.max() <= 2


def test_prepare_gives_the_networks_shape_and_leaves_the_film_alone() -> None:
    pixels = noise(4, (300, 200))
    kept = pixels.copy()
    prepared = prepare(pixels, USUAL)
    assert prepared.shape == (1, 64, 64)
    assert prepared.dtype == np.float32
    assert -2 <= prepared.min() < -1.9 < 1.9 < prepared.max() <= 2
    np.testing.assert_array_equal(pixels, kept)


@pytest.mark.parametrize("shape", [(64, 64), (300, 200), (65, 500), (32, 48)])
def test_restore_leads_back_to_the_films_own_pixels(shape: tuple[int, int]) -> None:
    rows, columns = np.meshgrid(*((np.arange(n) + 0.5) / n for n in shape), indexing="ij")
    film = (rows + 2 * columns).astype(np.float32)  # says of every pixel where it lies
    back = restore(fit(film, 64), shape)
    assert back.shape == shape
    inner = (slice(shape[0] // 16, -shape[0] // 16), slice(shape[1] // 16, -shape[1] // 16))
    np.testing.assert_allclose(back[inner], film[inner], atol=2e-3)


def test_restore_stays_within_the_planes_range() -> None:
    plane = noise(5)
    back = restore(plane, (251, 130))
    assert plane.min() <= back.min() <= back.max() <= plane.max()
    np.testing.assert_array_equal(restore(plane, (64, 64)), plane)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cache]:
    """A film's file, and the cache that training would make of it."""
    folder = tmp_path_factory.mktemp("film")
    path = folder / "film.png"
    path.write_bytes(cv2.imencode(".png", draw(8, size=320).pixels)[1].tobytes())
    sample = Sample(id="a", patient="a", image=path, labels={"Edema": 1.0})
    return path, cached([sample], 64, folder / "cache")


def test_training_and_inference_prepare_alike(film: tuple[Path, Cache]) -> None:
    path, cache = film
    seen = prepare(read(path).pixels, USUAL)
    # The cache rounds to 256 grey levels; nothing else may differ.
    step = 1 / 255 / float(np.subtract(*np.percentile(read(path).pixels, (99, 1)))) / USUAL.std
    trained = levels(cache.films[0].astype(np.float32) / 255, USUAL)
    assert np.abs(trained - seen[0]).max() < 2 * step
    assert np.abs(trained - seen[0]).mean() < step / 2


def test_the_training_loader_calls_the_same_function(film: tuple[Path, Cache]) -> None:
    pytest.importorskip("torch")
    from hilum.training.batches import Films

    films = Films(cache=film[1], labels=("Edema",), preparation=USUAL, strength=0, seed=0)
    expected = levels(film[1].films[0].astype(np.float32) / 255, USUAL)
    np.testing.assert_array_equal(films[0, 0]["films"][0], expected)


PLAIN = Preparation(size=64, low=0, high=100, mean=0, std=1)  # grey levels stay as they are


def ramp() -> Array:
    return np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(64, axis=0)


def stepped(image: Array, **steps: object) -> Array:
    return levels(image, PLAIN.model_copy(update=steps))


def test_no_step_is_taken_unless_asked() -> None:
    np.testing.assert_allclose(stepped(ramp()), ramp(), atol=1e-6)


def test_the_largest_very_bright_part_turns_black_and_nothing_else() -> None:
    image = noise(2) * 0.85
    image[50:60, 5:40] = 0.95  # the dome
    image[10:14, 10:14] = 0.97  # a marker
    image[0, 0] = 1
    expected = image.copy()
    expected[50:60, 5:40] = 0
    np.testing.assert_array_equal(without_diaphragm(image), expected)
    np.testing.assert_allclose(stepped(image, mask_diaphragm=True), expected, atol=2e-2)
    dark = image * 0.5
    assert without_diaphragm(dark) is dark


def test_the_histogram_becomes_even() -> None:
    skewed = ramp() ** 3
    assert np.histogram(skewed, 4, (0, 1))[0][0] > 0.6 * skewed.size
    np.testing.assert_allclose(
        np.histogram(stepped(skewed, equalise="histogram"), 4, (0, 1))[0] / skewed.size, 0.25, atol=0.09
    )


def test_clahe_lifts_contrast_where_it_is_low() -> None:
    image = np.where(np.indices((64, 64)).sum(axis=0) // 4 % 2, 0.50, 0.45).astype(np.float32)
    image[:2, :2], image[-2:, -2:] = 0, 1
    inner = (slice(16, 48), slice(16, 48))
    assert np.ptp(stepped(image, equalise="clahe")[inner]) > 1.3 * np.ptp(image[inner])


def test_gaussian_and_bilateral_smooth_noise_and_only_the_latter_keeps_an_edge() -> None:
    edge = np.where(np.arange(64) < 32, 0.1, 0.9).astype(np.float32)[None].repeat(64, axis=0)
    noisy = np.clip(edge + 0.03 * (noise(3) - 0.5), 0, 1)
    noisy[0, 0], noisy[0, 1] = 0, 1
    quiet = (slice(8, 56), slice(4, 24))
    heights = {}
    for name in ("gaussian", "bilateral"):
        smooth = stepped(noisy, smooth=name)
        assert smooth[quiet].std() < 0.7 * noisy[quiet].std()
        heights[name] = float((smooth[8:56, 32] - smooth[8:56, 31]).mean())
    assert heights["gaussian"] < 0.5 < 0.7 < heights["bilateral"]


def test_steps_are_taken_in_the_order_diaphragm_equalise_smooth() -> None:
    image = np.clip(noise(4), 0.05, 0.85)
    image[40:60, 10:50] = 1.0
    image[0, 0] = 0
    steps = {"mask_diaphragm": True, "equalise": "histogram", "smooth": "gaussian"}
    one = image
    for key, value in steps.items():
        one = stepped(one, **{key: value})
    np.testing.assert_allclose(stepped(image, **steps), one, atol=0.03)
    assert np.abs(stepped(stepped(image, equalise="histogram"), mask_diaphragm=True) - one).max() > 0.3


def test_a_film_shows_no_more_than_the_detail_asked_for() -> None:
    film = noise(0)
    coarse = Preparation(size=64, detail=16)
    np.testing.assert_array_equal(levels(film, coarse), levels(fit(fit(film, 16), 64), USUAL))
    finer = Preparation(size=64, detail=64)
    np.testing.assert_array_equal(levels(film, finer), levels(film, USUAL))


def outlines() -> Array:
    """On 64 x 64 pixels: a right lung, a left one, and a heart half as wide as both together."""
    mask = np.zeros((64, 64), np.uint8)
    mask[10:40, 12:22], mask[10:40, 42:52], mask[30:44, 22:42] = 1, 2, 3
    return mask


def test_the_chest_is_what_is_outlined_and_a_tenth_around() -> None:
    assert chest(outlines()) == (slice(7, 47), slice(8, 56))
    # No wider than the film, and all of it where nothing is outlined.
    assert chest(np.ones((30, 40), np.uint8)) == (slice(0, 30), slice(0, 40))
    assert chest(np.zeros((30, 40), np.uint8)) == (slice(0, 30), slice(0, 40))


def test_a_film_is_cut_before_it_is_stretched() -> None:
    film = noise(3)
    cut = prepare(film, USUAL.model_copy(update={"region": "crop"}), outlines())
    np.testing.assert_array_equal(cut, prepare(np.ascontiguousarray(film[7:47, 8:56]), USUAL))


def test_all_but_lungs_and_heart_is_black() -> None:
    kept = prepare(noise(4), USUAL.model_copy(update={"region": "lungs"}), outlines())[0]
    whole = levels(noise(4), USUAL)
    np.testing.assert_array_equal(kept[outlines() > 0], whole[outlines() > 0])
    assert set(kept[outlines() == 0]) == {whole.min()}


def test_outlines_and_ratio_are_channels_of_their_own() -> None:
    shown = USUAL.model_copy(update={"region": "outlines"})
    channels = prepare(noise(5), shown, outlines())
    assert channels.shape == (shown.channels, 64, 64)
    assert channels.dtype == np.float32
    np.testing.assert_array_equal(channels[0], levels(noise(5), USUAL))
    for value in (1, 2, 3):
        np.testing.assert_array_equal(channels[value], outlines() == value)
    np.testing.assert_array_equal(channels[4], 0)  # 20 pixels of 40
    wider = outlines()
    wider[30:44, 16:44] = 3
    np.testing.assert_allclose(prepare(noise(5), shown, wider)[4], 2, rtol=1e-6)  # 28 of 40
    for missing in (1, 2, 3):
        np.testing.assert_array_equal(prepare(noise(5), shown, wider * (wider != missing))[4], 0)
    swollen = np.where(outlines() > 0, outlines(), np.uint8(3))
    np.testing.assert_array_equal(prepare(noise(5), shown, swollen)[4], 5)  # no wider than the chest


def test_outlines_follow_the_film_to_the_networks_size() -> None:
    film = np.kron(outlines() == 1, np.ones((3, 2)))  # as bright as the right lung: both shrink alike
    mask = np.kron(outlines(), np.ones((3, 2), np.uint8))
    channels = prepare(film, Preparation(size=64, region="outlines"), mask)
    np.testing.assert_array_equal(channels[0] > 0, channels[1] > 0)


@pytest.mark.parametrize("region", ["crop", "lungs", "outlines"])
def test_a_region_is_never_guessed(region: str) -> None:
    with pytest.raises(ValueError, match=f"region '{region}': needs the film's label map"):
        prepare(noise(7), USUAL.model_copy(update={"region": region}))
