"""CheXpert and CheXpert Plus: paths, uncertain and unmentioned labels, views, and where films lie."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.data import open_data
from hilum.data.sources.chexpert import listing
from hilum.data.sources.fourteen import FOURTEEN
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


def batches(folder: Path) -> Path:
    """The layout of the fixture's films as Stanford's four archives unpack beside one another."""
    one, two, four = (
        folder.parent / f"CheXpert-v1.0 batch {name}"
        for name in ("1 (validate & csv)", "2 (train 1)", "4 (train 3)")
    )
    for place in (one, two, four):
        place.mkdir()
    for name in ("train.csv", "valid.csv"):
        text = (folder / name).read_text().replace(folder.name, "CheXpert-v1.0")
        (one / name).write_text(text)
        if name == "train.csv":
            (folder.parent / "train_visualCheXbert.csv").write_text(text)
    (folder / "valid").rename(one / "valid")
    (folder / "train" / "patient00001").rename(two / "patient00001")
    (folder / "train" / "patient00002").rename(four / "patient00002")
    shutil.rmtree(folder)
    return folder.parent


def test_full_size_films_are_found_in_the_batches_they_come_in(tmp_path: Path, lay: Lay) -> None:
    small = listing(lay("chexpert", tmp_path / "CheXpert-v1.0-small"))
    home = batches(tmp_path / "CheXpert-v1.0-small")
    first = home / "CheXpert-v1.0 batch 1 (validate & csv)"
    for given in (home, first):
        found = listing(str(given))
        assert [(one.id, one.labels) for one in found.samples] == [
            (one.id, pytest.approx(one.labels, nan_ok=True)) for one in small.samples
        ]
        assert found.missing == small.missing
        assert found.samples[0].image == (
            home / "CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg"
        )
        assert found.samples[-1].image == first / "valid/patient64541/study1/view1_frontal.jpg"
    for table in (home / "train_visualCheXbert.csv", first / "train.csv"):
        assert len(listing(str(table)).samples) == 3


def test_chexlocalize_names_its_films_as_chexpert_does(tmp_path: Path, relabel: Table) -> None:
    for name, path, part in (
        ("val_labels.csv", "CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg", "val"),
        ("test_labels.csv", "test/patient64741/study1/view1_frontal.jpg", "test"),
    ):
        relabel(tmp_path / name, ["Path", *FOURTEEN], [[path, *["0.0"] * 14]])
        film = tmp_path / part / path.split("/", path.count("/") - 2)[-1]
        film.parent.mkdir(parents=True)
        film.touch()
    found = listing(str(tmp_path))
    assert [(one.id, one.part) for one in found.samples] == [
        ("chexpert:valid/patient64541/study1/view1_frontal", "tune"),
        ("chexpert:test/patient64741/study1/view1_frontal", "test"),
    ]
    assert found.samples[0].image == tmp_path / "val/patient64541/study1/view1_frontal.jpg"
    assert found.missing == ()


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
    """CheXpert Plus: its csv, reports and all, and two files of labels, without films."""
    heading = ["path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id", "report"]
    path = "train/patient42142/study5/view1_frontal.jpg"
    other = "train/patient42142/study5/view2_lateral.jpg"
    table(
        folder / "df_chexpert_plus_240401.csv",
        [*heading, "age", "sex"],
        [
            [
                path,
                path.replace(".jpg", ".dcm"),
                "Frontal",
                "AP",
                "patient42142",
                'NARRATIVE:\nclear, "dry"',
                "81.0",
                "Female",
            ],
            [other, other.replace(".jpg", ".dcm"), "Lateral", "", "patient42142", "", "81.0", "Female"],
        ],
    )
    for name, edema in (("impression", -1.0), ("report", 1.0)):
        labels = {"path_to_image": path, "Edema": edema, "No Finding": None, "Fracture": 0.0}
        place = folder / "chexbert_labels" / f"{name}_fixed.json"
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps(labels) + "\n")
    return folder


FILM = "train/patient42142/study5/view1_frontal"


@pytest.mark.parametrize(
    "film",
    [
        f"PNG/{FILM}.png",
        f"PNG/PNG/{FILM}.png",
        f"png_chexpert_plus_chunk_3/PNG/{FILM}.png",
        f"PNG/png_chexpert_plus_chunk_3/PNG/{FILM}.png",
        f"DICOM/Uncompressed/{FILM}.dcm",
        f"DICOM/Compressed/{FILM}.dcm",
    ],
)
def test_chexpert_plus_films_are_found_where_its_archives_unpack(
    tmp_path: Path, relabel: Table, film: str
) -> None:
    folder = plus(tmp_path, relabel)
    for other in ("png_chexpert_plus_chunk_0/PNG", "DICOM/Uncompressed"):
        (folder / other / "train" / "patient00001").mkdir(parents=True)
    assert listing(str(folder)).missing == (f"{FILM}.jpg",)
    (folder / film).parent.mkdir(parents=True)
    (folder / film).touch()
    (sample,) = listing(str(folder)).samples
    assert sample.image == folder / film


def test_chexpert_plus_has_csv_films_and_labels_of_its_own(tmp_path: Path, relabel: Table) -> None:
    folder = plus(tmp_path, relabel)
    film = folder / "PNG" / f"{FILM}.png"
    film.parent.mkdir(parents=True)
    film.touch()
    (sample,) = listing(str(folder)).samples
    assert listing(str(folder)).published == {"films listed": 223_462, "patients listed": 64_725}
    assert sample.id == "chexpert:train/patient42142/study5/view1_frontal"  # as CheXpert's own
    assert (sample.patient, sample.sex, sample.age, sample.view) == ("chexpert:patient42142", "F", 81, "AP")
    assert (sample.labels["Edema"], sample.labels["No Finding"]) == (UNCERTAIN, CONCLUDED)
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
