"""The outlines as a binary DICOM Segmentation (PS3.3 A.51): right lung, left lung, heart."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.uid import ComputedRadiographyImageStorage

from hilum.card import Card
from hilum.dicom import codes
from hilum.dicom.common import begun, cielab, segments, uid_of
from hilum.dicom.source import Source
from hilum.dicom.values import clean
from hilum.errors import ConfigError
from hilum.reporting.picture import COLOURS
from hilum.types import DISCLAIMER, STRUCTURES, Anatomy, Array, Report

# Elements in which highdicom writes itself or today's date; it does not override others.
_NOT_WANTED = ("InstanceCreationDate", "InstanceCreationTime", "ContributingEquipmentSequence")


def seg(report: Report, source: Source) -> Dataset:
    """One segment for each structure that was found; there must be at least one.

    Its pixels are the film's, and so is their spacing. It has no Pixel Measures: readers refuse these without
    a thickness, and a projection has none (PS3.3 C.7.6.16.2.1).
    """
    from highdicom.seg import Segmentation

    anatomy, named = report.anatomy, segments(report)
    if anatomy is None:
        raise ConfigError(f"{report.radiograph.origin.path}: never outlined")
    made = begun(report, source, "seg")
    drawn = Segmentation(
        source_images=[_stand_in(source)],
        pixel_array=_renumbered(anatomy.mask, named),
        segmentation_type="BINARY",
        segment_descriptions=[
            _segment(number, name, anatomy, report.cards["segment"]) for number, name in named.items()
        ],
        series_instance_uid=made.SeriesInstanceUID,
        series_number=made.SeriesNumber,
        sop_instance_uid=made.SOPInstanceUID,
        instance_number=made.InstanceNumber,
        manufacturer=made.Manufacturer,
        manufacturer_model_name=made.ManufacturerModelName,
        software_versions=made.SoftwareVersions,
        device_serial_number=made.DeviceSerialNumber,
        content_label="LUNGS_HEART",
        content_description=f"Lungs and heart. {DISCLAIMER}",
        content_date=source.date,
        content_time=source.time,
    )
    for element in drawn:
        if element.tag not in made and element.keyword not in _NOT_WANTED:
            made.add(element)
    _point_to_the_film(made, source)
    dimension = uid_of(report, source, "seg", "dimensions")
    made.DimensionOrganizationSequence[0].DimensionOrganizationUID = dimension
    for index in made.DimensionIndexSequence:
        index.DimensionOrganizationUID = dimension
    made.ContentCreatorName = made.PatientOrientation = ""
    made.update(source.lossy)
    return made


def _stand_in(source: Source) -> Dataset:
    """The elements of the film that highdicom needs; it logs doubts, so none identifies the patient."""
    film = Dataset()
    # Not the film's own class: highdicom refuses those it does not know.
    film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, source.sop_instance
    film.StudyInstanceUID, film.SeriesInstanceUID = source.study, source.series
    film.Rows, film.Columns, film.Modality = source.rows, source.columns, "CR"
    film.PatientID = film.PatientName = film.PatientBirthDate = film.PatientSex = ""
    film.AccessionNumber = film.StudyID = film.StudyDate = film.StudyTime = ""
    return film


def _point_to_the_film(made: Dataset, source: Source) -> None:
    """Give every reference of a segmentation, all to its one source image, the film's own class."""
    for element in made.iterall():
        if element.keyword == "ReferencedSOPClassUID":
            element.value = source.sop_class


def _renumbered(mask: Array, named: dict[int, str]) -> Array:
    """The mask with segment numbers instead of positions in STRUCTURES."""
    table = np.zeros(len(STRUCTURES) + 1, np.uint8)
    for number, name in named.items():
        table[STRUCTURES.index(name) + 1] = number
    renumbered: Array = table[mask]
    return renumbered


def _segment(number: int, name: str, anatomy: Anatomy, card: Card) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription

    place, side = codes.PLACES[name]
    segment = SegmentDescription(
        segment_number=number,
        segment_label=name.replace("_", " ").capitalize(),
        segmented_property_category=codes.ANATOMY,
        segmented_property_type=place,
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=clean(card.name, 64),
            family=codes.NETWORK,
            version=clean(card.version, 64),
            source="Hilum",
            parameters={"sha256": card.sha256},
        ),
        anatomic_regions=[place],
    )
    segment.RecommendedDisplayCIELabValue = cielab(COLOURS[name])
    if side is not None:
        kind, region = segment.SegmentedPropertyTypeCodeSequence[0], segment.AnatomicRegionSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [codes.coded(side)]
        region.AnatomicRegionModifierSequence = [codes.coded(side)]
    segment.SegmentDescription = _described(name, anatomy)
    return segment


def _described(name: str, anatomy: Anatomy) -> str:
    quality = anatomy.quality.get(name)
    said = "" if quality is None else f"Expected Dice {quality:.2f}. "
    trust = "OUTLINE NOT RELIABLE. " if name in anatomy.unreliable else ""
    return f"{trust}{said}{DISCLAIMER}"
