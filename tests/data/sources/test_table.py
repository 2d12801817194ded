"""A csv of films: what its columns mean, and what is refused by line and column."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data.sources.table import samples
from hilum.errors import DataError
from hilum.labels import UNCERTAIN
from hilum.types import STRUCTURES, Sample


def table(folder: Path, text: str, encoding: str = "utf-8") -> list[Sample]:
    path = folder / "films.csv"
    path.write_bytes(text.encode(encoding))
    return samples(str(path))


def test_every_column_has_its_meaning(tmp_path: Path) -> None:
    text = (
        "path,patient,sex,age,view,site,Edema,10. PLEURAL EFFUSION\n"
        "a/1.png,p7,F,61.5,AP,north,1,0\n"
        "a/2.png,p7,,,,north,0,\n"
    )
    one, two = table(tmp_path, text)
    assert one == Sample(
        id="north:a/1.png",
        patient="north:p7",
        image=tmp_path / "a/1.png",
        labels={"Edema": 1, "Pleural Effusion": 0},
        site="north",
        sex="F",
        age=61.5,
        view="AP",
    )
    assert two.patient == "north:p7"
    assert (two.sex, two.age, two.view) == (None, None, None)
    assert two.labels["Edema"] == 0
    assert math.isnan(two.labels["Pleural Effusion"])


def test_only_the_path_is_needed(tmp_path: Path) -> None:
    one, two = table(tmp_path, "path\n1.png\n2.png\n")
    assert one.site == tmp_path.name
    assert one.patient == one.id == f"{tmp_path.name}:1.png"
    assert two.patient != one.patient
    assert dict(one.labels) == {}


@pytest.mark.parametrize("name", ["path", "File", " IMAGE ", "filename", "Image Index"])
def test_the_path_column_has_several_names(tmp_path: Path, name: str) -> None:
    (sample,) = table(tmp_path, f"Edema,{name}\n1,x.png\n")
    assert sample.image == tmp_path / "x.png"
    assert sample.labels == {"Edema": 1}


def test_paths_count_from_the_csv_and_absolute_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    relative, absolute = table(tmp_path, f"path\nsub/x.png\n{tmp_path}/y.png\n")
    assert relative.image == tmp_path / "sub" / "x.png"
    assert absolute.image == tmp_path / "y.png"


def test_an_id_column_names_the_film(tmp_path: Path) -> None:
    (sample,) = table(tmp_path, "path,id,site\nx.png,exam-3,south\n")
    assert sample.id == sample.patient == "south:exam-3"


def mask(folder: Path, *values: int, name: str = "m.png") -> str:
    """A mask file of these values; returns its name."""
    (folder / name).write_bytes(cv2.imencode(".png", np.array([values], np.uint8))[1].tobytes())
    return name


@pytest.mark.parametrize(
    ("values", "structures"),
    [
        ((0, 1, 3, 2), set(STRUCTURES)),
        ((0, 1, 2), {"right_lung", "left_lung"}),
        ((0, 3), {"heart"}),
        ((0, 255), {"lungs"}),
    ],
)
def test_a_mask_tells_what_it_shows(tmp_path: Path, values: tuple[int, ...], structures: set[str]) -> None:
    (sample,) = table(tmp_path, f"path,mask,Edema\nx.png,{mask(tmp_path, *values)},1\n")
    assert sample.masks == tmp_path / "m.png"
    assert sample.structures == structures
    assert sample.labels == {"Edema": 1}


@pytest.mark.parametrize("text", ["heart|left_lung", "left_lung|heart", "|heart|left_lung|"])
def test_structures_that_are_named_need_no_guess(tmp_path: Path, text: str) -> None:
    # The heart lies outside this film, which the map alone could not tell from a heart not drawn.
    name = mask(tmp_path, 0, 2)
    (sample,) = table(tmp_path, f"path,mask,structures\nx.png,{name},{text}\n")
    assert sample.structures == {"heart", "left_lung"}


def test_masks_that_are_not_spoken_of_show_what_all_of_them_together_do(tmp_path: Path) -> None:
    # A heart that lies outside one film was looked for there; the row that speaks for itself has no say.
    one, other = mask(tmp_path, 0, 1, 2, name="a-m.png"), mask(tmp_path, 0, 1, 3, name="b-m.png")
    text = f"path,mask,structures\na.png,{one},\nb.png,{other},\n"
    assert [sample.structures for sample in table(tmp_path, text)] == [set(STRUCTURES)] * 2
    first, second = table(tmp_path, f"path,mask,structures\na.png,{one},\nb.png,{other},heart\n")
    assert first.structures == {"right_lung", "left_lung"}
    assert second.structures == {"heart"}


def test_masks_of_one_table_may_show_different_things(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    one, other = mask(tmp_path, 0, 1, 2, 3, name="masks/a.png"), mask(tmp_path, 0, 255, name="masks/b.png")
    backwards = one.replace("/", "\\")  # as Windows writes it
    text = f"path,mask,structures\na.png,{backwards},\nb.png,{other},lungs\nc.png,,\nd.png,,heart\n"
    first, second, third, fourth = table(tmp_path, text)
    assert (first.masks, second.masks) == (tmp_path / one, tmp_path / other)
    assert first.structures == set(STRUCTURES)
    assert second.structures == {"lungs"}
    for without in (third, fourth):
        assert without.masks is None
        assert without.structures == set()


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("gone.png,", r"line 2: no mask .*gone\.png; correct the path or leave the cell empty"),
        ("m.png,clavicle", r"line 2: structure 'clavicle'; use right_lung, left_lung, heart or lungs"),
        ("m.png,heart|spine", r"line 2: structure 'spine'"),
        ("m.png,heart left_lung", r"line 2: structure 'heart left_lung'"),
    ],
)
def test_masks_and_structures_that_are_wrong_are_named(tmp_path: Path, cells: str, message: str) -> None:
    mask(tmp_path, 0, 1, 2, 3)
    with pytest.raises(DataError, match=message) as refusal:
        table(tmp_path, f"path,mask,structures\nx.png,{cells}\n")
    assert str(tmp_path / "films.csv") in str(refusal.value)


def test_a_map_of_zero_and_one_must_say_what_one_is(tmp_path: Path) -> None:
    name = mask(tmp_path, 0, 1)
    with pytest.raises(DataError, match="only 0 and 1"):
        table(tmp_path, f"path,mask\nx.png,{name}\n")
    (sample,) = table(tmp_path, f"path,mask,structures\nx.png,{name},right_lung\n")
    assert sample.structures == {"right_lung"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, 1) for text in ("1", "1.0", "1.00", "True", " 1 ", "Yes")),
        *((text, 0) for text in ("0", "0.0", "false", "no")),
        *((text, UNCERTAIN) for text in ("-1", "-1.0")),
        *((text, None) for text in ("", "NaN", "nan", "NA")),
    ],
)
def test_labels_are_zero_one_uncertain_or_unknown(tmp_path: Path, text: str, value: float | None) -> None:
    sample, _ = table(tmp_path, f"path,Edema\nx.png,{text}\ny.png,1\n")
    assert sample.labels["Edema"] == value or (value is None and math.isnan(sample.labels["Edema"]))


def test_a_column_without_any_entry_is_no_label(tmp_path: Path) -> None:
    found = table(tmp_path, "path,Edema,notes,\nx.png,1,,\ny.png,0,,\n")
    assert {name for sample in found for name in sample.labels} == {"Edema"}


def test_paths_and_patients_are_understood_as_tables_write_them(tmp_path: Path) -> None:
    one, other = table(tmp_path, "Path,Patient_ID\n images\\x.png ,7\nimages/y.png,7.0\n")
    assert one.image == tmp_path / "images" / "x.png"
    assert one.patient == other.patient == f"{tmp_path.name}:7"
    assert one.labels == {}


@pytest.mark.parametrize("text", ["nan", "NaN"])
def test_an_age_that_is_no_number_is_unknown(tmp_path: Path, text: str) -> None:
    assert table(tmp_path, f"path,age\nx.png,{text}\n")[0].age is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_spreadsheets_write_marks_and_line_ends_of_their_own(tmp_path: Path, encoding: str, end: str) -> None:
    (sample,) = table(tmp_path, end.join(["path,Ödem,Edema", "Müller.png,0,1", ""]), encoding)
    assert sample.image == tmp_path / "Müller.png"
    assert sample.labels == {"Ödem": 0, "Edema": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,Edema\na.png,1\nb.png,2\n",
            r"line 3, column 'Edema': '2'; labels are 0, 1, -1 \(uncertain\) or empty",
        ),
        ("path,Edema\na.png,1\n\n\nb.png,-2\n", r"line 5, column 'Edema': '-2'"),
        ("path,Edema\na.png,maybe\n", r"line 2, column 'Edema': 'maybe'"),
        ("path,age\na.png,old\n", r"line 2: age 'old'; write years as a number"),
        ("path,age\na.png,058Y\n", r"line 2: age '058Y'"),
        ("path,Edema\n,1\n", r"line 2: no path; fill it in or remove the row"),
        ("path,Edema\na.png\n", r"line 2: not 2 cells as the heading has; correct the row"),
        ("path,Edema\na, b.png,1\n", r"line 2: not 2 cells"),
        ("film,Edema\na.png,1\n", r"no column 'path' among film, Edema; name the column"),
        ("path;age\na.png;61,5\n", r"line 2: age '61,5'; write years as a number"),
        ("", r"an empty file; give a csv with a heading"),
        ("path,Edema,\na.png,1,0\n", r"a column without a name holds entries"),
        ("path,Edema\na.png,1\n./a.png,0\n", r"line 3: a film of an earlier row"),
        ("path,id\na.png,1\nb/../a.png,2\n", r"line 3: a film of an earlier row"),
        (
            "path,finding\na.png,edema\n",
            r"'edema'; labels are .* or empty, each in a column of its own; remove a column that is no label",
        ),
        (
            "path,Effusion,Pleural Effusion\na.png,0,1\n",
            r"column 'Pleural Effusion': a second Pleural Effusion",
        ),
        (
            "path,Edema\na.png,1\nb.png,1\na.png,0\n",
            r"line 4: a film of an earlier row; write one row a film",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        table(tmp_path, text)
    assert str(tmp_path / "films.csv") in str(refusal.value)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_spreadsheets_write_semicolons_where_decimals_have_a_comma(tmp_path: Path, mark: str) -> None:
    rows = ("path", "Patient ID", "Ödem"), ('"ward 1, a.png"', "007", "1"), ("b.png", "7", "0")
    one, other = table(tmp_path, "\r\n".join(map(mark.join, rows)), "utf-8-sig")
    assert one.image == tmp_path / "ward 1, a.png"
    assert (one.labels, other.labels) == ({"Ödem": 1}, {"Ödem": 0})
    assert one.patient == f"{tmp_path.name}:007" != other.patient


def test_a_csv_that_is_not_utf8_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"give a csv in UTF-8 \(Excel: save as CSV UTF-8\)"):
        table(tmp_path, "path\nMüller.png\n", "latin-1")
    with pytest.raises(DataError, match=r"other\.csv: no such csv; check the path"):
        samples(str(tmp_path / "other.csv"))


def test_sex_view_and_age_have_one_spelling(tmp_path: Path) -> None:
    text = "path,sex,view,age\na.png,male,pa,61\nb.png,Female,AP Supine,999\nc.png,other,portable,-1\n"
    found = [(one.sex, one.view, one.age) for one in table(tmp_path, text)]
    assert found == [("M", "PA", 61), ("F", "AP", None), (None, None, None)]
    for view in ("LATERAL", "LAO", "lat"):
        with pytest.raises(DataError, match=f"line 2: view '{view}'; films are frontal, so remove the row"):
            table(tmp_path, f"path,view\na.png,{view}\n")


def test_a_patient_named_with_a_public_data_set_is_its_own(tmp_path: Path) -> None:
    rows = ("a.png,1,nih:17,rsna", "b.png,2,17,rsna", "c.png,3,dicom:a1,ours", "d.png,4,x:1,ours", "")
    text = "\n".join(("path,id,patient,site", *rows))
    assert [one.patient for one in table(tmp_path, text)] == ["nih:17", "rsna:17", "dicom:a1", "ours:x:1"]


def test_one_film_by_its_relative_and_its_absolute_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would count as two patients, of whom one may train and the other test."""
    monkeypatch.chdir(tmp_path)
    Path("films.csv").write_text(f"path,Edema\na.png,1\n{tmp_path / 'a.png'},1\n")
    with pytest.raises(DataError, match="line 3: a film of an earlier row"):
        samples("films.csv")


@pytest.mark.parametrize("heading", ["path,patient,Patient ID,Edema", "path,patient,patient,Edema"])
def test_two_columns_of_patients_are_refused(tmp_path: Path, heading: str) -> None:
    """Otherwise the wrong column could put films of one patient into several parts."""
    with pytest.raises(DataError, match="keep the one that names the patients"):
        table(tmp_path, f"{heading}\na.png,1,2,0\n")
