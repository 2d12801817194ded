"""A folder a class."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.data.sources.folder import listing
from hilum.errors import DataError


def lay(folder: Path, *films: str) -> str:
    for film in films:
        (folder / film).parent.mkdir(parents=True, exist_ok=True)
        (folder / film).touch()
    return str(folder)


def test_numbered_shouted_names_are_the_six_labels(tmp_path: Path) -> None:
    found = listing(
        lay(tmp_path / "ward", "10. PLEURAL EFFUSION/1.png", "2_edema/1.png", "normal/deep/2.dcm")
    ).samples
    carried = {sample.id: [name for name, value in sample.labels.items() if value == 1] for sample in found}
    assert carried == {
        "ward:10. PLEURAL EFFUSION/1.png": ["Pleural Effusion"],
        "ward:2_edema/1.png": ["Edema"],
        "ward:normal/deep/2.dcm": ["No Finding"],
    }
    for sample in found:
        assert set(sample.labels) == {"Pleural Effusion", "Edema", "No Finding"}
        assert set(sample.labels.values()) == {0, 1}


def test_films_of_one_name_in_two_classes_are_two_patients(tmp_path: Path) -> None:
    found = listing(lay(tmp_path, "edema/1.png", "normal/1.png")).samples
    assert len({sample.id for sample in found}) == len({sample.patient for sample in found}) == 2


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "edema/1.png",
        "edema/.DS_Store",
        "edema/.thumbs/1.png",
        "normal/2.png",
        ".cache/3.png",
        "notes.txt",
    )
    assert [sample.image.name for sample in listing(str(tmp_path)).samples] == ["1.png", "2.png"]  # type: ignore[union-attr]


def test_classes_that_are_numbers_stay_apart(tmp_path: Path) -> None:
    negative, positive = listing(lay(tmp_path, "0/a.png", "1/b.png")).samples
    assert negative.labels == {"0": 1, "1": 0}
    assert positive.labels == {"0": 0, "1": 1}


@pytest.mark.parametrize("films", [(), ("edema/1.png",)])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, films: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"\d classes; make a sub-folder for each class, at least two"):
        listing(lay(tmp_path, *films))


def test_what_is_no_film_by_its_ending_gets_no_label_and_is_told(tmp_path: Path) -> None:
    found = listing(lay(tmp_path, "edema/1.png", "edema/IM0001", "normal/2.png", "normal/notes.txt"))
    assert [sample.image.name for sample in found.samples] == ["1.png", "IM0001", "2.png"]  # type: ignore[union-attr]
    assert found.passed_over == {"no film by its ending": 1}


def test_films_in_no_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 films lie beside its classes' folders, as a\.png; move each"):
        listing(lay(tmp_path, "edema/1.png", "normal/2.png", "a.png", "b.DCM", "labels.csv"))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; give a folder with one sub-folder a class"):
        listing(str(tmp_path / "nowhere"))


def test_masks_within_a_class_and_empty_folders_are_passed_over_and_counted(tmp_path: Path) -> None:
    """As in the COVID-19 Radiography data set, unpacked on a Mac."""
    lay(tmp_path, "COVID/images/1.png", "COVID/masks/1.png", "Normal/images/2.png", "Normal/masks/2.png")
    (tmp_path / "__MACOSX").mkdir()
    found = listing(str(tmp_path))
    assert [sample.image.parent.name for sample in found.samples] == ["images", "images"]  # type: ignore[union-attr]
    assert found.passed_over == {"in a folder of masks": 2, "folder without films": 1}
    assert {len(sample.labels) for sample in found.samples} == {2}


def test_two_folders_of_one_class_are_not_joined(tmp_path: Path) -> None:
    lay(tmp_path, "1_lesion/a.png", "2_lesion/b.png", "normal/c.png")
    with pytest.raises(DataError, match=r"1_lesion and 2_lesion are both Lesion: .*; join or rename them"):
        listing(str(tmp_path))


def test_masks_and_parts_beside_classes_are_no_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="masks: masks, not a class; give masks:"):
        listing(lay(tmp_path / "outlined", "images/a.png", "masks/a.png"))
    with pytest.raises(DataError, match=r"train and val: parts of a split, not classes"):
        listing(lay(tmp_path / "mixed", "normal/a.png", "train/b.png", "val/c.png"))


def test_parts_of_a_split_are_no_classes(tmp_path: Path) -> None:
    lay(
        tmp_path,
        *(f"{part}/{name}/1.png" for part in ("train", "test", "val") for name in ("NORMAL", "PNEUMONIA")),
    )
    with pytest.raises(
        DataError, match=r"parts of a split, not classes; give folder:.*test, or folder:.*\+folder:"
    ):
        listing(str(tmp_path))
    assert {next(iter(one.labels)) for one in listing(str(tmp_path / "train")).samples} == {"No Finding"}
