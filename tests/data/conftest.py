"""Tiny data sets in the layout of each public data set; the films are noise."""

from __future__ import annotations

import csv
import gzip
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from hilum.data import phantom, shard_writer
from hilum.data.phantom import write
from hilum.types import Array

Lay = Callable[[str, Path], str]

FOURTEEN = [
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other",
    "Fracture", "Support Devices",
]  # fmt: skip
VINDR = ["Atelectasis", "Cardiomegaly", "ILD", "Pleural effusion", "Other diseases", "No finding"]


def noise(side: int = 32) -> Array:
    return np.random.default_rng(side).integers(0, 256, (side, side), dtype=np.uint8)


def picture(path: Path, image: Array | None = None) -> Path:
    """Write a film or a given image in the format that the file name states."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, noise() if image is None else image)[1].tobytes())
    return path


def dicom(path: Path, side: int = 32, **header: str) -> Path:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID = generate_uid()
    found.Rows = found.Columns = side
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated = found.BitsStored = 8
    found.HighBit, found.PixelRepresentation = 7, 0
    found.Modality = "DX"
    found.PixelData = noise(side).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some data sets have ages that are invalid in DICOM
        for name, value in header.items():
            setattr(found, name, value)
        found.save_as(path, enforce_file_format=True)
    return path


def table(path: Path, heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """Write a csv, gzipped if its name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([heading, *rows])
    return path


def fourteen(**said: float) -> list[str]:
    """The cells of the fourteen observations, blank if not given; in names, _ stands for a space."""
    return [str(said.get(name.replace(" ", "_"), "")) for name in FOURTEEN]


def nih(folder: Path) -> str:
    heading = [
        "Image Index",
        "Finding Labels",
        "Patient ID",
        "Patient Age",
        "Patient Gender",
        "View Position",
    ]
    rows = [["1_000.png", "Edema|Effusion", 1, 50, "F", "PA"], ["2_000.png", "No Finding", 2, 60, "M", "AP"]]
    table(folder / "Data_Entry_2017_v2020.csv", heading, [*rows, ["3_000.png", "Mass", 3, 70, "M", "AP"]])
    for row in rows:
        picture(folder / "images" / str(row[0]))
    (folder / "train_val_list.txt").write_text("1_000.png\n")
    (folder / "test_list.txt").write_text("2_000.png\n3_000.png\n")
    return str(folder)


def chexpert(folder: Path) -> str:
    heading = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FOURTEEN]
    top, one, two = folder.name, "train/patient00001/study1", "train/patient00002/study1"
    rows = [
        [
            f"{top}/{one}/view1_frontal.jpg",
            "Female",
            68,
            "Frontal",
            "AP",
            *fourteen(Edema=-1.0, Fracture=1.0),
        ],
        [f"{top}/{one}/view2_lateral.jpg", "Female", 68, "Lateral", "", *fourteen(Edema=-1.0)],
        [f"{top}/{two}/view1_frontal.jpg", "Male", 0, "Frontal", "PA", *fourteen(No_Finding=1.0)],
        [f"{top}/{two}/view2_frontal.jpg", "Male", 0, "Frontal", "PA", *fourteen(Cardiomegaly=-1.0)],
        [f"{top}/train/patient00003/study9/view1_frontal.jpg", "Male", 20, "Frontal", "PA", *fourteen()],
    ]
    table(folder / "train.csv", heading, rows)
    for row in rows[:4]:
        picture(folder / str(row[0]).removeprefix(f"{top}/"))
    test = folder / "valid" / "patient64541" / "study1" / "view1_frontal.jpg"
    table(
        folder / "valid.csv",
        heading,
        [[f"{top}/valid/patient64541/study1/view1_frontal.jpg", "Male", 73, "Frontal", "AP", *["0.0"] * 14]],
    )
    picture(test)
    return str(folder)


def mimic(folder: Path) -> str:
    films = [("aa-1", "10000032", "50414267", "PA"), ("aa-2", "10000032", "50414267", "LATERAL")]
    films += [("bb-1", "10000764", "57375967", "AP"), ("cc-1", "10000764", "57375968", "")]
    films += [("dd-1", "10000764", "57375969", "AP"), ("ee-1", "10000764", "57375967", "AP")]
    labels = [
        ["10000032", "50414267", *fourteen(No_Finding=1.0)],
        ["10000764", "57375967", *fourteen(Pleural_Effusion=1.0, Atelectasis=-1.0, Edema=0.0)],
    ]
    for labeler in ("chexpert", "negbio"):
        table(folder / f"mimic-cxr-2.0.0-{labeler}.csv.gz", ["subject_id", "study_id", *FOURTEEN], labels)
    table(
        folder / "mimic-cxr-2.0.0-metadata.csv.gz",
        ["dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "StudyDate"],
        [[*film, 32, 21800506] for film in films],
    )
    table(
        folder / "mimic-cxr-2.0.0-split.csv.gz",
        ["dicom_id", "study_id", "subject_id", "split"],
        [[film, study, who, "test" if who == "10000764" else "train"] for film, who, study, _ in films],
    )
    for film, who, study, _ in films[:3]:
        picture(folder / "files" / f"p{who[:2]}" / f"p{who}" / f"s{study}" / f"{film}.jpg")
    heading = ["subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"]
    people = [["10000032", "F", 52, 2178, "2014 - 2016", "2180-09-09"], ["10000764", "M", 91, 2175, "", ""]]
    table(folder / "patients.csv.gz", heading, people)
    return str(folder)


def padchest(folder: Path) -> str:
    heading = ["", "ImageID", "ImageDir", "StudyDate_DICOM", "PatientID", "PatientBirth", "PatientSex_DICOM"]
    heading += ["Projection", "Pediatric", "PhotometricInterpretation_DICOM", "Report", "Labels", "StudyID"]
    broken = "216840111366964012819207061112010307142602253_04-014-084.png"
    films = [
        ("a.png", "1", "F", "PA", "['pulmonary edema', 'laminar atelectasis', 'loc right']"),
        ("b.png", "2", "M", "AP_horizontal", "['normal']"),
        ("c.png", "2", "M", "L", "['normal']"),
        ("d.png", "3", "M", "PA", "['unchanged']"),
        ("e.png", "3", "M", "PA", "['exclude']"),
        ("f.png", "3", "M", "PA", ""),
        (broken, "4", "M", "PA", "['normal']"),
        ("g.png", "5", "M", "PA", "['hydropneumothorax', 'pacemaker']"),
        ("h.png", "6", "F", "PA", "['normal']"),
    ]
    rows = [
        [
            i,
            film,
            "0",
            "20140915",
            who,
            "1930.0",
            sex,
            projection,
            "PED" if who == "2" else "No",
            "MONOCHROME1" if film in ("a.png", "c.png", "h.png") else "MONOCHROME2",
            "sin hallazgos , signific .",
            labels,
            f"S{who}",
        ]
        for i, (film, who, sex, projection, labels) in enumerate(films)
    ]
    table(folder / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", heading, rows)
    for film, *_ in films[:-1]:
        picture(folder / "0" / film)
    return str(folder)


def vindr(folder: Path) -> str:
    votes = {"R1": [1, 1, 0, 1, 0, 0], "R2": [0, 1, 0, 1, 0, 0], "R3": [0, 0, 1, 1, 0, 0]}
    rows = [["film1", reader, *said] for reader, said in votes.items()]
    rows += [["film2", reader, 0, 0, 0, 0, 0, 1] for reader in votes] + [["film9", "R1", 0, 0, 0, 0, 0, 1]]
    place = folder / "annotations"
    table(place / "image_labels_train.csv", ["image_id", "rad_id", *VINDR], rows)
    test = [name.removesuffix("s") if name == "Other diseases" else name for name in VINDR]
    table(place / "image_labels_test.csv", ["image_id", *test], [["film3", 0, 1, 0, 0, 1, 0]])
    heading = ["image_id", "rad_id", "class_name", "x_min", "y_min", "x_max", "y_max"]
    boxes = [["film1", "R1", "Cardiomegaly", 8, 16, 24, 32], ["film1", "R2", "Cardiomegaly", 8, 16, 16, 24]]
    boxes += [["film1", "R1", "Atelectasis", 0, 0, 8, 8], ["film2", "R1", "No finding", "", "", "", ""]]
    table(place / "annotations_train.csv", heading, boxes)
    for name in ("train/film1", "train/film2", "test/film3"):
        dicom(folder / f"{name}.dicom", PatientSex="F", PatientAge="061Y")
    return str(folder)


def rsna(folder: Path) -> str:
    heading = ["patientId", "x", "y", "width", "height", "Target"]
    rows = [["a", 256, 512, 128, 64, 1], ["a", 0, 0, 512, 512, 1], ["b", "", "", "", "", 0]]
    rows += [["c", "", "", "", "", 0], ["d", "", "", "", "", 0]]
    table(folder / "stage_2_train_labels.csv", heading, rows)
    classes = {"a": "Lung Opacity", "b": "Normal", "c": "No Lung Opacity / Not Normal", "d": "Normal"}
    twice = [[name, classes[name]] for name in ("a", "a", "b", "c", "d")]
    table(folder / "stage_2_detailed_class_info.csv", ["patientId", "class"], twice)
    for name, view in (("a", "AP"), ("b", "PA"), ("c", "PA")):
        dicom(
            folder / "stage_2_train_images" / f"{name}.dcm",
            ViewPosition=view,
            PatientSex="M",
            PatientAge="51",
        )
    mapping = [{"subset_img_id": "a", "img_id": "00000007_001.png", "orig_labels": ["Mass"]}]
    (folder / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(mapping))
    return str(folder)


def openi(folder: Path) -> str:
    films = [(1, "1_IM-0001-4001.dcm.png", "Frontal"), (1, "1_IM-0001-3001.dcm.png", "Lateral")]
    films += [(2, "2_IM-0652-1001.dcm.png", "Frontal"), (3, "3_IM-1384-1001.dcm.png", "Frontal")]
    table(folder / "indiana_projections.csv", ["uid", "filename", "projection"], films)
    reports = [
        [1, "Cardiomegaly/mild;Pulmonary Atelectasis/base/left;Opacity/lung", "Cardiomegaly", "clear\nlungs"],
        [2, "normal", "normal", ""],
        [3, "No Indexing", "No Indexing", ""],
    ]
    table(folder / "indiana_reports.csv", ["uid", "MeSH", "Problems", "findings"], reports)
    for _, name, _ in films:
        picture(folder / "images" / "images_normalized" / name)
    return str(folder)


def brax(folder: Path) -> str:
    heading = ["DicomPath", "PngPath", "PatientID", "PatientSex", "PatientAge", "ViewPosition", *FOURTEEN]
    films = [
        ("1", "F", "45", "PA"),
        ("2", "M", "85 or more", "AP"),
        ("1", "F", "45", "L"),
        ("3", "M", "5", "PA"),
    ]
    rows = []
    for i, (who, sex, age, view) in enumerate(films):
        place = f"id_p{who}/Study_1.{i}/Series_1.{i}/image-1.{i}"
        paths = [f"Anonymized_DICOMs/{place}.dcm", f"images/{place}.png"]
        rows.append([*paths, f"p{who}", sex, age, view, *fourteen(Edema=1.0, Pneumonia=-1.0)])
    table(folder / "master_spreadsheet_update.csv", heading, rows)
    picture(folder / str(rows[0][1]))
    dicom(folder / str(rows[1][0]))
    return str(folder)


def lungs(side: int = 32) -> tuple[Array, Array, Array]:
    """Right lung, left lung and heart as 0 and 255; the right lung is on the left of the picture."""
    found = np.zeros((3, side, side), np.uint8)
    for shape, columns in zip(found, ((4, 12), (20, 28), (13, 19)), strict=True):
        shape[8:24, slice(*columns)] = 255
    return found[0], found[1], found[2]


def jsrt(folder: Path) -> str:
    raw = np.full((2048, 2048), 4095, ">u2")  # air is bright
    raw[512:1536, 512:1536] = np.arange(1024)
    for name in ("JPCLN001", "JPCNN002"):
        (folder / "All247images").mkdir(parents=True, exist_ok=True)
        (folder / "All247images" / f"{name}.IMG").write_bytes(raw.tobytes())
    for name, shape in zip(("right lung", "left lung", "heart"), lungs(), strict=True):
        place = folder / "scratch" / "fold1" / "masks" / name
        place.mkdir(parents=True)
        Image.fromarray(shape).save(place / "JPCLN001.gif")
    place = folder / "Clinical_Information"
    place.mkdir()
    line = ["JPCLN001.IMG", "5", "14", "53", "Female", "1634", "692", "malignant", "l.upper", "lung cancer"]
    (place / "CLNDAT_EN.txt").write_bytes(("\t".join(line) + "\r").encode())
    (place / "CNNDAT_EN.TXT").write_bytes(
        b"JPCNN001.IMG 32  Female      non-nodule\rJPCNN002.IMG ?  Male      non-nodule\r"
    )
    return str(folder)


def montgomery(folder: Path) -> str:
    for stem, text in (
        ("MCUCXR_0001_0", "Patient's Sex: F \nPatient's Age: 027Y\nnormal\n"),
        ("MCUCXR_0104_1", "Patient's Sex: M\nPatient's Age: 040Y\ncavity in the right upper lobe\n"),
    ):
        picture(folder / "CXR_png" / f"{stem}.png")
        right, left, _ = lungs()
        picture(folder / "ManualMask" / "leftMask" / f"{stem}.png", left)
        picture(folder / "ManualMask" / "rightMask" / f"{stem}.png", right)
        reading(folder, stem, text)
    return str(folder)


def reading(folder: Path, stem: str, text: str) -> None:
    (folder / "ClinicalReadings").mkdir(exist_ok=True)
    (folder / "ClinicalReadings" / f"{stem}.txt").write_text(text)


def shenzhen(folder: Path) -> str:
    right, left, _ = lungs()
    for stem, text in (
        ("CHNCXR_0001_0", "male 45yrs\nnormal\n"),
        ("CHNCXR_0327_1", "Femal 16month\nright upper tuberculosis\n"),
        ("CHNCXR_0400_1", ""),
    ):
        picture(folder / "CXR_png" / f"{stem}.png")
        reading(folder, stem, text)
    for stem in ("CHNCXR_0001_0", "CHNCXR_0327_1"):
        picture(folder / "mask" / f"{stem}_mask.png", right | left)
    return str(folder)


def lungmasks(folder: Path) -> str:
    place, (right, left, _) = folder / "Lung Segmentation", lungs()
    for stem in ("CHNCXR_0001_0", "CHNCXR_0400_1", "MCUCXR_0001_0"):
        picture(place / "CXR_png" / f"{stem}.png")
        reading(place, stem, "male 45yrs\nnormal\n")
    picture(place / "masks" / "CHNCXR_0001_0_mask.png", right | left)
    picture(place / "masks" / "MCUCXR_0001_0.png", right | left)
    picture(place / "test" / "CHNCXR_0400_1.png")
    return str(folder)


def square(left: int, right: int) -> list[dict[str, float]]:
    return [{"x": x, "y": y} for x, y in ((left, 8), (right, 8), (right, 24), (left, 24))]


def darwin(folder: Path) -> str:
    lung = [{"name": "Lung", "polygon": {"path": square(*sides)}} for sides in ((4, 12), (20, 28))]
    old = {
        "image": {"width": 32, "height": 32, "filename": "1.png"},
        "annotations": [*lung, {"name": "Viral Pneumonia", "tag": {}}, {"name": "COVID-19", "tag": {}}],
    }
    new = {
        "version": "2.0",
        "item": {"name": "2.jpg", "slots": [{"slot_name": "0", "width": 32, "height": 32}]},
        "annotations": [
            {"name": "Lung", "polygon": {"paths": [square(4, 12), square(20, 28)]}},
            {"name": "No Pneumonia (healthy)", "tag": {}},
        ],
    }
    lateral = {"image": {"width": 32, "height": 32, "filename": "3.png"}, "annotations": []}
    place = folder / "releases" / "latest" / "annotations"
    place.mkdir(parents=True)
    for name, note in (("1", old), ("2", new), ("3", lateral)):
        (place / f"{name}.json").write_text(json.dumps(note))
    for name in ("1.png", "2.jpg", "3.png"):
        picture(folder / "images" / name)
    return str(folder)


def covidqu(folder: Path) -> str:
    right, left, _ = lungs()
    for part, name in (("Train", "COVID-19"), ("Val", "Non-COVID"), ("Test", "Normal")):
        place = folder / "Lung Segmentation Data" / "Lung Segmentation Data" / part / name
        picture(place / "images" / "film (1).png")
        picture(place / "lung masks" / "film (1).png", right | left)
    return str(folder)


def studies(folder: Path) -> str:
    about = {"PatientID": "MRN-42", "PatientSex": "F", "PatientAge": "061Y", "StudyInstanceUID": "1.2.3"}
    dicom(folder / "one" / "a.dcm", ViewPosition="PA", **about)
    dicom(folder / "one" / "b", ViewPosition="LL", **about)
    dicom(folder / "two" / "c.dcm", ViewPosition="AP", StudyInstanceUID="1.2.4")
    dicom(folder / "two" / "d.dcm", ViewPosition="AP", Modality="CT")
    (folder / "notes.txt").write_text("not a film")
    return str(folder)


def masks(folder: Path) -> str:
    write(folder, count=3, seed=0)
    return str(folder)


def classes(folder: Path) -> str:
    picture(folder / "edema" / "a.png")
    picture(folder / "normal" / "b.png")
    return str(folder)


def tars(folder: Path) -> str:
    shard_writer.write(phantom.samples("5@5"), folder, films=2, size=64)
    return str(folder)


def labels(folder: Path) -> str:
    write(folder, count=3, seed=0)
    return str(folder / "labels.csv")


def pictures(_: Path) -> str:
    pytest.importorskip("skimage", reason="no pictures to open: pip install scikit-image")
    return "60"


LAYOUTS: dict[str, Callable[[Path], str]] = {
    "nih": nih, "chexpert": chexpert, "mimic": mimic, "padchest": padchest, "vindr": vindr, "rsna": rsna,
    "openi": openi, "brax": brax, "jsrt": jsrt, "montgomery": montgomery, "shenzhen": shenzhen,
    "lungmasks": lungmasks, "darwin": darwin, "covidqu": covidqu, "dicom": studies, "masks": masks,
    "folder": classes, "csv": labels, "shards": tars, "phantom": lambda _: "3@5", "pictures": pictures,
    "gate": lambda _: "phantom:2@5",
}  # fmt: skip


@pytest.fixture
def lay() -> Lay:
    """Writes a data set of a kind into a folder and returns the path to open."""
    return lambda kind, folder: LAYOUTS[kind](folder)


@pytest.fixture
def relabel() -> Callable[..., Path]:
    """Writes a table."""
    return table
