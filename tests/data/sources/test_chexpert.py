"""CheXpert and CheXpert Plus: paths, uncertain and unmentioned labels, views, and where films lie."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.data import open_data
from hilum.data.sources.chexpert import listing
from hilum.errors import DataError
from hilum.labels import CONCLUDED, UNCERTAIN, Policy

Lay = Callable[[str, Path], str]
Table = Callable[..., Path]


@pytest.mark.parametrize("release", ["CheXpert-v1.0", "CheXpert-v1.0-small", "moved elsewhere"])
def test_frontal_films_are_found_below_either_release(tmp_path: Path, lay: Lay, release: str) -> None:
    found = listing(lay("chexpert", tmp_path / "CheXpert-v1.0-small"))
    if release != "CheXpert-v1.0-small":
        (tmp_path / "CheXpert-v1.0-small").rename(tmp_path / release)
        found = listing(str(tmp_path / release))
    assert [sample.id for sample in found.samples] == [
        "chexpert:train/patient00001/study1/view1_frontal",
        "chexpert:train/patient00002/study1/view1_frontal",
        "chexpert:train/patient00002/study1/view2_frontal",
        "chexpert:valid/patient64541/study1/view1_frontal",
    ]
    assert found.passed_over == {"lateral": 1}
    assert found.missing == ("train/patient00003/study9/view1_frontal.jpg",)


def test_who_and_how_is_told_and_an_age_of_zero_is_unknown(tmp_path: Path, lay: Lay) -> None:
    first, second, third, valid = listing(lay("chexpert", tmp_path / "CheXpert-v1.0-small")).samples
    assert (first.patient, first.sex, first.age, first.view) == ("chexpert:patient00001", "F", 68, "AP")
    assert (second.sex, second.age, second.view) == ("M", None, "PA")
    assert second.patient == third.patient
    assert [one.part for one in (first, valid)] == ["train", "tune"]


def test_uncertain_stays_apart_from_unmentioned(tmp_path: Path, lay: Lay) -> None:
    first, second, third, valid = listing(lay("chexpert", tmp_path / "CheXpert-v1.0-small")).samples
    assert first.labels["Edema"] == UNCERTAIN
    assert math.isnan(first.labels["Cardiomegaly"])
    assert first.labels["No Finding"] == 0  # a fracture is present
    assert third.labels["No Finding"] == CONCLUDED  # an enlarged heart may be
    assert all(second.labels[name] == 0 for name in ("Edema", "Atelectasis", "Pleural Effusion"))
    assert second.labels["No Finding"] == 1 and math.isnan(second.labels["Support Devices"])
    assert set(valid.labels.values()) == {0}


def test_policies_settle_them(tmp_path: Path, lay: Lay) -> None:
    name = f"chexpert:{lay('chexpert', tmp_path / 'CheXpert-v1.0-small')}"
    assert math.isnan(open_data(name)[0].labels["Edema"])
    ones = open_data(name, uncertain={"Edema": "one", "others": "zero"}, unmentioned="zero")
    assert ones[0].labels["Edema"] == 1 and ones[2].labels["Cardiomegaly"] == 0
    assert all(value in (0, 1) for sample in ones for value in sample.labels.values())


@pytest.mark.parametrize("policy", ["zero", "one", 0.7, (0.55, 0.85)])
def test_no_finding_agrees_with_the_findings_under_every_policy(
    tmp_path: Path, lay: Lay, policy: Policy
) -> None:
    name = f"chexpert:{lay('chexpert', tmp_path / 'CheXpert-v1.0-small')}"
    labels = open_data(name, uncertain=policy, unmentioned="zero")[2].labels
    assert labels["No Finding"] == pytest.approx(1 - labels["Cardiomegaly"])


def test_one_table_is_read_alone(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("chexpert", tmp_path / "CheXpert-v1.0"))
    (folder / "train.csv").rename(folder / "train_visualCheXbert.csv")
    assert len(listing(str(folder)).samples) == 1  # valid.csv
    assert len(listing(str(folder / "train_visualCheXbert.csv")).samples) == 3


def plus(folder: Path, table: Table) -> Path:
    """CheXpert Plus: its csv, reports and all, PNG films, and two files of labels."""
    heading = ["path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id", "report"]
    path = "train/patient42142/study5/view1_frontal.jpg"
    other = "train/patient42142/study5/view2_lateral.jpg"
    table(
        folder / "df_chexpert_plus_240401.csv",
        [*heading, "age", "sex"],
        [
            [path, "x.dcm", "Frontal", "AP", "patient42142", 'NARRATIVE:\nclear, "dry"', "81.0", "Female"],
            [other, "y.dcm", "Lateral", "", "patient42142", "", "81.0", "Female"],
        ],
    )
    for name, edema in (("impression", -1.0), ("report", 1.0)):
        labels = {"path_to_image": path, "Edema": edema, "No Finding": None, "Fracture": 0.0}
        place = folder / "chexbert_labels" / f"{name}_fixed.json"
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps(labels) + "\n")
    film = folder / "PNG" / "PNG" / path.replace(".jpg", ".png")
    film.parent.mkdir(parents=True)
    film.touch()
    return folder


def test_chexpert_plus_has_csv_films_and_labels_of_its_own(tmp_path: Path, relabel: Table) -> None:
    folder = plus(tmp_path, relabel)
    (sample,) = listing(str(folder)).samples
    assert sample.id == "chexpert:train/patient42142/study5/view1_frontal"  # as CheXpert's own
    assert (sample.patient, sample.sex, sample.age, sample.view) == ("chexpert:patient42142", "F", 81, "AP")
    assert (sample.labels["Edema"], sample.labels["No Finding"]) == (UNCERTAIN, CONCLUDED)
    assert sample.image == folder / "PNG/PNG/train/patient42142/study5/view1_frontal.png"
    (other,) = listing(str(folder / "chexbert_labels" / "report_fixed.json")).samples
    assert other.labels["Edema"] == 1 and other.labels["No Finding"] == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda text: text.replace(",-1.0", ",maybe"),
            r"train\.csv, line 2, column 'Edema': 'maybe'; labels",
        ),
        (lambda text: text.replace("study1/view2_frontal", "film"), r"train\.csv, line 5: .* is no path"),
        (lambda text: text.replace("Path,", "File,"), r"train\.csv: no column 'Path'; give CheXpert's own"),
        (
            lambda text: text.replace("Edema,", "Oedema?,"),
            r"train\.csv: no column 'Edema'; give the makers' own",
        ),
        (lambda text: text[:-40], r"train\.csv, line 6: not 19 cells as the heading has but \d+; download"),
    ],
)
def test_a_damaged_table_is_named_with_its_row(
    tmp_path: Path, lay: Lay, damage: Callable[[str], str], message: str
) -> None:
    folder = Path(lay("chexpert", tmp_path / "CheXpert-v1.0-small"))
    file = folder / "train.csv"
    file.write_text(damage(file.read_text()))
    with pytest.raises(DataError, match=message):
        listing(str(folder))


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no train\.csv, valid\.csv or test\.csv; give the folder"):
        listing(str(tmp_path))


@pytest.mark.parametrize("text", ["[1]", '"film"', '{"path_to_image": 3}', "[" * 200_000, "{"])
def test_a_damaged_file_of_labels_is_named_with_its_line(tmp_path: Path, relabel: Table, text: str) -> None:
    file = plus(tmp_path, relabel) / "chexbert_labels" / "impression_fixed.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"impression_fixed\.json, line 1: no JSON object with a path"):
        listing(str(file))
    with pytest.raises(DataError, match=r"nothing\.json: no such file; check the path"):
        listing(str(file.with_name("nothing.json")))
