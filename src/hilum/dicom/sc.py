"""The film with outlines and scores drawn on it, as a Secondary Capture that any viewer shows (PS3.3 A.8)."""

from __future__ import annotations

from pydicom import Dataset

from hilum import __version__
from hilum.dicom import codes
from hilum.dicom.common import begun, image_reference
from hilum.dicom.source import Source
from hilum.dicom.values import value_of
from hilum.reporting.overlay import overlay
from hilum.types import DISCLAIMER, Report


def sc(report: Report, source: Source) -> Dataset:
    """The overlay in colour, 8 bits, uncompressed. It is a picture: lengths on it mean nothing."""
    picture = overlay(report, scores=True)
    made = begun(report, source, "sc")
    # A derived image states how and from what it was derived (PS3.3 C.7.6.1).
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.DerivationDescription = f"Film with outlines and scores drawn by Hilum {__version__}. {DISCLAIMER}"
    film = image_reference(source)
    film.PurposeOfReferenceCodeSequence = [codes.coded(codes.SOURCE_IMAGE)]
    made.SourceImageSequence = [film]
    made.ConversionType = "WSD"  # made on a workstation
    made.PatientOrientation = ""
    made.ContentDate, made.ContentTime = source.date, source.time
    made.SamplesPerPixel, made.PlanarConfiguration = 3, 0
    made.PhotometricInterpretation = "RGB"
    made.Rows, made.Columns = picture.shape[:2]
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    data = picture.tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB"
    burnt_in = value_of(report.radiograph.origin.header, "BurnedInAnnotation")[0]
    if burnt_in in ("YES", "NO"):  # the picture shows annotations that are burned into the film
        made.BurnedInAnnotation = burnt_in
    made.update(source.lossy)
    return made
