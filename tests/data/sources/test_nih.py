"""NIH ChestX-ray14: films and rows find each other, and the csv's words become labels."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest

from hilum.data import join, open_data
from hilum.data.sources.nih import listing
from hilum.errors import DataError
from hilum.labels import SIX
from hilum.types import Sample

NEEDED = ["Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position"]
# NIH's heading has commas within its brackets, and so more columns than intended.
SIZES = ["OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]"]
HEADING = [*NEEDED[:2], "Follow-up #", *NEEDED[2:], *SIZES]


def row(
    stem: str, labels: str = "No Finding", patient: str = "1336", age: str = "58", **more: str
) -> list[str]:
    about = [more.get("sex", "F"), more.get("view", "PA")]
    return [f"{stem}.png", labels, "0", patient, age, *about, "2048", "2500", "0.171", "0.171"]


def lay(folder: Path, rows: Sequence[Sequence[str]], images: Sequence[str], name: str = "v2020") -> str:
    """A data set with these rows and empty image files; opening it reads no pixels."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for image in images:
        (folder / "images" / image).touch()
    with (folder / f"Data_Entry_2017_{name}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADING, *rows])
    return str(folder)


def samples(path: str) -> tuple[Sample, ...]:
    return listing(path).samples


def patients(found: Sequence[Sample]) -> int:
    return len({sample.patient for sample in found})


def test_rows_and_films_are_matched_by_stem(tmp_path: Path) -> None:
    rows = [row("00001336_000"), row("00001336_001"), row("00001337_000", patient="1337")]
    found = samples(lay(tmp_path, rows, ["00001336_001.jpg", "00001337_000.png", "00009999_000.png"]))
    assert [sample.id for sample in found] == ["nih:00001336_001", "nih:00001337_000"]
    assert [sample.image.name for sample in found] == ["00001336_001.jpg", "00001337_000.png"]  # type: ignore[union-attr]
    assert [sample.patient for sample in found] == ["nih:1336", "nih:1337"]
    assert {sample.site for sample in found} == {"nih"}


def test_several_labels_hold_at_once_and_the_six_are_always_told(tmp_path: Path) -> None:
    rows = [row("a", "Effusion|Pleural_Thickening"), row("b", "Mass"), row("c", "No Finding")]
    effusion, mass, none = (
        sample.labels for sample in samples(lay(tmp_path, rows, ["a.png", "b.png", "c.png"]))
    )
    assert set(effusion) == {*SIX, "Pleural Thickening", "Mass"}
    assert {name for name, value in effusion.items() if value == 1} == {
        "Pleural Effusion",
        "Pleural Thickening",
    }
    assert {name for name, value in mass.items() if value == 1} == {
        "Mass"
    }  # none of the six, nor "No Finding"
    assert {name for name, value in none.items() if value == 1} == {"No Finding"}
    assert all(value in (0, 1) for labels in (effusion, mass, none) for value in labels.values())


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("58", 58),
        ("058Y", 58),
        ("000Y", 0),
        ("414", None),
        ("005M", None),
        ("010D", None),
        ("", None),
        ("?", None),
    ],
)
def test_ages_are_years(tmp_path: Path, text: str, years: float | None) -> None:
    assert samples(lay(tmp_path, [row("a", age=text)], ["a.png"]))[0].age == years


def test_sex_and_view_are_as_said_or_unknown(tmp_path: Path) -> None:
    rows = [row("a", sex="M", view="AP"), row("b", sex="", view=""), row("c", sex="Female", view="PA")]
    said, unsaid, word = samples(lay(tmp_path, rows, ["a.png", "b.png", "c.png"]))
    assert (said.sex, said.view, word.sex) == ("M", "AP", "F")
    assert (unsaid.sex, unsaid.view) == (None, None)


def test_a_patient_is_one_person_in_every_folder(tmp_path: Path) -> None:
    lay(tmp_path / "small", [row("00001336_000", patient="00001336")], ["00001336_000.png"])
    lay(tmp_path / "large", [row("00001336_000", patient="1336"), row("00001336_001")], ["00001336_001.jpg"])
    joined = join([open_data(f"nih:{tmp_path / name}") for name in ("small", "large")])
    assert [sample.id for sample in joined] == ["nih:00001336_000", "nih:00001336_001"]
    assert patients(joined) == 1


def test_the_newer_edition_of_the_csv_is_taken(tmp_path: Path) -> None:
    lay(tmp_path, [row("a", "Mass")], ["a.png"])
    (tmp_path / "Data_Entry_2017.csv").write_text("the first edition", encoding="utf-8")
    assert samples(str(tmp_path))[0].labels["Mass"] == 1


def test_a_byte_order_mark_does_not_hide_the_first_column(tmp_path: Path) -> None:
    path = Path(lay(tmp_path, [row("a")], ["a.png"])) / "Data_Entry_2017_v2020.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [sample.id for sample in samples(str(tmp_path))] == ["nih:a"]


def test_a_list_of_films_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = Path(lay(tmp_path, [row("a")], ["a.png"]))
    (folder / "test_list.txt").write_bytes(b"caf\xe9.png\n")
    with pytest.raises(DataError, match=r"test_list\.txt: cannot be read .*; download NIH's list again"):
        samples(str(folder))


def test_a_folder_without_csv_or_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no Data_Entry_2017\*\.csv; put NIH's table there"):
        samples(str(tmp_path))
    (tmp_path / "Data_Entry_2017.csv").write_text(",".join(HEADING), encoding="utf-8")
    with pytest.raises(DataError, match="images: no such folder"):
        samples(str(tmp_path))


@pytest.mark.parametrize("column", NEEDED)
@pytest.mark.parametrize("rows", [[], [row("a")]], ids=["heading only", "a row"])
def test_a_missing_column_is_named(tmp_path: Path, column: str, rows: list[list[str]]) -> None:
    path = Path(lay(tmp_path, rows, ["a.png"])) / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(column, "Something"), encoding="utf-8")
    with pytest.raises(DataError, match=rf"no column '{column}'; give NIH's own file unchanged"):
        samples(str(tmp_path))


def test_a_damaged_row_is_named_by_its_line_and_not_by_its_patient(tmp_path: Path) -> None:
    lay(tmp_path, [row("a"), row("b", patient="Miller")], ["a.png", "b.png"])
    with pytest.raises(DataError, match=r"line 3: 'Patient ID' is not a number") as refusal:
        samples(str(tmp_path))
    assert "Miller" not in str(refusal.value)
    lay(tmp_path, [row("a"), row("b")[:2]], ["a.png"])
    with pytest.raises(DataError, match="line 3: not 11 cells as the heading has but 2"):
        samples(str(tmp_path))


def test_two_films_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: a\.jpg has the same name; keep one of them"):
        samples(lay(tmp_path, [row("a")], ["a.png", "a.jpg"]))


@pytest.mark.parametrize(
    ("folder", "count", "people", "edema", "cardiomegaly"),
    [
        ("nih14", 8506, 2497, 68, 134),
        ("nih14-64px", 4031, 1273, None, None),
        ("nih14-256px", 1520, 1124, 138, 100),
    ],
)
def test_real_folders_hold_what_their_description_says(
    films: Path, folder: str, count: int, people: int, edema: int | None, cardiomegaly: int | None
) -> None:
    found = open_data(f"nih:{films / folder}")
    assert (len(found), patients(found)) == (count, people)
    for label, expected in (("Edema", edema), ("Cardiomegaly", cardiomegaly)):
        assert expected in (None, sum(sample.labels[label] == 1 for sample in found))


def test_real_folders_join_by_film_and_patient(films: Path) -> None:
    parts = [open_data(f"nih:{films / name}") for name in ("nih14-256px", "nih14", "nih14-64px")]
    joined = join(parts)
    assert (len(joined), patients(joined)) == (13_209, 4_331)
    edema = [sample for sample in joined if sample.labels["Edema"] == 1]
    assert (len(edema), patients(edema)) == (233, 172)
    assert len({sample.id for sample in parts[0]} & {sample.id for sample in parts[1]}) == 612
    assert joined[: len(parts[0])] == parts[0]  # of a film in two folders the first, largest copy is taken


BOXES = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"


def test_boxes_of_the_authors_table_are_shares_of_the_film(tmp_path: Path) -> None:
    path = lay(tmp_path, [row("a", "Infiltration|Effusion"), row("b")], ["a.png", "b.png"])
    (tmp_path / "BBox_List_2017.csv").write_text(
        BOXES
        + "a.png,Infiltrate,512,256,128,64,,,\n"
        + "a.png,Effusion,0,0,1024,512,,,\na.png,Effusion,256,0,256,256,,,\n"
    )
    first, second = samples(path)
    assert first.boxes == {
        "Infiltration": ((0.5, 0.25, 0.125, 0.0625),),
        "Pleural Effusion": ((0, 0, 1, 0.5), (0.25, 0, 0.25, 0.25)),
    }
    assert second.boxes is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Image Index,Finding Label,x,y,w,h\n", "no column 'Bbox"),
        (BOXES + "a.png,Mass,1,2,3,,,,\n", "line 2"),
    ],
)
def test_a_table_of_boxes_that_cannot_be_read_is_told(tmp_path: Path, text: str, why: str) -> None:
    path = lay(tmp_path, [row("a")], ["a.png"])
    (tmp_path / "BBox_List_2017.csv").write_text(text)
    with pytest.raises(DataError, match=why):
        samples(path)


def test_official_lists_and_missing_films_are_told(tmp_path: Path) -> None:
    path = lay(tmp_path, [row("a"), row("b"), row("c")], ["a.png", "b.jpg", "z.png"])
    (tmp_path / "train_val_list.txt").write_text("a.png\n")
    (tmp_path / "test_list.txt").write_text("b.png\nc.png\n")
    found = listing(path)
    assert [sample.part for sample in found.samples] == ["train", "test"]
    assert (found.missing, found.unlisted) == (("c.png",), ("z",))


def test_films_may_lie_in_the_folders_of_the_archives(tmp_path: Path) -> None:
    path = lay(tmp_path, [row("a"), row("b")], [])
    (tmp_path / "images").rmdir()
    (tmp_path / "images_001.tar.gz").touch()  # an archive that was kept
    for part, film in (("images_001", "a.png"), ("images_002", "b.png")):
        (tmp_path / part / "images").mkdir(parents=True)
        (tmp_path / part / "images" / film).touch()
    assert [sample.id for sample in listing(path).samples] == ["nih:a", "nih:b"]


def test_a_gzipped_csv_is_read_as_it_is(tmp_path: Path) -> None:
    path = lay(tmp_path, [row("a")], ["a.png"])
    file = tmp_path / "Data_Entry_2017_v2020.csv"
    (tmp_path / "Data_Entry_2017_v2020.csv.gz").write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    assert [sample.id for sample in listing(path).samples] == ["nih:a"]
