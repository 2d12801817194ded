"""Write a de-identified DICOM copy: elements of an allow-list, then PS3.15's basic profile."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
)

from hilum.data.pseudonyms import Key, uid
from hilum.data.study_header import StudyHeader
from hilum.errors import MissingExtraError
from hilum.reading.dicom import stored
from hilum.reading.dicom_grey import numbers, padding_of, text
from hilum.reading.dicom_layout import Layout
from hilum.reading.grey import PIXEL_BUDGET
from hilum.reading.reader import hushed
from hilum.types import Array

_PROFILE = "dicomfields_2026c"  # the edition of the standard's table E.1-1
_NUMBERS = (
    "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "PixelSpacing", "ImagerPixelSpacing",
    "KVP", "DistanceSourceToDetector",
)  # fmt: skip
_WORDS = {
    "VOILUTFunction": ("LINEAR", "LINEAR_EXACT", "SIGMOID"),
    "PresentationLUTShape": ("IDENTITY", "INVERSE"),
}
_TABLES = {
    "ModalityLUTSequence": ("LUTDescriptor", "LUTData"),
    "VOILUTSequence": ("LUTDescriptor", "LUTData"),
}
_EMPTY = (
    "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "ReferringPhysicianName", "SeriesNumber", "InstanceNumber", "PatientOrientation", "Manufacturer",
)  # fmt: skip


def check_installed() -> None:
    """Raises MissingExtraError if the library with the profile is not installed."""
    if find_spec("dicomanonymizer") is None:
        raise MissingExtraError("a de-identified DICOM copy", "deid")


def deidentified(
    data: bytes, key: Key, header: StudyHeader, *, film: str, patient: str, rendered: Array, flagged: bool
) -> bytes:
    """A film's file, de-identified, and uncompressed so that a codestream can hide nothing.

    `rendered` (H, W) float in [0, 1] is the film as `read` returns it; palette films are written from it.
    """
    with hushed():  # pydicom's warnings would quote the patient's header
        return _deidentified(data, key, header, film, patient, rendered, flagged)


def _deidentified(
    data: bytes, key: Key, header: StudyHeader, film: str, patient: str, rendered: Array, flagged: bool
) -> bytes:
    dataset, syntax, layout, grey = stored(data, PIXEL_BUDGET, [])
    padding = padding_of(dataset, grey.dtype, [])
    kept = _image(grey, layout, rendered, padding)
    if layout.photometric.startswith("MONOCHROME"):
        _allow(dataset, kept, little=syntax != ExplicitVRBigEndian)
        if padding:
            kept.PixelPaddingValue, kept.PixelPaddingRangeLimit = padding
    kind = UID(str(dataset.get("SOPClassUID", "")))
    known = kind.name.endswith("Image Storage") and kind.name != str(kind)
    kept.SOPClassUID = kind if known else ComputedRadiographyImageStorage
    profile = import_module("dicomanonymizer.simpledicomanonymizer")
    # The library does not look into sequences; those that are left hold only numbers.
    profile.anonymize_dataset(kept, base_rules_gen=lambda: profile.initialize_actions(_PROFILE))
    _name(kept, key, header, film, patient, str(dataset.get("SeriesInstanceUID", "")))
    if flagged:
        kept.BurnedInAnnotation = "YES"
    kept.file_meta = FileMetaDataset()
    kept.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    kept.file_meta.MediaStorageSOPClassUID = UID(kept.SOPClassUID)
    kept.file_meta.MediaStorageSOPInstanceUID = UID(kept.SOPInstanceUID)
    out = BytesIO()
    kept.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _image(grey: Array, layout: Layout, rendered: Array, padding: tuple[int, int] | None) -> Dataset:
    """The pixels and what describes them."""
    mono = layout.photometric.startswith("MONOCHROME")
    bits, signed = layout.stored, layout.signed
    if layout.photometric == "PALETTE COLOR":
        grey, bits, signed = np.rint(rendered * 255).astype(np.uint8), 8, False
    # Old films have overlays, perhaps with text, in the bits above those stored (PS3.3 C.9, retired).
    values = grey.astype(np.int32) & (2**bits - 1)
    if signed:
        values = (values ^ 2 ** (bits - 1)) - 2 ** (bits - 1)
    if padding and mono:  # whose values may need more bits than those stored
        values = np.where((grey >= padding[0]) & (grey <= padding[1]), grey, values)
    wide = grey.itemsize == 2
    image = Dataset()
    image.Rows, image.Columns = grey.shape
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = layout.photometric if mono else "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 8 * grey.itemsize, bits, bits - 1
    image.PixelRepresentation = int(signed)
    pixels = values.astype(("<i" if signed else "<u") + str(grey.itemsize)).tobytes()
    image.add_new("PixelData", "OW" if wide else "OB", pixels + b"\0" * (len(pixels) % 2))
    return image


def _allow(dataset: Dataset, kept: Dataset, *, little: bool) -> None:
    """Copy the numbers, known words and tables for display; `little`: whether the file is little-endian."""
    for keyword in _NUMBERS:
        if found := numbers(dataset, keyword, []):
            values = [f"{one:.10g}" for one in found]
            setattr(kept, keyword, values if len(values) > 1 else values[0])
    for keyword, known in _WORDS.items():
        if (word := text(dataset, keyword)) in known:
            setattr(kept, keyword, word)
    for keyword, names in _TABLES.items():
        items = dataset.get(keyword)
        if items:
            setattr(kept, keyword, [_table(items[0], names, little)])


def _table(item: Dataset, names: tuple[str, ...], little: bool) -> Dataset:
    kept = Dataset()
    for name in names:
        if name not in item:
            continue
        value = item[name].value
        if isinstance(value, bytes) and not little:  # pydicom keeps words as bytes, in the order of the file
            kept.add_new(
                name, "OW", np.frombuffer(value[: len(value) // 2 * 2], ">u2").astype("<u2").tobytes()
            )
        else:
            kept.add(item[name])
    return kept


def _name(kept: Dataset, key: Key, header: StudyHeader, film: str, patient: str, series: str) -> None:
    """Add pseudonyms, new UIDs, and what was done, in place of the removed elements."""
    for keyword in _EMPTY:
        setattr(kept, keyword, "")
    kept.PatientName = kept.PatientID = patient
    kept.StudyInstanceUID = uid(key, header.study or f"study of {film}")
    kept.SeriesInstanceUID = uid(key, series or f"series of {film}")
    kept.SOPInstanceUID = uid(key, header.uid or film)
    kept.Modality = header.kept["modality"] or "OT"
    kept.ViewPosition = header.view
    if header.told:
        kept.BodyPartExamined = "CHEST"
    kept.PatientIdentityRemoved = "YES"
    kept.LongitudinalTemporalInformationModified = "REMOVED"
    kept.DeidentificationMethod = "Hilum: allow-list, PS3.15 basic profile"
    kept.DeidentificationMethodCodeSequence = [_code()]


def _code() -> Any:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    return code
