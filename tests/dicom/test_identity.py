"""Whose objects they are, and which: patient, study, dates, character sets and identifiers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import pytest
from pydicom import Dataset, dcmread
from pydicom import uid as uids
from pydicom.valuerep import PersonName

from hilum.data.phantom import draw
from hilum.dicom import FORMS, dicom_bytes, dicom_object, obstacle
from hilum.errors import ConfigError, MissingExtraError
from hilum.pipeline import Pipeline
from hilum.reading.reader import hushed, read
from hilum.runtime import Runtime, find
from hilum.types import DISCLAIMER, Heatmap, Report

Film = Callable[..., bytes]
Judge = Callable[..., Report]

MAIN = "from hilum.cli import main; main()"

# Demanded of every object, and empty where the film does not tell (PS3.3 C.7.1.1, C.7.2.1).
TYPE_2 = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
          "AccessionNumber", "ReferringPhysicianName")  # fmt: skip


def again(report: Report, form: str) -> Dataset:
    """The object as a reader of its file finds it."""
    with hushed():
        return dcmread(BytesIO(dicom_bytes(report, form)))


def texts(made: Dataset) -> list[str]:
    """The texts of a structured report."""
    return [element.value for element in made.iterall() if element.keyword == "TextValue"]


@pytest.mark.parametrize("form", FORMS)
def test_patient_and_study_are_the_films(form: str, dicom_film: Film, judged: Judge) -> None:
    film = dcmread(BytesIO(dicom_film()))
    made = again(judged(dicom_film()), form)
    for keyword in (*TYPE_2, "StudyInstanceUID", "PatientAge", "StudyDescription"):
        assert made[keyword].value == film[keyword].value, keyword
    assert made.SeriesInstanceUID != film.SeriesInstanceUID
    assert made.SOPInstanceUID != film.SOPInstanceUID
    assert "research use" in made.SeriesDescription
    assert made.ContentQualification == "RESEARCH"
    # The film's maker had a part in it, and is not the maker of the object.
    assert made.Manufacturer != film.Manufacturer
    assert made.ContributingEquipmentSequence[0].Manufacturer == film.Manufacturer
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID


@pytest.mark.parametrize("form", FORMS)
def test_the_same_film_and_models_give_the_same_bytes_and_a_later_day_changes_nothing(
    form: str, dicom_film: Film, judged: Judge
) -> None:
    one = dicom_bytes(judged(dicom_film()), form)
    later = dicom_bytes(judged(dicom_film(), created="2031-12-31T00:00:00Z"), form)
    assert one == later
    assert dcmread(BytesIO(one)).get("InstanceCreationDate") is None


@pytest.mark.parametrize("form", FORMS)
def test_another_model_version_threshold_or_film_makes_another_object(
    form: str, dicom_film: Film, judged: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = judged(dicom_film())
    card = report.cards["segment"]
    others = [
        replace(report, cards=report.cards | {"segment": card.model_copy(update=update)})
        for update in (
            {"files": {"model.onnx": "ab" * 32}},
            {"version": "99"},
            {"reliability": {}},
            {"leaning": {"lungs": 1.0}},
            {"build": "onnxruntime-int8"},  # its figures differ a little from the graph's
        )
    ]
    cards = {task: card for task, card in report.cards.items() if task != "classify"}
    others += [replace(report, cards=cards), judged(dicom_film(SOPInstanceUID="1.2.3.4.6"))]
    made = [dicom_object(one, form) for one in (report, *others)]
    monkeypatch.setattr("hilum.dicom.uids.__version__", "9.9")
    made.append(dicom_object(report, form))
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert len({one[keyword].value for one in made}) == len(made)


def test_no_two_objects_of_a_film_share_an_identifier(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    made = [dicom_object(report, form) for form in FORMS]
    own = [one[keyword].value for one in made for keyword in ("SOPInstanceUID", "SeriesInstanceUID")]
    own += [one.SeriesNumber for one in made]
    assert len(set(own)) == len(own)
    for one in made:
        for element in one.iterall():
            if element.VR == "UI" and element.value:
                assert uids.UID(element.value).is_valid, element.keyword
    assert {one.SeriesNumber for one in made} == {291, 292, 293, 294}  # the film's series is 2


def test_a_picture_with_other_maps_is_another_object(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    values = report.radiograph.pixels
    maps = (Heatmap(cells=values, shape=values.shape, label="Edema", method="evidence", in_lungs=0.5),)
    mapped = replace(report, heatmaps=maps)
    same = {form: dicom_object(report, form).SOPInstanceUID == dicom_object(mapped, form).SOPInstanceUID
            for form in FORMS}  # fmt: skip
    assert same == {"seg": True, "sr": True, "sc": False, "gsps": True}


NAMES: dict[str, tuple[Any, str | list[str]]] = {
    "latin": ("Müller^Jürgen", "ISO_IR 100"),
    "russian": ("Люция^Юлий", "ISO_IR 144"),
    "greek": ("Διονυσιος", "ISO_IR 126"),
    "arabic": ("قباني^لنزار", "ISO_IR 127"),
    "japanese": ("Yamada^Tarou=山田^太郎=やまだ^たろう", ["", "ISO 2022 IR 87"]),
    "half width": ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", ["ISO 2022 IR 13", "ISO 2022 IR 87"]),
    "korean": ("Hong^Gildong=洪^吉洞=홍^길동", ["", "ISO 2022 IR 149"]),
    "chinese": ("Wang^XiaoDong=王^小东", "GB18030"),
    "unicode": ("Müller^Jürgen=王^小东", "ISO_IR 192"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("script", NAMES)
def test_a_name_keeps_its_characters_and_their_coding(
    script: str, form: str, dicom_film: Film, judged: Judge
) -> None:
    name, charset = NAMES[script]
    made = again(judged(dicom_film(PatientName=name, SpecificCharacterSet=charset)), form)
    assert str(made.PatientName) == name
    said = made.SpecificCharacterSet
    assert (said if isinstance(said, str) else list(said)) == charset


@pytest.mark.parametrize("coding", ["utf-8", "latin-1"])
def test_a_name_without_a_character_set_is_read_by_its_bytes(
    coding: str, dicom_film: Film, judged: Judge
) -> None:
    raw = PersonName("Müller^Jürgen".encode(coding))
    report = judged(dicom_film(PatientName=raw))
    made = again(report, "sr")
    assert (str(made.PatientName), made.SpecificCharacterSet) == ("Müller^Jürgen", "ISO_IR 192")
    assert any("undeclared character set" in text for text in texts(made))


def test_own_text_beyond_the_films_character_set_makes_the_object_unicode(
    dicom_film: Film, judged: Judge
) -> None:
    report = judged(dicom_film(PatientName="Люция^Юлий", SpecificCharacterSet="ISO_IR 144"), notes=("café",))
    made = again(report, "sr")
    assert (str(made.PatientName), made.SpecificCharacterSet) == ("Люция^Юлий", "ISO_IR 192")
    assert again(report, "seg").SpecificCharacterSet == "ISO_IR 144"


HOSTILE: dict[str, Any] = {
    "PatientName": "A" * 500,
    "PatientID": "A\\B",
    "PatientBirthDate": "20231399",
    "PatientSex": "W",
    "StudyDate": "2023.01.02",
    "StudyTime": "25:00",
    "StudyID": "a\tb",
    "AccessionNumber": "1" * 20,
    "ReferringPhysicianName": "a=b=c=d",
    "StudyDescription": "x" * 3000,
    "PatientAge": "45",
    "InstitutionName": "<script>alert(1)</script>",
}


@pytest.mark.parametrize("form", FORMS)
def test_values_that_are_no_such_values_are_left_empty_and_never_shortened(
    form: str, dicom_film: Film, judged: Judge
) -> None:
    made = again(judged(dicom_film(**HOSTILE)), form)
    assert [made[keyword].value or "" for keyword in TYPE_2] == [""] * len(TYPE_2)
    assert "StudyDescription" not in made and "PatientAge" not in made
    assert made.InstitutionName == HOSTILE["InstitutionName"]  # odd, and valid


def test_the_report_tells_what_was_left_out_by_its_name_alone(dicom_film: Film, judged: Judge) -> None:
    said = texts(again(judged(dicom_film(**HOSTILE)), "sr"))
    for keyword in TYPE_2:
        assert f"Note: {keyword} of the film is malformed and left empty" in said
    assert not any("A\\B" in text or "AAAA" in text for text in said)


@pytest.mark.parametrize("form", FORMS)
def test_what_the_film_lacks_is_empty_and_its_identifiers_are_derived(
    form: str, dicom_film: Film, judged: Judge
) -> None:
    missing = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Manufacturer")
    report = judged(dicom_film(drop=(*missing, *TYPE_2)))
    made = again(report, form)
    assert [made[keyword].value or "" for keyword in TYPE_2] == [""] * len(TYPE_2)
    assert re.fullmatch(r"2\.25\.\d+", made.StudyInstanceUID)
    assert made.StudyInstanceUID == again(report, "sc").StudyInstanceUID  # all of a film in one study
    assert "ContributingEquipmentSequence" not in made


def test_films_of_a_study_with_a_malformed_identifier_stay_together(dicom_film: Film, judged: Judge) -> None:
    studies = [
        dicom_object(judged(dicom_film(StudyInstanceUID=study, SOPInstanceUID=film)), "sc").StudyInstanceUID
        for study, film in (("1.2.x", "1.2.1"), ("1.2.x", "1.2.2"), ("1.2.y", "1.2.3"))
    ]
    assert studies[0] == studies[1] != studies[2]
    assert all(study.is_valid for study in studies)


def test_an_identifier_that_archives_accept_is_kept_though_it_breaks_a_rule(
    dicom_film: Film, judged: Judge
) -> None:
    for study in ("1.2.03", "7"):
        report = judged(dicom_film(StudyInstanceUID=study, SeriesInstanceUID="5.2.3"))
        assert [dicom_object(report, form).StudyInstanceUID for form in FORMS] == [study] * 4
    assert dicom_object(report, "gsps").ReferencedSeriesSequence[0].SeriesInstanceUID == "5.2.3"


@pytest.mark.parametrize(
    ("elements", "date", "time"),
    [
        ({}, "20250304", "101112"),
        ({"ContentDate": "20250305", "ContentTime": "081500.5"}, "20250305", "081500.5"),
        ({"AcquisitionDate": "20250306"}, "20250306", "000000"),  # the study's time is not of that day
        ({"drop": ("StudyDate", "StudyTime")}, "19000101", "000000"),
        ({"StudyDate": "20250230"}, "19000101", "000000"),
    ],
)
def test_content_dates_are_the_films(
    elements: dict[str, Any], date: str, time: str, dicom_film: Film, judged: Judge
) -> None:
    report = judged(dicom_film(**elements))
    for form, kind in (("seg", "Content"), ("sr", "Content"), ("gsps", "PresentationCreation")):
        made = again(report, form)
        assert (made[f"{kind}Date"].value, made[f"{kind}Time"].value) == (date, time)


def test_private_elements_and_comments_stay_behind(dicom_film: Film, judged: Judge) -> None:
    secret = "SECRET REMARK"
    data = dcmread(BytesIO(dicom_film(PatientComments=secret, ImageComments=secret, ProtocolName=secret)))
    data.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", secret)
    stream = BytesIO()
    data.save_as(stream, enforce_file_format=True)
    report = judged(stream.getvalue())
    for form in FORMS:
        assert secret.encode() not in dicom_bytes(report, form)


def test_a_deidentified_film_gives_deidentified_objects(dicom_film: Film, judged: Judge) -> None:
    film = dicom_film(PatientIdentityRemoved="YES", DeidentificationMethod="Hospital rule 3")
    made = again(judged(film), "seg")
    assert (made.PatientIdentityRemoved, made.DeidentificationMethod) == ("YES", "Hospital rule 3")
    # By codes, which stay behind: one of the two is demanded (PS3.3 C.7.1.1).
    assert again(judged(dicom_film(PatientIdentityRemoved="YES")), "seg").DeidentificationMethod


@pytest.mark.parametrize(
    ("elements", "lossy"),
    [({}, False), ({"LossyImageCompression": "01"}, True), ({"LossyImageCompression": "00"}, False)],
)
def test_what_was_once_compressed_with_loss_stays_so(
    elements: dict[str, str], lossy: bool, dicom_film: Film, judged: Judge
) -> None:
    report = judged(dicom_film(**elements))
    assert [again(report, form).get("LossyImageCompression") == "01" for form in ("seg", "sc")] == [lossy] * 2


@pytest.mark.parametrize("form", ["seg", "sc"])
@pytest.mark.parametrize(
    ("elements", "ratio", "method"),
    [
        (
            {"LossyImageCompressionRatio": ["10", "2.5"], "LossyImageCompressionMethod": ["ISO_10918_1"] * 2},
            [10, 2.5],
            ["ISO_10918_1"] * 2,
        ),
        ({"LossyImageCompressionMethod": "ISO_15444_1"}, None, "ISO_15444_1"),
        ({"LossyImageCompressionMethod": ["ISO_15444_1", "no code"]}, None, None),
        ({}, None, None),
    ],
)
def test_how_much_was_lost_goes_along(
    elements: dict[str, Any], ratio: object, method: object, form: str, dicom_film: Film, judged: Judge
) -> None:
    made = again(judged(dicom_film(LossyImageCompression="01", **elements)), form)
    assert (made.get("LossyImageCompressionRatio"), made.get("LossyImageCompressionMethod")) == (
        ratio,
        method,
    )


def test_the_transfer_syntax_tells_a_loss_that_the_header_does_not(dicom_film: Film, judged: Judge) -> None:
    film = dcmread(BytesIO(dicom_film()))
    film.compress(uids.JPEG2000, j2k_cr=[8], generate_instance_uid=False)
    stream = BytesIO()
    film.save_as(stream)
    made = again(judged(stream.getvalue()), "seg")
    assert (made.LossyImageCompression, made.LossyImageCompressionMethod) == ("01", "ISO_15444_1")


def test_what_cannot_be_made_says_why(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    with pytest.raises(ConfigError, match="'pdf': no DICOM form; choose from seg, sr, sc, gsps"):
        dicom_object(report, "pdf")
    picture = replace(report, radiograph=read((report.radiograph.pixels * 255).astype("u1")))
    with pytest.raises(ConfigError, match="array, not DICOM"):
        dicom_object(picture, "sc")
    assert report.anatomy is not None
    blank = replace(report, anatomy=replace(report.anatomy, mask=report.anatomy.mask * 0))
    with pytest.raises(ConfigError, match="no lung or heart was found"):
        dicom_object(blank, "seg")
    assert [form for form in FORMS if obstacle(replace(report, status="rejected"), form)] == ["seg"]
    assert [form for form in FORMS if obstacle(report, form)] == []


@pytest.mark.parametrize("form", FORMS)
def test_a_film_cropped_by_the_caller_gives_no_object_that_claims_the_files_pixels(
    form: str, dicom_film: Film
) -> None:
    film = read(dicom_film())
    report = Pipeline(Runtime(find("hilum-lungs"), threads=1), None)(
        replace(film, pixels=film.pixels[8:-8, 4:-4])
    )
    assert report.status == "ok"
    with pytest.raises(ConfigError, match="cropped or resized"):
        dicom_bytes(report, form)


def test_without_highdicom_the_remedy_is_told(
    dicom_film: Film, judged: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.extras.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hilum\[dicom\]'"):
        dicom_object(judged(dicom_film()), "sc")


@pytest.mark.parametrize("form", FORMS)
def test_nothing_of_the_patient_is_logged_or_warned_of(
    form: str, dicom_film: Film, judged: Judge, caplog: pytest.LogCaptureFixture
) -> None:
    secret = dict.fromkeys(("PatientName", "PatientID", "StudyDate", "PatientSex", "StudyID"), "SECRET")
    film = dicom_film(**secret, SpecificCharacterSet="UTF8")
    dicom_bytes(judged(film), form)  # a warning would be an error here
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize("form", FORMS)
def test_every_object_bears_the_disclaimer(form: str, dicom_film: Film, judged: Judge) -> None:
    assert DISCLAIMER in str(again(judged(dicom_film()), form))


def test_the_command_writes_objects_of_dicom_films_and_says_once_that_others_have_none(
    dicom_film: Film, tmp_path: Path
) -> None:
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    (films / "case").write_bytes(dicom_film())
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(films / name), draw(3).pixels)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", MAIN, "predict", films, "--out", out, "--as", "sr,seg"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["case.seg.dcm", "case.sr.dcm"]
    assert [line for line in done.stderr.splitlines() if "DICOM" in line] == ["no sr, seg: 2 not DICOM"]
    assert "Doe" not in done.stderr + done.stdout
