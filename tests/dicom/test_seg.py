"""The segmentation read back: masks, sides, codes, references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import highdicom.seg
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom import uid as uids

from hilum.dicom import dicom_bytes
from hilum.types import DISCLAIMER, STRUCTURES, Anatomy, Report

Film = Callable[..., bytes]
Judge = Callable[..., Report]
LUNG, HEART, RIGHT, LEFT = "39607008", "80891009", "24028007", "7771000"


def segmentation(report: Report) -> Dataset:
    return dcmread(BytesIO(dicom_bytes(report, "seg")))


def outlined(report: Report, **changes: Any) -> Report:
    assert report.anatomy is not None
    return replace(report, anatomy=replace(report.anatomy, **changes))


def masks(made: Dataset) -> dict[str, np.ndarray]:
    """Label of each segment -> its pixels, found by way of the frames' own references."""
    labels = {segment.SegmentNumber: segment.SegmentLabel for segment in made.SegmentSequence}
    frames = made.pixel_array.reshape(-1, made.Rows, made.Columns)
    if len(frames) == 1:  # a segment that all frames share stands with what they share
        shared = made.SharedFunctionalGroupsSequence[0]
        return {labels[shared.SegmentIdentificationSequence[0].ReferencedSegmentNumber]: frames[0]}
    groups = made.PerFrameFunctionalGroupsSequence
    numbers = [group.SegmentIdentificationSequence[0].ReferencedSegmentNumber for group in groups]
    return {labels[number]: frame for number, frame in zip(numbers, frames, strict=True)}


def test_every_mask_comes_back_to_the_pixel(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    assert report.anatomy is not None
    found = masks(segmentation(report))
    assert list(found) == ["Right lung", "Left lung", "Heart"]
    assert segmentation(report).ContentDescription == f"Lungs and heart. {DISCLAIMER}"
    for value, mask in enumerate(found.values(), 1):
        np.testing.assert_array_equal(mask, report.anatomy.mask == value)


def test_highdicom_reads_the_same_from_it(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    assert report.anatomy is not None
    read = highdicom.seg.segread(BytesIO(dicom_bytes(report, "seg")))
    pixels = read.get_pixels_by_source_instance(
        ["1.2.3.4.5"], combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(pixels[0], report.anatomy.mask)


def test_the_patients_right_lung_is_coded_right_and_lies_at_the_pictures_left(
    dicom_film: Film, judged: Judge
) -> None:
    made = segmentation(judged(dicom_film()))
    coded = {}
    for segment, mask in zip(made.SegmentSequence, masks(made).values(), strict=True):
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        region = segment.AnatomicRegionSequence[0]
        sides = kind.get("SegmentedPropertyTypeModifierCodeSequence", [])
        assert [one.CodeValue for one in region.get("AnatomicRegionModifierSequence", [])] == [
            one.CodeValue for one in sides
        ]
        assert region.CodeValue == kind.CodeValue
        middle = np.flatnonzero(mask.any(axis=0)).mean() / made.Columns
        coded[kind.CodeValue, *(one.CodeValue for one in sides)] = middle
    assert coded[LUNG, RIGHT] < 0.4 < coded[HEART,] < 0.6 < coded[LUNG, LEFT] + 0.05


def test_what_was_not_found_is_no_segment_and_the_others_count_on(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    assert report.anatomy is not None
    mask = report.anatomy.mask.copy()
    mask[mask == 1] = 0
    made = segmentation(outlined(report, mask=mask))
    assert [segment.SegmentNumber for segment in made.SegmentSequence] == [1, 2]
    found = masks(made)
    np.testing.assert_array_equal(found["Left lung"], mask == 2)
    np.testing.assert_array_equal(found["Heart"], mask == 3)
    alone = masks(segmentation(outlined(report, mask=np.where(mask == 3, mask, 0))))
    np.testing.assert_array_equal(alone["Heart"], mask == 3)
    assert list(alone) == ["Heart"]


def test_an_unreliable_outline_is_said_to_be(dicom_film: Film, judged: Judge) -> None:
    made = segmentation(outlined(judged(dicom_film()), unreliable=frozenset({"heart"})))
    said = {segment.SegmentLabel: segment.SegmentDescription for segment in made.SegmentSequence}
    assert said["Heart"] == f"OUTLINE NOT RELIABLE. Expected Dice 0.88. {DISCLAIMER}"
    assert said["Left lung"] == f"Expected Dice 0.95. {DISCLAIMER}"


def test_the_model_is_named(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    card = report.cards["segment"]
    for segment in segmentation(report).SegmentSequence:
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        assert segment.SegmentAlgorithmName == "hilum-lungs"
        model = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (model.AlgorithmName, model.AlgorithmVersion) == (card.name, card.version)
        assert model.AlgorithmParameters == f"sha256={card.sha256}"


@pytest.mark.parametrize(
    "sop_class",
    [uids.DigitalXRayImageStorageForPresentation, uids.CTImageStorage, "1.3.12.2.1107.5.9.1"],
)
def test_every_reference_is_to_the_film_and_its_own_class(
    sop_class: str, dicom_film: Film, judged: Judge
) -> None:
    made = segmentation(judged(dicom_film(SOPClassUID=sop_class, FrameOfReferenceUID="1.2.9")))
    pairs = [
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
        for element in made.iterall()
        if element.VR == "SQ"
        for item in element.value
        if "ReferencedSOPInstanceUID" in item
    ]
    assert len(pairs) == 5  # source image, series, and one for each frame
    assert set(pairs) == {(sop_class, "1.2.3.4.5")}
    assert made.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4.1"
    assert made.ImageType == ["DERIVED", "PRIMARY"]  # so demanded of segmentations (PS3.3 C.8.20.2)


def test_a_segmentation_makes_up_no_thickness(dicom_film: Film, judged: Judge) -> None:
    shared = segmentation(judged(dicom_film())).SharedFunctionalGroupsSequence[0]
    assert "PixelMeasuresSequence" not in shared


def test_an_own_models_odd_name_does_no_harm(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    card = report.cards["segment"].model_copy(update={"name": "a\\b\n" + "x" * 99})
    made = segmentation(replace(report, cards=report.cards | {"segment": card}))
    assert made.SegmentSequence[0].SegmentAlgorithmName == "a/b " + "x" * 57 + "..."


def test_the_anatomy_decides_and_not_the_films_size(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    assert isinstance(report.anatomy, Anatomy)
    made = segmentation(report)
    assert (made.Rows, made.Columns) == report.radiograph.pixels.shape
    assert made.NumberOfFrames == len(STRUCTURES)
