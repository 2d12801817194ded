"""The structured report read back: calls, probabilities, measurements, algorithms, references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import highdicom.sr
import pytest
from pydicom import Dataset, dcmread

from hilum.dicom import dicom_bytes, dicom_object
from hilum.dicom.codes import finding
from hilum.labels import SIX
from hilum.types import DISCLAIMER, Reason, Report

Film = Callable[..., bytes]
Judge = Callable[..., Report]
PRESENT, ABSENT, UNDETERMINED = "52101004", "272519000", "373068000"


def document(report: Report) -> Dataset:
    return dcmread(BytesIO(dicom_bytes(report, "sr")))


def groups(made: Dataset) -> dict[str, Dataset]:
    """Tracking identifier -> measurement group."""
    (measurements,) = (item for item in made.ContentSequence if name(item) == "126010")
    return {one(group, "112039").TextValue: group for group in measurements.ContentSequence}


def name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def one(group: Dataset, code: str) -> Dataset:
    (found,) = (item for item in group.ContentSequence if name(item) == code)
    return found


def number(group: Dataset, code: str) -> tuple[float, str]:
    value = one(group, code).MeasuredValueSequence[0]
    assert float(value.NumericValue) == pytest.approx(value.FloatingPointValue, rel=1e-12)
    return value.FloatingPointValue, value.MeasurementUnitsCodeSequence[0].CodeValue


def numbers(group: Dataset) -> set[str]:
    return {name(item) for item in group.ContentSequence if item.ValueType == "NUM"}


def texts(group: Dataset) -> list[str]:
    return [
        item.TextValue
        for item in group.ContentSequence
        if item.ValueType == "TEXT" and name(item) == "121106"
    ]


def test_every_label_has_its_probability_threshold_and_call(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    assert report.prediction is not None
    found = groups(document(report))
    calls = {}
    for label in SIX:
        score, group = report.prediction[label], found[label]
        assert number(group, "122157") == (score.probability, "1")  # exactly
        assert number(group, "threshold") == (score.threshold, "1")
        call = one(group, finding(label).value)
        assert one(group, "121071").ConceptCodeSequence[0].CodeValue == finding(label).value
        calls[label] = call.ConceptCodeSequence[0].CodeValue
    assert calls == {
        "Atelectasis": ABSENT,
        "Cardiomegaly": PRESENT,
        "Consolidation": ABSENT,
        "Edema": PRESENT,
        "Pleural Effusion": UNDETERMINED,  # above its threshold and left open
        "No Finding": ABSENT,
    }


def test_areas_and_the_ratio_are_in_ucum_units(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film(PixelSpacing=[1.5, 1.25]))
    measured, found = report.measurements, groups(document(report))
    assert measured is not None
    assert measured.right_lung_cm2 == pytest.approx(measured.right_lung_pixels * 1.5 * 1.25 / 100)
    assert number(found["Right lung"], "42798000") == (measured.right_lung_cm2, "cm2")
    assert number(found["Left lung"], "42798000") == (measured.left_lung_cm2, "cm2")
    assert number(found["Right lung"], "area-share") == (measured.right_lung_fraction, "1")
    assert number(found["Heart"], "ct-ratio") == (measured.cardiothoracic_ratio, "1")
    assert number(found["Heart"], "heart-width") == (measured.heart_width_mm, "mm")
    assert number(found["Heart"], "thorax-width") == (measured.thorax_width_mm, "mm")
    assert number(found["Heart"], "expected-dice") == (0.875, "1")


def test_without_spacing_areas_are_in_pixels(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film(drop=("PixelSpacing",)))
    measured, found = report.measurements, groups(document(report))
    assert measured is not None
    assert number(found["Right lung"], "area-pixels") == (float(measured.right_lung_pixels), "{pixels}")
    assert numbers(found["Right lung"]) == {"area-pixels", "area-share", "expected-dice"}
    assert numbers(found["Heart"]) == {"ct-ratio", "expected-dice"}


def test_sides_are_the_patients(dicom_film: Film, judged: Judge) -> None:
    found = groups(document(judged(dicom_film())))
    sides = {}
    for lung in ("Right lung", "Left lung"):
        site = one(found[lung], "363698007")
        assert site.ConceptCodeSequence[0].CodeValue == "39607008"
        sides[lung] = one(site, "272741003").ConceptCodeSequence[0].CodeValue
    assert sides == {"Right lung": "24028007", "Left lung": "7771000"}


def test_every_reference_resolves(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    made, seg = document(report), dicom_object(report, "seg")
    evidence = {
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID): series.SeriesInstanceUID
        for study in made.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    film = ("1.2.840.10008.5.1.4.1.1.1", "1.2.3.4.5")
    assert evidence == {film: "1.2.3.4.1", (seg.SOPClassUID, seg.SOPInstanceUID): seg.SeriesInstanceUID}
    for label, group in groups(made).items():
        for item in group.ContentSequence:
            if item.ValueType != "IMAGE":
                continue
            reference = item.ReferencedSOPSequence[0]
            assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) in evidence
            if reference.ReferencedSOPInstanceUID == seg.SOPInstanceUID:
                frame = seg.PerFrameFunctionalGroupsSequence[reference.ReferencedFrameNumber - 1]
                segment = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
                assert seg.SegmentSequence[segment - 1].SegmentLabel == label


def test_algorithms_are_identified(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    found = groups(document(report))
    for group, task in (("Edema", "classify"), ("Heart", "segment"), ("Film", "gate")):
        card = report.cards[task]
        assert one(found[group], "111001").TextValue == card.name
        assert one(found[group], "111003").TextValue == card.version
        said = [item.TextValue for item in found[group].ContentSequence if name(item) == "111002"]
        assert f"sha256={card.sha256}" in said


def test_a_specialist_is_named_beside_the_classifier(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    second = report.cards["classify"].model_copy(
        update={"name": "second", "files": {"model.onnx": "cd" * 32}}
    )
    found = groups(document(replace(report, cards=report.cards | {"specialist": second})))
    said = [item.TextValue for item in found["Edema"].ContentSequence if name(item) == "111002"]
    assert f"specialist=second {second.version} sha256={'cd' * 32}" in said


def test_a_rejected_film_says_so_and_why(dicom_film: Film, judged: Judge) -> None:
    why = (Reason(code="turned", sentence="lies on its side; turn it"), Reason(code="x", sentence="too dark"))
    made = document(judged(dicom_film(), status="rejected", reasons=why, prediction=None))
    found = groups(made)
    assert list(found) == ["Film"]  # no label, and no outline of what may be no chest
    assert one(found["Film"], "judgement").ConceptCodeSequence[0].CodeValue == "rejected"
    assert texts(found["Film"])[:2] == ["Rejected: lies on its side; turn it", "Rejected: too dark"]
    assert len(made.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence) == 1


def test_notes_flags_and_the_disclaimer_are_comments(dicom_film: Film, judged: Judge) -> None:
    flags = (Reason(code="child", sentence="a child's film"),)
    report = judged(dicom_film(), flags=flags, notes=("AP film",))
    film = groups(document(report))["Film"]
    assert one(film, "judgement").ConceptCodeSequence[0].CodeValue == "judged"
    assert {"Note: a child's film", "Note: AP film", DISCLAIMER} <= set(texts(film))


def test_an_unreliable_outline_is_evaluated_as_such(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    assert report.anatomy is not None
    doubtful = replace(report.anatomy, unreliable=frozenset({"left_lung"}))
    found = groups(document(replace(report, anatomy=doubtful)))
    trust = {
        structure: one(found[structure], "outline-trust").ConceptCodeSequence[0].CodeValue
        for structure in ("Right lung", "Left lung", "Heart")
    }
    assert trust == {"Right lung": "reliable", "Left lung": "unreliable", "Heart": "reliable"}


def test_labels_of_an_own_model_have_codes_of_hilums_scheme(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    label = "Épanchement \\ " + "x" * 99
    assert report.prediction is not None
    own = replace(report, prediction=replace(report.prediction, labels=(label, *SIX[1:])))
    made = document(own)
    group = list(groups(made).values())[4]
    assert one(group, "121071").ConceptCodeSequence[0].CodingSchemeDesignator == "99HILUM"
    assert len(one(group, "121071").ConceptCodeSequence[0].CodeValue) <= 16
    assert made.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99HILUM"
    assert number(group, "122157")[0] == report.prediction.probabilities[0]


def test_a_most_probable_label_has_no_threshold(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    ranking = report.cards["classify"].model_copy(update={"activation": "softmax", "thresholds": {}})
    found = groups(document(replace(report, cards=report.cards | {"classify": ranking})))
    assert numbers(found["Edema"]) == {"122157"}


def test_it_is_a_preliminary_unverified_document(dicom_film: Film, judged: Judge) -> None:
    made = document(judged(dicom_film()))
    assert (made.VerificationFlag, made.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert made.ContentTemplateSequence[0].TemplateIdentifier == "1500"


def test_highdicom_finds_the_same_groups(dicom_film: Film, judged: Judge) -> None:
    report: Any = judged(dicom_film())
    read = highdicom.sr.srread(BytesIO(dicom_bytes(report, "sr")))
    labels = read.content.get_image_measurement_groups()
    outlines = read.content.get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in labels] == ["Film", *SIX]
    assert [group.tracking_identifier for group in outlines] == ["Right lung", "Left lung", "Heart"]
    (edema,) = (group for group in labels if group.tracking_identifier == "Edema")
    assert edema.get_measurements()[0].value == report.prediction["Edema"].probability
