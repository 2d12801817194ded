"""PadChest: lists of terms, their tree, projections, broken films."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.data.check import check
from hilum.data.sources.padchest import BROKEN, TREE, listing
from hilum.errors import DataError
from hilum.labels import FINDINGS, canonical

Lay = Callable[[str, Path], str]


def test_terms_count_as_the_finding_above_them(tmp_path: Path, lay: Lay) -> None:
    first, second, third, fourth = listing(lay("padchest", tmp_path)).samples
    ill = {name for name, value in first.labels.items() if value == 1}
    assert ill == {"Edema", "Atelectasis"} and first.labels["No Finding"] == 0
    assert {name for name, value in second.labels.items() if value == 1} == {"No Finding"}
    assert second.labels["Edema"] == 0
    assert all(math.isnan(value) for value in third.labels.values())  # "unchanged" says nothing
    assert {name for name, value in fourth.labels.items() if value == 1} == {
        "Pleural Effusion",
        "Pneumothorax",
    }
    assert fourth.labels["No Finding"] == 0


def test_who_and_how_is_told(tmp_path: Path, lay: Lay) -> None:
    first, second, *_ = listing(lay("padchest", tmp_path)).samples
    assert (first.id, first.patient, first.sex, first.view) == ("padchest:a", "padchest:1", "F", "PA")
    assert (second.view, second.age) == ("AP", 84)  # lying, born in 1930, seen in 2014
    assert first.image == tmp_path / "0" / "a.png"


def test_what_is_of_no_use_is_counted_by_reason(tmp_path: Path, lay: Lay) -> None:
    found = listing(lay("padchest", tmp_path))
    assert found.passed_over == {
        "projection L": 1,
        'labelled "exclude"': 1,
        "no labels": 1,
        "known to be broken": 1,
    }
    assert found.missing == ("h.png",)


def test_childrens_films_and_those_that_may_be_inverted_are_counted_where_they_are_read(
    tmp_path: Path, lay: Lay
) -> None:
    found = listing(lay("padchest", tmp_path))
    assert found.notes == {"of children": 1, "MONOCHROME1 in DICOM, perhaps with air bright": 1}
    counts = check(found).counts
    assert counts["of note, of children"] == "1"


def test_films_that_the_csv_lacks_are_named(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("padchest", tmp_path))
    (folder / "0" / "a.png").rename(folder / "0" / "z.png")
    found = listing(str(folder))
    assert (found.missing, found.unlisted) == (("a.png", "h.png"), ("z.png",))


def test_the_tree_covers_the_findings_under_their_one_spelling() -> None:
    assert set(FINDINGS) < set(TREE)
    assert all(canonical(name) == name for name in TREE)
    assert len(BROKEN) == 21


def test_a_list_that_is_none_is_told_with_its_line(tmp_path: Path, lay: Lay) -> None:
    file = Path(lay("padchest", tmp_path)) / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
    text = gzip.decompress(file.read_bytes()).decode().replace("['unchanged']", "unchanged")
    file.write_bytes(text.encode())  # not gzipped whatever its name says
    with pytest.raises(DataError, match=r"line 5, column 'Labels': 'unchanged' is no list such as"):
        listing(str(tmp_path))


def test_copies_as_jpeg_are_found_by_their_stem(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("padchest", tmp_path))
    whole = listing(str(folder))
    for film in folder.rglob("*.png"):
        film.rename(film.with_suffix(".jpg"))
    copied = listing(str(folder))
    assert [one.id for one in copied.samples] == [one.id for one in whole.samples]
    assert (copied.missing, copied.passed_over) == (whole.missing, whole.passed_over)
    # Of two copies of one name none is chosen for you; a film under its own name is.
    twice = next(folder.rglob("*.jpg"))
    twice.with_suffix(".dcm").touch()
    with pytest.raises(DataError, match="has the same name; keep one of them"):
        listing(str(folder))
    twice.with_suffix(".png").touch()
    assert twice.with_suffix(".png") in [one.image for one in listing(str(folder)).samples]
