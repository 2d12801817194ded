"""The secondary capture read back: the picture, and that any viewer can show it."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from hilum.dicom import dicom_bytes
from hilum.reporting.overlay import overlay
from hilum.types import Reason, Report

Film = Callable[..., bytes]
Judge = Callable[..., Report]


def test_it_is_the_overlay_in_plain_colour(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    made = dcmread(BytesIO(dicom_bytes(report, "sc")))
    np.testing.assert_array_equal(made.pixel_array, overlay(report, scores=True))
    assert made.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (made.PhotometricInterpretation, made.BitsStored, made.PlanarConfiguration) == ("RGB", 8, 0)
    assert made.ImageType == ["DERIVED", "SECONDARY"]
    assert "PixelSpacing" not in made  # a legend stands beside the film, and nothing can be measured
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"


def test_a_rejected_films_picture_is_another(dicom_film: Film, judged: Judge) -> None:
    report = judged(dicom_film())
    why = (Reason(code="turned", sentence="lies on its side; turn it"),)
    nothing = {"prediction": None, "anatomy": None, "measurements": None}
    refused = judged(dicom_film(), status="rejected", reasons=why, **nothing)
    one, other = (dcmread(BytesIO(dicom_bytes(each, "sc"))).pixel_array for each in (report, refused))
    assert one.shape != other.shape or (one != other).any()
    np.testing.assert_array_equal(other, overlay(refused, scores=True))


def test_letters_burnt_into_the_film_are_told_of_as_the_film_does(dicom_film: Film, judged: Judge) -> None:
    said = [
        dcmread(BytesIO(dicom_bytes(judged(dicom_film(**elements)), "sc"))).get("BurnedInAnnotation")
        for elements in ({}, {"BurnedInAnnotation": "YES"}, {"BurnedInAnnotation": "maybe"})
    ]
    assert said == [None, "YES", None]
