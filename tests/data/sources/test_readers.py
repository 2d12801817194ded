"""Data sets read by radiologists: VinDr-CXR's votes, RSNA's classes, Open-I's terms, BRAX's labeler."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.data.sources import brax, openi, rsna, vindr
from hilum.errors import DataError

Lay = Callable[[str, Path], str]
Table = Callable[..., Path]


def positive(labels: object) -> set[str]:
    assert isinstance(labels, dict)
    return {name for name, value in labels.items() if value == 1}


def test_vindr_takes_what_most_readers_saw(tmp_path: Path, lay: Lay) -> None:
    found = vindr.listing(lay("vindr", tmp_path))
    first, second, test = found.samples
    assert positive(first.labels) == {
        "Cardiomegaly",
        "Pleural Effusion",
    }  # 2 and 3 of 3; 1 of 3 is not enough
    assert first.labels["Interstitial Lung Disease"] == first.labels["No Finding"] == 0
    assert positive(second.labels) == {"No Finding"}
    assert positive(test.labels) == {"Cardiomegaly", "Other Diseases"}
    assert [sample.part for sample in found.samples] == ["train", "train", "test"]
    assert found.missing == ("train/film9",)


def test_vindr_boxes_of_all_readers_are_shares_of_the_film(tmp_path: Path, lay: Lay) -> None:
    first, second, _ = vindr.listing(lay("vindr", tmp_path)).samples
    assert first.boxes == {"Cardiomegaly": ((0.25, 0.5, 0.5, 0.5), (0.25, 0.5, 0.25, 0.25))}
    assert second.boxes is None
    assert (first.sex, first.age, first.view, first.patient) == ("F", 61, "PA", "vindr:film1")


def test_vindr_as_kaggle_has_it_counts_the_readers_who_drew_a_finding(
    tmp_path: Path, lay: Lay, relabel: Table
) -> None:
    folder = Path(lay("vindr", tmp_path))
    shutil.rmtree(folder / "annotations")
    heading = ["image_id", "class_name", "class_id", "rad_id", "x_min", "y_min", "x_max", "y_max"]
    healthy = [["film2", "No finding", 14, reader, "", "", "", ""] for reader in ("R1", "R2", "R3")]
    ill = [["film1", "Cardiomegaly", 3, reader, 8, 16, 24, 32] for reader in ("R1", "R9")]
    ill += [["film1", "Pleural effusion", 10, "R9", 0, 0, 8, 8]] * 2
    doubtful = [["film0", "ILD", 5, "R4", 0, 0, 8, 8]]  # two readers saw nothing and have no rows
    relabel(folder / "train.csv", heading, [*healthy, *ill, *doubtful])
    shutil.copy(folder / "train" / "film1.dicom", folder / "train" / "film0.dicom")
    found = vindr.listing(str(folder))
    second, first, third = found.samples
    assert positive(first.labels) == {"Cardiomegaly"} and first.labels["No Finding"] == 0
    assert first.boxes == {"Cardiomegaly": ((0.25, 0.5, 0.5, 0.5),) * 2}
    assert positive(second.labels) == {"No Finding"} and second.boxes is None
    assert not positive(third.labels) and math.isnan(third.labels["No Finding"])
    assert {sample.part for sample in found.samples} == {"train"}
    assert (found.missing, found.unlisted) == ((), ("film3",))  # Kaggle's test films have no labels


def test_vindr_tables_that_are_damaged_are_told(tmp_path: Path, lay: Lay) -> None:
    file = Path(lay("vindr", tmp_path)) / "annotations" / "annotations_train.csv"
    file.write_text(file.read_text().replace("8,16,24,32", "8,16,24,here"))
    with pytest.raises(
        DataError, match=r"annotations_train\.csv, line 2, column 'y_max': 'here' is no number"
    ):
        vindr.listing(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no image_labels_train\.csv; put VinDr-CXR's tables there"):
        vindr.listing(str(tmp_path / "empty"))


def test_rsna_classes_become_labels_and_boxes_lie_on_the_film(tmp_path: Path, lay: Lay) -> None:
    found = rsna.listing(lay("rsna", tmp_path))
    opacity, normal, neither = found.samples
    assert opacity.labels == {"Lung Opacity": 1, "No Finding": 0}
    assert normal.labels == {"Lung Opacity": 0, "No Finding": 1}
    assert neither.labels == {"Lung Opacity": 0, "No Finding": 0}
    assert opacity.boxes == {"Lung Opacity": ((0.25, 0.5, 0.125, 0.0625), (0, 0, 0.5, 0.5))}
    assert normal.boxes is None
    assert (opacity.view, opacity.sex, opacity.age) == ("AP", "M", 51)
    assert found.missing == ("d",)


def test_rsna_films_are_of_nihs_patients_where_the_mapping_says_so(tmp_path: Path, lay: Lay) -> None:
    mapped, own, _ = rsna.listing(lay("rsna", tmp_path)).samples
    assert (mapped.patient, own.patient) == ("nih:7", "rsna:b")
    (tmp_path / "pneumonia-challenge-dataset-mappings_2018.json").write_text("{}x")
    with pytest.raises(DataError, match="not a list of subset_img_id and img_id; download RSNA's mapping"):
        rsna.listing(str(tmp_path))


def test_two_rsna_films_of_one_name_are_told(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("rsna", tmp_path)) / "stage_2_train_images"
    first = next(iter(folder.glob("*.dcm")))
    first.with_suffix(".png").touch()
    with pytest.raises(DataError, match=r"has the same name; keep one of them"):
        rsna.listing(str(tmp_path))


def test_rsna_without_classes_knows_no_normal_films(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("rsna", tmp_path))
    (folder / "stage_2_detailed_class_info.csv").unlink()
    opacity, other, _ = rsna.listing(str(folder)).samples
    assert opacity.labels["No Finding"] == 0 and math.isnan(other.labels["No Finding"])
    file = folder / "stage_2_train_labels.csv"
    file.write_text(file.read_text().replace("b,,,,,0", "b,,,,,2"))
    with pytest.raises(DataError, match=r"stage_2_train_labels\.csv, line 4: Target '2', not 0 or 1"):
        rsna.listing(str(folder))


def test_openi_terms_become_labels(tmp_path: Path, lay: Lay) -> None:
    found = openi.listing(lay("openi", tmp_path))
    first, second, third = found.samples
    assert positive(first.labels) == {"Cardiomegaly", "Atelectasis", "Lung Opacity"}
    assert first.labels["Edema"] == first.labels["No Finding"] == 0
    assert positive(second.labels) == {"No Finding"}
    assert all(math.isnan(value) for value in third.labels.values())
    assert first.id == "openi:1_IM-0001-4001" and first.patient == "openi:1"
    assert found.passed_over["lateral"] == 1


XML = """<?xml version="1.0"?><eCitation><uId id="CXR{uid}"/>
<MeSH><major>{term}</major><automatic>edema</automatic></MeSH><parentImage id="{film}"/></eCitation>"""


def test_openi_reports_as_xml_give_the_same_films(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("openi", tmp_path))
    (folder / "indiana_reports.csv").unlink()
    place = folder / "ecgen-radiology"
    place.mkdir()
    (place / "1.xml").write_text(XML.format(uid=1, term="Pulmonary Edema/mild", film="CXR1_1_IM-0001-4001"))
    (place / "2.xml").write_text(XML.format(uid=2, term="normal", film="CXR2_IM-0652-1001"))
    first, second = openi.listing(str(folder)).samples
    assert (first.id, second.id) == ("openi:1_IM-0001-4001", "openi:2_IM-0652-1001")
    assert positive(first.labels) == {"Edema"} and positive(second.labels) == {"No Finding"}
    (place / "2.xml").write_text("<eCitation><uId")
    with pytest.raises(DataError, match=r"2\.xml: no XML .*; unpack Open-I's reports again"):
        openi.listing(str(folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'<?xml version="1.0" encoding="foo"?><a/>', "unknown encoding: foo"),
        (b'<?xml version="1.0" encoding="utf-7"?><a/>', "multi-byte encodings are not supported"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "it has a DOCTYPE"),
        ("<!DOCTYPE a><a/>".encode("utf-16"), "it has a DOCTYPE"),
    ],
)
def test_openi_reports_that_no_one_should_read_are_refused(
    tmp_path: Path, lay: Lay, text: bytes, message: str
) -> None:
    folder = Path(lay("openi", tmp_path))
    (folder / "indiana_reports.csv").unlink()
    (folder / "1.xml").write_bytes(text)
    with pytest.raises(DataError, match=rf"1\.xml: no XML \({message}.*\); unpack Open-I's reports again"):
        openi.listing(str(folder))


def test_openi_needs_to_know_which_films_are_frontal(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("openi", tmp_path))
    (folder / "indiana_reports.csv").unlink()
    (folder / "indiana_projections.csv").unlink()
    (folder / "1.xml").write_text(XML.format(uid=1, term="normal", film="CXR1_1_IM-0001-4001"))
    with pytest.raises(
        DataError, match=r"no indiana_projections\.csv; put it there, because the reports do not"
    ):
        openi.listing(str(folder))


def test_brax_films_are_png_or_dicom_and_lateral_ones_passed_over(tmp_path: Path, lay: Lay) -> None:
    found = brax.listing(lay("brax", tmp_path))
    first, second = found.samples
    assert str(first.image).endswith("image-1.0.png") and str(second.image).endswith("image-1.1.dcm")
    assert (first.patient, first.sex, first.age, first.view) == ("brax:p1", "F", 45, "PA")
    assert (second.age, second.view) == (85, "AP")  # "85 or more"
    assert first.labels["Pneumonia"] == -1 and first.labels["No Finding"] == 0
    assert found.passed_over == {"view L": 1}
    assert found.missing == ("images/id_p3/Study_1.3/Series_1.3/image-1.3.png",)


def test_brax_with_a_path_that_names_no_patient_is_told(tmp_path: Path, lay: Lay) -> None:
    file = Path(lay("brax", tmp_path)) / "master_spreadsheet_update.csv"
    file.write_text(file.read_text().replace("/id_p2/", "/p2/"))
    with pytest.raises(DataError, match=r"master_spreadsheet_update\.csv, line 3: no path such as"):
        brax.listing(str(tmp_path))
