"""Data sets with outlines: JSRT with SCR, Montgomery, Shenzhen, Kaggle's, Darwin's and COVID-QU-Ex."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hilum.data.opened import masks_of, pixels_of
from hilum.data.sources import covidqu, darwin, jsrt, lungmasks, montgomery, shenzhen
from hilum.errors import DataError
from hilum.types import Array, Sample

Lay = Callable[[str, Path], str]


def outlines(sample: Sample) -> Array:
    return masks_of(sample.masks)  # type: ignore[arg-type]


def sides(mask: Array) -> tuple[int, int]:
    """The values to the picture's left and right."""
    return int(mask[16, 8]), int(mask[16, 24])


def test_jsrts_raw_films_are_turned_air_dark(tmp_path: Path, lay: Lay) -> None:
    first, second = jsrt.listing(lay("jsrt", tmp_path)).samples
    pixels = pixels_of(first.image)
    assert pixels.shape == (2048, 2048) and pixels.dtype == np.float32
    assert pixels[0, 0] == 0  # stored as 4095
    assert pixels[600, 512] == 1  # stored as 0
    assert pixels[600, 513] == pytest.approx(1 - 1 / 4095, abs=1e-7)  # words in big-endian order
    assert (first.id, second.id) == ("jsrt:JPCLN001", "jsrt:JPCNN002")


def test_jsrt_says_where_the_nodule_is_and_who_has_it(tmp_path: Path, lay: Lay) -> None:
    first, second = jsrt.listing(lay("jsrt", tmp_path)).samples
    assert first.labels == {"Nodule": 1, "No Finding": 0}
    assert second.labels["Nodule"] == 0 and math.isnan(second.labels["No Finding"])
    assert (first.sex, first.age, first.view, second.sex, second.age) == ("F", 53, "PA", "M", None)
    assert isinstance(first.boxes, dict)
    ((x, y, width, height),) = first.boxes["Nodule"]
    assert (x + width / 2, y + height / 2) == pytest.approx((1634 / 2048, 692 / 2048))
    assert width == height == pytest.approx(14 / 0.175 / 2048)


def test_jsrts_texts_may_have_their_lines_ended_anew(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("jsrt", tmp_path))
    first, second = jsrt.listing(str(folder)).samples
    for name in ("CLNDAT_EN.txt", "CNNDAT_EN.TXT"):
        file = folder / "Clinical_Information" / name
        file.write_bytes(file.read_bytes().replace(b"\r", b"\r\n\r\n"))
    again = jsrt.listing(str(folder)).samples
    assert [(one.sex, one.age, one.boxes) for one in again] == [
        (one.sex, one.age, one.boxes) for one in (first, second)
    ]


def test_scr_outlines_are_a_label_map_whose_sides_their_place_tells(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("jsrt", tmp_path))
    first, second = jsrt.listing(str(folder)).samples
    mask = outlines(first)
    assert (sides(mask), mask[16, 15], mask[0, 0]) == ((1, 2), 3, 0)
    assert first.structures == {"right_lung", "left_lung", "heart"}
    assert second.masks is None and not second.structures
    place = folder / "scratch" / "fold1" / "masks"
    for one, other in (("right lung", "x"), ("left lung", "right lung"), ("x", "left lung")):
        (place / one).rename(place / other)
    assert sides(outlines(jsrt.listing(str(folder)).samples[0])) == (1, 2)


def test_jsrt_as_png_is_read_beside_outlines_of_the_same_names(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("jsrt", tmp_path))
    for file in (folder / "All247images").iterdir():
        file.rename(file.with_suffix(".png"))
    first, second = jsrt.listing(str(folder)).samples
    assert first.image == folder / "All247images" / "JPCLN001.png"
    assert first.masks is not None and second.masks is None


def test_a_cut_off_raw_film_is_told(tmp_path: Path, lay: Lay) -> None:
    first, second = jsrt.listing(lay("jsrt", tmp_path)).samples
    file = tmp_path / "All247images" / "JPCLN001.IMG"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"JPCLN001\.IMG: 8388606 bytes, not 8388608; download it again"):
        pixels_of(first.image)
    file.with_name("JPCNN002.IMG").write_bytes(b"\xff\xff" * 2048 * 2048)
    with pytest.raises(DataError, match="values up to 65535, above 12 bits"):
        pixels_of(second.image)


def test_a_damaged_table_of_jsrt_is_told(tmp_path: Path, lay: Lay) -> None:
    file = Path(lay("jsrt", tmp_path)) / "Clinical_Information" / "CLNDAT_EN.txt"
    file.write_text("JPCLN001.IMG\t5\t14\n")
    with pytest.raises(DataError, match=r"CLNDAT_EN\.txt, line 1: too few cells"):
        jsrt.listing(str(tmp_path))
    file.unlink()
    file.with_name("CNNDAT_EN.TXT").write_text("JPCNN002.IMG 61\n")
    with pytest.raises(DataError, match=r"CNNDAT_EN\.TXT, line 1: too few cells"):
        jsrt.listing(str(tmp_path))


def test_montgomery_joins_a_mask_of_each_side(tmp_path: Path, lay: Lay) -> None:
    healthy, ill = montgomery.listing(lay("montgomery", tmp_path)).samples
    assert healthy.labels == {"Tuberculosis": 0, "No Finding": 1}
    assert ill.labels == {"Tuberculosis": 1, "No Finding": 0}
    assert (healthy.id, healthy.sex, healthy.age) == ("montgomery:MCUCXR_0001_0", "F", 27)
    assert sides(outlines(healthy)) == (1, 2)
    assert healthy.structures == {"right_lung", "left_lung"}


def test_shenzhen_has_films_with_and_without_a_mask(tmp_path: Path, lay: Lay) -> None:
    healthy, ill, bare = shenzhen.listing(lay("shenzhen", tmp_path)).samples
    assert (healthy.sex, healthy.age) == ("M", 45)
    assert (ill.sex, ill.age) == ("F", pytest.approx(16 / 12))  # "Femal 16month"
    assert (bare.sex, bare.age, bare.masks) == (None, None, None)
    assert sides(outlines(healthy)) == (1, 2) and healthy.structures == {"lungs"}


def test_a_film_of_another_name_is_told(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("shenzhen", tmp_path))
    (folder / "CXR_png" / "film.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"film\.png: not named as these films are \(MCUCXR_0001_0\.png\)"):
        shenzhen.listing(str(folder))


def test_kaggles_folder_holds_both_sites_and_repeats_films_in_test(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("lungmasks", tmp_path))
    found = lungmasks.listing(str(folder))
    assert [(sample.id, sample.site) for sample in found.samples] == [
        ("shenzhen:CHNCXR_0001_0", "shenzhen"),
        ("montgomery:MCUCXR_0001_0", "montgomery"),
    ]
    assert found.passed_over == {"no mask": 1}
    assert found == lungmasks.listing(str(folder / "Lung Segmentation"))


def test_darwins_polygons_of_both_editions_are_filled(tmp_path: Path, lay: Lay) -> None:
    found = darwin.listing(lay("darwin", tmp_path))
    old, new = found.samples
    assert sides(outlines(old)) == sides(outlines(new)) == (1, 2)
    assert outlines(old).sum() == 17 * 9 * (1 + 2)  # the edges belong to a polygon
    assert old.labels == {"COVID-19": 1, "Pneumonia": 1, "No Finding": 0}
    assert new.labels == {"COVID-19": 0, "Pneumonia": 0, "No Finding": 1}
    assert found.passed_over == {"no polygon": 1}


def test_lungs_that_overlap_keep_what_they_share(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("darwin", tmp_path))
    file = folder / "releases" / "latest" / "annotations" / "1.json"
    note = json.loads(file.read_text())
    for one, (left, right) in zip(note["annotations"][:2], ((4, 18), (14, 28)), strict=True):
        one["name"] = "Lung"
        corners = ((left, 8), (right, 8), (right, 24), (left, 24))
        one["polygon"] = {"path": [{"x": x, "y": y} for x, y in corners]}
    file.write_text(json.dumps(note))
    mask = outlines(darwin.listing(str(folder)).samples[0])
    assert (mask[9:24, 5:28] > 0).all()


def test_a_hole_stays_open_and_a_named_side_is_kept(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("darwin", tmp_path))
    file = folder / "releases" / "latest" / "annotations" / "1.json"
    note = json.loads(file.read_text())
    first, second = note["annotations"][:2]
    first["name"], second["name"] = "Left Lung", "Heart"
    first["polygon"]["additional_paths"] = [
        [{"x": x, "y": y} for x, y in ((6, 14), (10, 14), (10, 18), (6, 18))]
    ]
    file.write_text(json.dumps(note))
    sample = darwin.listing(str(folder)).samples[0]
    mask = outlines(sample)
    assert sample.structures == {"left_lung", "heart"}
    assert (mask[10, 5], mask[16, 8], mask[16, 24]) == (2, 0, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"1\.json: no JSON .*; export it from Darwin again"),
        ('{"annotations": []}', r"1\.json: names no film"),
    ],
)
def test_an_export_that_is_damaged_is_told(tmp_path: Path, lay: Lay, text: str, message: str) -> None:
    folder = Path(lay("darwin", tmp_path))
    (folder / "releases" / "latest" / "annotations" / "1.json").write_text(text)
    with pytest.raises(DataError, match=message):
        darwin.listing(str(folder))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"image": "1.png"}, "names no film"),
        ({"annotations": None}, "an annotation is damaged; export it from Darwin again"),
        ({"annotations": ["Lung"]}, "an annotation is damaged"),
        ({"annotations": [{"name": "Lung", "polygon": {"points": []}}]}, "an annotation is damaged"),
        ({"annotations": [{"name": "Lung", "polygon": {"path": [{"x": 1}]}}]}, "an annotation is damaged"),
        (
            {"annotations": [{"name": "Lung", "polygon": {"path": [{"x": 1, "y": 1e30}]}}]},
            "an annotation is damaged",
        ),
    ],
)
def test_a_damaged_annotation_is_told_when_listed_and_when_drawn(
    tmp_path: Path, lay: Lay, part: dict[str, object], message: str
) -> None:
    folder = Path(lay("darwin", tmp_path))
    sample = darwin.listing(str(folder)).samples[0]
    file = folder / "releases" / "latest" / "annotations" / "1.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | part))
    with pytest.raises(DataError, match=rf"1\.json: {message}"):
        darwin.listing(str(folder))
    with pytest.raises(DataError, match=r"1\.json: "):
        outlines(sample)


def test_darwins_film_of_impossible_size_is_told_before_it_is_drawn(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("darwin", tmp_path))
    file = folder / "releases" / "latest" / "annotations" / "1.json"
    for about in ({"width": 10**6, "height": 10**6}, {"width": -1, "height": 4}, {}):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"image": {"filename": "1.png", **about}}))
        with pytest.raises(DataError, match=r"1\.json: no width and height of the film"):
            outlines(darwin.listing(str(folder)).samples[0])


def test_an_outline_that_declares_a_huge_picture_is_told(tmp_path: Path) -> None:
    file = tmp_path / "lung.gif"
    Image.new("L", (2, 2)).save(file)
    data = bytearray(file.read_bytes())
    data[6:10] = (60_000).to_bytes(2, "little") * 2  # the size of the screen, then of the picture
    place = data.index(b"\x2c")
    data[place + 5 : place + 9] = data[6:10]
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"lung\.gif: no picture \(DecompressionBombError\); unpack the"):
        jsrt.label_map(file, file)


def test_covidqu_has_parts_classes_and_masks(tmp_path: Path, lay: Lay) -> None:
    covid, other, normal = covidqu.listing(lay("covidqu", tmp_path)).samples
    assert (covid.labels["COVID-19"], covid.labels["No Finding"]) == (1, 0)
    assert math.isnan(covid.labels["Pneumonia"])
    assert other.labels == {"COVID-19": 0, "Pneumonia": 1, "No Finding": 0}
    assert normal.labels == {"COVID-19": 0, "Pneumonia": 0, "No Finding": 1}
    assert [sample.part for sample in (covid, other, normal)] == ["train", "tune", "test"]
    assert sides(outlines(covid)) == (1, 2)
    with pytest.raises(DataError, match="no Train/COVID-19/images/; give the folder"):
        covidqu.listing(str(tmp_path / "Lung Segmentation Data" / "nowhere"))
