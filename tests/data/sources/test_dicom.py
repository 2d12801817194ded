"""A folder of DICOM studies: frontal films, and patients whom no identifier names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.data.sources.dicom import listing
from hilum.errors import DataError

Lay = Callable[[str, Path], str]


def test_frontal_films_come_with_what_their_headers_say(tmp_path: Path, lay: Lay) -> None:
    found = listing(lay("dicom", tmp_path / "ward"))
    first, second = found.samples
    assert (first.id, first.view, first.sex, first.age) == ("ward:one/a.dcm", "PA", "F", 61)
    assert (second.view, second.sex, second.age, second.patient) == ("AP", None, None, "ward:two/c.dcm")
    assert found.passed_over == {"no DICOM file": 1, "view LL": 1, "modality CT": 1}
    assert not first.labels


def test_a_patient_is_one_in_every_film_and_not_named(tmp_path: Path, lay: Lay) -> None:
    folder = Path(lay("dicom", tmp_path / "ward"))
    (folder / "three.dcm").write_bytes((folder / "one" / "a.dcm").read_bytes())
    first, *_, third = sorted(listing(str(folder)).samples, key=lambda sample: sample.id)
    same = [sample for sample in listing(str(folder)).samples if sample.patient == first.patient]
    assert len(same) == 2 and third.patient != first.patient
    assert "MRN" not in repr(listing(str(folder)))


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
