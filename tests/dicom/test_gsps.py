"""The presentation state read back: lines where the outlines are, words, and grey levels as the film's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom import uid as uids

from hilum.dicom import dicom_bytes, obstacle
from hilum.dicom.contours import outlines
from hilum.dicom.grey import grey_levels
from hilum.types import DISCLAIMER, Reason, Report

Film = Callable[..., bytes]
Judge = Callable[..., Report]
WITHOUT: dict[str, Any] = {"drop": ("PixelSpacing",)}


def state(report: Report) -> Dataset:
    return dcmread(BytesIO(dicom_bytes(report, "gsps")))


def lines(made: Dataset, layer: str) -> list[np.ndarray]:
    """Each line of a layer as (n, 2) columns and rows."""
    return [
        np.reshape(drawn.GraphicData, (drawn.NumberOfGraphicPoints, 2))
        for item in made.GraphicAnnotationSequence
        if item.GraphicLayer == layer
        for drawn in item.GraphicObjectSequence
    ]


def words(made: Dataset) -> list[str]:
    (item,) = (item for item in made.GraphicAnnotationSequence if item.GraphicLayer == "CALLS")
    return str(item.TextObjectSequence[0].UnformattedTextValue).split("\r\n")


def filled(line: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    # From corners of pixels to OpenCV's middles.
    cv2.fillPoly(mask, [np.round((line - 0.5) * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)


@pytest.mark.parametrize(("layer", "value"), [("RIGHT_LUNG", 1), ("LEFT_LUNG", 2), ("HEART", 3)])
def test_outlines_enclose_their_structures(layer: str, value: int, dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    assert report.anatomy is not None
    found = lines(state(report), layer)
    inside = np.logical_or.reduce([filled(line, report.anatomy.mask.shape) for line in found])
    truth = report.anatomy.mask == value
    assert (inside & truth).sum() / (inside | truth).sum() > 0.98
    for line in found:
        np.testing.assert_array_equal(line[0], line[-1])
        assert line.min() >= 0 and (line.max(axis=0) <= truth.shape[::-1]).all()


def test_a_long_winding_outline_fits_an_element() -> None:
    comb = np.zeros((8, 9000), np.uint8)
    comb[:4] = 3
    comb[:, ::2] = 3  # 4500 teeth
    for line in outlines(comb, "heart"):
        assert len(line) <= 8191  # of FL pairs, what a length of 16 bits holds


def test_ratio_lines_span_heart_and_thorax(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    measured = report.measurements
    assert measured is not None
    heart, thorax = lines(state(report), "RATIO")
    assert tuple(heart[:, 0]) == measured.heart_span
    assert tuple(thorax[:, 0]) == measured.thorax_span
    assert heart[0, 1] == heart[1, 1]
    ratio = np.ptp(heart[:, 0]) / np.ptp(thorax[:, 0])
    assert ratio == pytest.approx(measured.cardiothoracic_ratio)
    withheld = replace(report, measurements=replace(measured, cardiothoracic_ratio=None))
    assert lines(state(withheld), "RATIO") == []


def test_words_are_calls_and_the_disclaimer(dicom_film: Film, judged: Judge) -> None:
    said = words(state(judged(dicom_film())))
    assert said[0] == DISCLAIMER
    assert "Cardiomegaly 0.71 (threshold 0.42): positive" in said
    assert "Pleural Effusion 0.33 (threshold 0.33): left open" in said
    assert "Atelectasis 0.08 (threshold 0.22): negative" in said
    warned = judged(dicom_film(), flags=(Reason(code="child", sentence="the patient is a child"),))
    said = words(state(replace(warned, notes=("AP film: the ratio is magnified",))))
    assert said[-2:] == ["Note: the patient is a child", "Note: AP film: the ratio is magnified"]
    why = (Reason(code="turned", sentence="lies on its side; turn it"),)
    refused = state(judged(dicom_film(), status="rejected", reasons=why, prediction=None))
    assert words(refused) == [DISCLAIMER, "Rejected: lies on its side; turn it"]
    assert [item.GraphicLayer for item in refused.GraphicLayerSequence] == ["CALLS"]


def test_notes_that_are_too_long_push_no_call_out(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    assert report.prediction is not None
    made = state(replace(report, notes=tuple(f"note {i}: {'long ' * 15}" for i in range(20))))
    said = words(made)
    assert len("\r\n".join(said)) == 1024
    for label in report.prediction:
        assert any(line.startswith(f"{label} 0.") for line in said)
    assert said[-1].endswith("...")


def test_every_layer_is_declared_and_points_to_the_film(dicom_film: Film, judged: Judge) -> None:
    made = state(judged(dicom_film()))
    drawn = [item.GraphicLayer for item in made.GraphicAnnotationSequence]
    declared = {item.GraphicLayer: item.GraphicLayerOrder for item in made.GraphicLayerSequence}
    assert set(drawn) == set(declared) == {"RIGHT_LUNG", "LEFT_LUNG", "HEART", "RATIO", "CALLS"}
    assert sorted(declared.values()) == [1, 2, 3, 4, 5]
    shown = made.ReferencedSeriesSequence[0]
    assert shown.SeriesInstanceUID == "1.2.3.4.1"
    assert shown.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"


@pytest.mark.parametrize(
    ("elements", "shape"),
    [
        ({"PhotometricInterpretation": "MONOCHROME2"}, "IDENTITY"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "INVERSE"),
        ({"PresentationLUTShape": "INVERSE"}, "INVERSE"),
    ],
)
def test_polarity_is_that_of_the_film(
    elements: dict[str, str], shape: str, dicom_film: Film, judged: Judge
) -> None:
    assert state(judged(dicom_film(**elements))).PresentationLUTShape == shape


def test_windows_and_rescaling_are_the_films_first(dicom_film: Film, judged: Judge) -> None:
    film = dicom_film(WindowCenter=[1000.5, 5], WindowWidth=[500, 5], RescaleSlope=2, RescaleIntercept=-1024)
    made = state(judged(film))
    window = made.SoftcopyVOILUTSequence[0]
    assert (window.WindowCenter, window.WindowWidth) == (1000.5, 500)
    assert (made.RescaleSlope, made.RescaleIntercept, made.RescaleType) == (2, -1024, "US")
    none = state(judged(dicom_film(drop=("WindowCenter", "WindowWidth"))))
    assert "SoftcopyVOILUTSequence" not in none and "RescaleSlope" not in none


@pytest.mark.parametrize("syntax", [uids.ExplicitVRLittleEndian, uids.ExplicitVRBigEndian])
@pytest.mark.parametrize("bits", [12, 16])
def test_a_lookup_table_is_carried_over_whatever_its_byte_order(
    bits: int, syntax: uids.UID, dicom_film: Film, judged: Judge
) -> None:
    table = Dataset()
    entries = np.arange(4096)[::-1] * (1 if bits == 12 else 16)
    table.add_new("LUTDescriptor", "US", [4096, 0, bits])
    order = "<" if syntax.is_little_endian else ">"
    table.add_new("LUTData", "OW", entries.astype(f"{order}u2").tobytes())
    film = dicom_film(syntax=syntax, drop=("WindowCenter", "WindowWidth"), VOILUTSequence=[table])
    made = state(judged(film)).SoftcopyVOILUTSequence[0].VOILUTSequence[0]
    assert list(made.LUTDescriptor) == [4096, 0, 16]
    words = np.frombuffer(made.LUTData, "<u2") / 0xFFFF
    np.testing.assert_allclose(words, entries / (2**bits - 1), atol=2e-5)


@pytest.mark.parametrize(
    ("elements", "first"),
    [
        ({"RescaleSlope": 1, "RescaleIntercept": -1024}, -1024),
        ({"RescaleSlope": 1, "RescaleIntercept": 2**16 - 1024}, 2**16 - 1024),
        ({"PixelRepresentation": 1}, -1024),
        ({"PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": 2**16 - 1024}, 2**16 - 1024),
    ],
)
def test_the_first_value_of_a_voi_table_has_the_sign_of_what_the_table_takes(
    elements: dict[str, Any], first: int
) -> None:
    table, header = Dataset(), Dataset()
    table.add_new("LUTDescriptor", "US", [4096, 2**16 - 1024, 16])
    table.add_new("LUTData", "OW", (np.arange(4096) * 16).astype("<u2").tobytes())
    header.PhotometricInterpretation, header.BitsAllocated = "MONOCHROME2", 16
    header.VOILUTSequence = [table]
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    made = grey_levels(header).SoftcopyVOILUTSequence[0].VOILUTSequence[0]
    descriptor = made["LUTDescriptor"]
    assert (descriptor.VR == "SS") is (first < 0)
    assert list(descriptor.value) == [4096, first, 16]


@pytest.mark.parametrize(
    ("elements", "key", "value"),
    [
        ({"PixelSpacing": [0.5, 0.25]}, "PresentationPixelSpacing", [0.5, 0.25]),
        (
            {**WITHOUT, "ImagerPixelSpacing": [0.2, 0.3]},
            "PresentationPixelSpacing",
            [0.2, 0.3],
        ),
        (WITHOUT, "PresentationPixelAspectRatio", [1, 1]),
    ],
)
def test_the_whole_film_is_displayed_at_its_aspect(
    elements: dict[str, Any], key: str, value: list[float], dicom_film: Film, judged: Judge
) -> None:
    (area,) = state(judged(dicom_film(**elements))).DisplayedAreaSelectionSequence
    assert list(area[key].value) == value
    assert area.DisplayedAreaTopLeftHandCorner == [1, 1]
    assert area.DisplayedAreaBottomRightHandCorner == [256, 256]


def test_a_film_in_colour_has_none(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    header = report.radiograph.origin.header
    header.PhotometricInterpretation = "RGB"
    assert "grayscale" in obstacle(report, "gsps")
