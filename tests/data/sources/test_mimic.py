"""MIMIC-CXR-JPG: sharded folders, gzipped tables, labels of a study, the official split."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.data.sources.mimic import listing
from hilum.errors import DataError
from hilum.labels import UNCERTAIN

Lay = Callable[[str, Path], str]
Table = Callable[..., Path]
LABELS = "mimic-cxr-2.0.0-chexpert.csv.gz"


def test_films_of_the_shards_get_their_studys_labels(tmp_path: Path, lay: Lay) -> None:
    found = listing(lay("mimic", tmp_path))
    first, second = found.samples
    assert first.image == tmp_path / "files/p10/p10000032/s50414267/aa-1.jpg"
    assert [sample.id for sample in found.samples] == ["mimic:aa-1", "mimic:bb-1"]
    assert (first.patient, first.view, first.sex, first.part) == ("mimic:10000032", "PA", "F", "train")
    assert first.age == 54  # 52 two years before
    # Over 89: MIMIC-IV gives one age to all of these patients.
    assert (second.view, second.sex, second.age, second.part) == ("AP", "M", None, "test")
    assert first.labels["No Finding"] == 1 and first.labels["Edema"] == 0
    assert (second.labels["Pleural Effusion"], second.labels["No Finding"]) == (1, 0)
    assert second.labels["Atelectasis"] == UNCERTAIN and math.isnan(second.labels["Cardiomegaly"])


def test_what_is_of_no_use_is_counted_by_reason(tmp_path: Path, lay: Lay) -> None:
    found = listing(lay("mimic", tmp_path))
    assert found.passed_over == {"view LATERAL": 1, "view unknown": 1, "its study has no labels": 1}
    assert found.missing == ("files/p10/p10000764/s57375967/ee-1.jpg",)


def test_the_other_labeler_is_read_by_its_tables_name(tmp_path: Path, lay: Lay, relabel: Table) -> None:
    folder = Path(lay("mimic", tmp_path))
    negbio = folder / "mimic-cxr-2.0.0-negbio.csv"
    six = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion", "No Finding"]
    relabel(negbio, ["subject_id", "study_id", *six], [["10000032", "50414267", "", "", "", "1.0", "", ""]])
    (sample,) = listing(str(negbio)).samples
    assert sample.labels["Edema"] == 1 and sample.labels["No Finding"] == 0


def test_a_table_need_not_be_gzipped_and_the_split_need_not_be_there(
    tmp_path: Path, lay: Lay, relabel: Table
) -> None:
    folder = Path(lay("mimic", tmp_path))
    (folder / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    (folder / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    heading = ["dicom_id", "subject_id", "study_id", "ViewPosition"]
    relabel(folder / "mimic-cxr-2.0.0-metadata.csv", heading, [["aa-1", "10000032", "50414267", "PA"]])
    (sample,) = listing(str(folder)).samples
    assert (sample.part, sample.sex, sample.age) == (None, "F", None)  # without the date of its study


def test_a_truncated_archive_is_told(tmp_path: Path, lay: Lay) -> None:
    file = Path(lay("mimic", tmp_path)) / LABELS
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"{LABELS}: truncated or damaged \(EOFError\); download"):
        listing(str(tmp_path))


def test_a_wrong_table_is_told(tmp_path: Path, lay: Lay, relabel: Table) -> None:
    folder = Path(lay("mimic", tmp_path))
    relabel(folder / LABELS, ["subject_id", "study_id", "Edema"], [["1", "2", "1.0"]])
    with pytest.raises(DataError, match="no column 'Atelectasis'; give the makers' own table unchanged"):
        listing(str(folder))
    lay("mimic", tmp_path / "again")
    split = tmp_path / "again" / "mimic-cxr-2.0.0-split.csv.gz"
    relabel(split, ["dicom_id", "split"], [["aa-1", "somewhere"]])
    with pytest.raises(DataError, match="line 2: part 'somewhere', not train, validate or test"):
        listing(str(tmp_path / "again"))
