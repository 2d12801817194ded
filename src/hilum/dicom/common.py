"""Parts of all objects: the modules of patient, study, series, equipment and SOP Common, and file meta."""

from __future__ import annotations

import cv2
import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from hilum import __version__
from hilum.dicom import codes
from hilum.dicom.charset import declare
from hilum.dicom.source import Source
from hilum.dicom.uids import IMPLEMENTATION, VERSION_NAME, models, uid
from hilum.reporting.picture import Colour
from hilum.types import MAKER, STRUCTURES, Report

# Form -> SOP Class, Modality, title of the series.
KINDS = {
    "seg": ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", "Outlines of lungs and heart"),
    "sr": ("1.2.840.10008.5.1.4.1.1.88.34", "SR", "Measurements and scores"),
    "sc": ("1.2.840.10008.5.1.4.1.1.7", "OT", "Film with outlines and scores"),
    "gsps": ("1.2.840.10008.5.1.4.1.1.11.1", "PR", "Outlines and scores to lay over the film"),
}


def uid_of(report: Report, source: Source, form: str, what: str = "instance") -> UID:
    """The identifier of the object of this form, or of a part of it that needs one."""
    # Only a picture depends on which maps were made.
    maps = [f"{one.method} of {one.label}" for one in report.heatmaps] if form == "sc" else []
    return uid(source.sop_instance, models(report), form, what, *maps)


def begun(report: Report, source: Source, form: str) -> Dataset:
    """A data set with all modules except the form's own; all dates are the film's, none is today's."""
    sop_class, modality, title = KINDS[form]
    made = Dataset()
    made.update(source.elements)
    made.StudyInstanceUID = source.study
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = uid_of(report, source, form)
    made.InstanceNumber = 1
    made.SeriesInstanceUID = uid_of(report, source, form, "series")
    # After the film's own, and different for each object of a film.
    made.SeriesNumber = 100 * min(source.series_number, 10**6) + 91 + list(KINDS).index(form)
    made.SeriesDescription = f"Hilum: {title} (research use)"
    made.Modality = modality
    if form != "sr" and report.status == "ok":  # a document's series has no body part (PS3.3 C.17.1)
        made.BodyPartExamined = "CHEST"
    elif form != "sr":
        made.Laterality = ""  # unknown: the film may show one of a pair (PS3.3 C.7.3.1)
    if modality != "PR":
        made.SeriesDate, made.SeriesTime = source.date, source.time
    made.Manufacturer = MAKER
    made.ManufacturerModelName = "Hilum"
    made.DeviceSerialNumber = IMPLEMENTATION.rpartition(".")[2]
    made.SoftwareVersions = __version__
    made.ContentQualification = "RESEARCH"
    if source.equipment:
        equipment = Dataset()
        equipment.update(source.equipment)
        equipment.PurposeOfReferenceCodeSequence = [codes.coded(codes.ACQUISITION)]
        made.ContributingEquipmentSequence = [equipment]
    return made


def finished(made: Dataset, source: Source) -> Dataset:
    """The data set with its character set and file meta information, ready to be written."""
    declare(made, source.charset)
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = made.SOPClassUID
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION
    meta.ImplementationVersionName = VERSION_NAME
    made.file_meta = meta
    return made


def image_reference(source: Source) -> Dataset:
    """An item that points to the film."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.sop_class, source.sop_instance
    return item


def segments(report: Report) -> dict[int, str]:
    """Segment number -> structure, for those that were found, in the order of STRUCTURES."""
    if report.anatomy is None or report.status == "rejected":
        return {}
    names = [name for value, name in enumerate(STRUCTURES, 1) if (report.anatomy.mask == value).any()]
    return dict(enumerate(names, 1))


def decimal(number: float) -> str:
    """A number as Decimal String, as exact as its 16 characters allow."""
    return format_number_as_ds(float(number))


def cielab(colour: Colour) -> list[int]:
    """A colour as Recommended Display CIELab Value (PS3.3 C.10.7.1.1)."""
    rgb = np.array([[colour]], np.float32) / 255
    lightness, red, yellow = cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab)[0, 0].tolist()
    return [round(lightness * 0xFFFF / 100), *(round((axis + 128) * 0xFFFF / 255) for axis in (red, yellow))]
