"""A folder of DICOM studies: frontal films, and patients without identifiers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from hilum.data.sources import header
from hilum.data.sources.dicom import listing
from hilum.data.study_header import study_header
from hilum.errors import DataError
from hilum.gate import RADIOGRAPHS
from hilum.reading.dicom_header import header_of
from hilum.reading.reader import read

Lay = Callable[[str, Path], str]


def test_frontal_films_come_with_what_their_headers_say(tmp_path: Path, lay: Lay) -> None:
    found = listing(lay("dicom", tmp_path / "ward"))
    first, second = found.samples
    assert (first.id, first.view, first.sex, first.age) == ("ward:one/a.dcm", "PA", "F", 61)
    assert (second.view, second.sex, second.age, second.patient) == ("AP", None, None, "ward:two/c.dcm")
    assert found.passed_over == {"no DICOM file": 1, "view LL": 1, "modality CT": 1}
    assert not first.labels


@pytest.mark.parametrize("modality", sorted(RADIOGRAPHS))
def test_films_of_every_modality_that_import_takes_unflagged_are_read(
    tmp_path: Path, lay: Lay, modality: str
) -> None:
    folder = Path(lay("dicom", tmp_path / "ward"))
    film = dcmread(folder / "one" / "a.dcm")
    film.Modality = modality
    film.save_as(folder / "one" / "a.dcm")
    assert listing(str(folder)).samples[0].id == "ward:one/a.dcm"
    with (folder / "one" / "a.dcm").open("rb") as file:
        said = study_header(file)
    assert said is not None and not said.left_out and not said.flagged


@pytest.mark.parametrize(
    ("stated", "view"),
    [("AP ERECT", "AP"), ("PA UPRIGHT", "PA"), ("ANTERO-POSTERIOR", "AP"), ("pa", "PA"), ("DOE JANE", None)],
)
def test_a_view_is_read_as_read_and_import_read_it(
    tmp_path: Path, lay: Lay, stated: str, view: str | None
) -> None:
    folder = Path(lay("dicom", tmp_path / "ward"))
    path = folder / "one" / "a.dcm"
    film = dcmread(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # headers hold what DICOM does not know
        film.ViewPosition, film.PatientAge = stated, "061y"
        film.save_as(path)
    found = listing(str(folder))
    views = {sample.id: (sample.view, sample.age) for sample in found.samples}
    assert views.get("ward:one/a.dcm") == ((view, 61) if view else None)
    assert "DOE" not in repr(found)
    with path.open("rb") as file:
        said = study_header(file)
    assert said is not None and (said.view or None) == view == read(path).view


def test_a_file_that_its_disk_does_not_give_is_no_file_of_another_kind(
    tmp_path: Path, lay: Lay, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(lay("dicom", tmp_path / "ward"))
    tries: list[Path] = []

    def failing(path: Path, tags: Sequence[str]) -> object:
        if path.name != "a.dcm":
            return header_of(path, tags)
        tries.append(path)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(header, "header_of", failing)
    with pytest.raises(DataError, match=r"a\.dcm: Input/output error; let this user read it"):
        listing(str(folder))
    assert len(tries) == 3


def test_a_patient_is_one_in_every_film_and_not_named(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("dicom", tmp_path / "ward"))
    (folder / "three.dcm").write_bytes((folder / "one" / "a.dcm").read_bytes())
    first, *_, third = sorted(listing(str(folder)).samples, key=lambda sample: sample.id)
    same = [sample for sample in listing(str(folder)).samples if sample.patient == first.patient]
    assert len(same) == 2 and third.patient != first.patient
    assert "MRN" not in repr(listing(str(folder)))


def test_a_study_in_two_folders_is_one_study_of_one_patient(tmp_path: Path, lay: Lay) -> None:
    first, second = (listing(lay("dicom", tmp_path / name)).samples for name in ("ward", "archive"))
    assert (first[0].study, first[0].patient) == (second[0].study, second[0].patient)
    assert first[1].study == second[1].study and first[1].study != first[0].study
    assert first[1].patient != second[1].patient  # no PatientID: nothing says so


def test_a_file_of_several_frames_is_passed_over(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("dicom", tmp_path / "ward"))
    for name, frames in (("one", 1), ("many", 3)):
        film = dcmread(folder / "one" / "a.dcm")
        film.NumberOfFrames, film.PixelData = frames, film.PixelData * frames
        film.save_as(folder / f"{name}.dcm")
    found = listing(str(folder))
    assert found.passed_over["several frames"] == 1
    assert {sample.id for sample in found.samples} == {"ward:one/a.dcm", "ward:two/c.dcm", "ward:one.dcm"}


def test_a_damaged_deflated_file_does_not_end_the_listing(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("dicom", tmp_path / "ward"))
    film = dcmread(folder / "one" / "a.dcm")
    film.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    film.save_as(folder / "deflated.dcm")
    whole = (folder / "deflated.dcm").read_bytes()
    assert len(listing(str(folder)).samples) == 3
    start = 132 + 12 + film.file_meta.FileMetaInformationGroupLength
    (folder / "deflated.dcm").write_bytes(whole[:start] + b"\xff" * (len(whole) - start))
    found = listing(str(folder))
    assert len(found.samples) == 2 and found.passed_over["no DICOM file"] == 2


def test_a_folder_without_frontal_films_says_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a film")
    with pytest.raises(
        DataError, match=r"no frontal film among 1 files \(no DICOM file: 1\); check the path"
    ):
        listing(str(tmp_path))


def test_a_film_without_preamble_is_one_and_a_damaged_one_is_none(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("dicom", tmp_path / "ward"))
    file = folder / "one" / "a.dcm"
    file.write_bytes(file.read_bytes()[132:])
    first, _ = listing(str(folder)).samples
    assert (first.view, first.age) == ("PA", 61)
    file.write_bytes(b"\x08\x00" + b"nothing of the kind")
    found = listing(str(folder))
    assert len(found.samples) == 1 and sum(found.passed_over.values()) == 4
