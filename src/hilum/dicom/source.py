"""What the objects copy from the header of the film."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom import uid as uids

from hilum.dicom.charset import terms_of
from hilum.dicom.uids import uid
from hilum.dicom.values import value_of, values_of
from hilum.types import Radiograph

# Type 2 of the Patient (PS3.3 C.7.1.1) and General Study (C.7.2.1) modules: present, and empty if unknown.
_DEMANDED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
# Of the same modules, of Patient Study (C.7.2.2), General Equipment (C.7.5.1) and SOP Common (C.12.1).
_WELCOME = (
    "IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription",
    "PatientIdentityRemoved", "DeidentificationMethod", "LongitudinalTemporalInformationModified",
    "InstitutionName", "TimezoneOffsetFromUTC",
)  # fmt: skip
_WORDS = {
    "PatientSex": {"M", "F", "O"},
    "PatientIdentityRemoved": {"YES", "NO"},
    "LongitudinalTemporalInformationModified": {"UNMODIFIED", "MODIFIED", "REMOVED"},
}
_EVENTS = (
    "Content",
    "Acquisition",
    "Series",
    "Study",
)  # whose date and time stand for the film's, best first
_LOSSY: dict[str, str] = {
    uids.JPEGBaseline8Bit: "ISO_10918_1",
    uids.JPEGExtended12Bit: "ISO_10918_1",
    uids.JPEGLSNearLossless: "ISO_14495_1",
    uids.JPEG2000: "ISO_15444_1",
    uids.HTJ2K: "ISO_15444_15",
}
"""Transfer syntaxes that may be lossy, and their Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1)."""
NO_DATE, NO_TIME = "19000101", "000000"
"""Used where a date is mandatory and the film has none: not a guess, and not today's date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A film's identity and header, every value valid; `notes` says what was left out or replaced."""

    sop_class: str
    sop_instance: str
    study: str
    series: str
    series_number: int  # 0 if the film has none
    rows: int
    columns: int
    date: str  # of the film: NO_DATE and NO_TIME if it has none
    time: str
    charset: tuple[str, ...]  # Specific Character Set, empty for the default repertoire
    elements: Dataset = field(repr=False)  # of patient, study and equipment
    lossy: Dataset = field(repr=False)  # history of lossy compression of the film; empty if none
    equipment: Dataset = field(repr=False)  # that made the film; empty if unnamed
    notes: tuple[str, ...] = ()


def source_of(film: Radiograph) -> Source:
    """Read the header of a film that was a DICOM file."""
    header = film.origin.header
    notes: list[str] = []
    instance = _uid_of(header, "SOPInstanceUID", film.origin.sha256, notes)
    study = _uid_of(header, "StudyInstanceUID", instance, notes)
    charset = terms_of(header, notes)
    date, time = _moment(header, notes)
    elements = _elements(header, notes)
    if not charset and any(not str(element.value).isascii() for element in elements):
        notes.append(
            "the film's text is in an undeclared character set: taken for UTF-8 or Latin 1 by its bytes"
        )
    return Source(
        sop_class=_class_of(header, notes),
        sop_instance=instance,
        study=study,
        series=_uid_of(header, "SeriesInstanceUID", instance, notes),
        series_number=int(_valid(header, "SeriesNumber", []) or 0),
        rows=film.pixels.shape[0],
        columns=film.pixels.shape[1],
        date=date,
        time=time,
        lossy=_lossy(header),
        charset=charset,
        elements=elements,
        equipment=_equipment(header),
        notes=tuple(notes),
    )


def _uid_of(header: Dataset, keyword: str, instead: str, notes: list[str]) -> str:
    """The film's own identifier, or one derived from the malformed one or from `instead`."""
    found, valid = value_of(header, keyword)
    if found and valid:
        return found
    notes.append(
        f"{keyword} of the film is {'malformed' if found else 'missing'}; one was derived in its place"
    )
    return uid(keyword, found or instead)


def _class_of(header: Dataset, notes: list[str]) -> str:
    found, valid = value_of(header, "SOPClassUID")
    if found and valid:
        return found
    notes.append("SOPClassUID of the film is missing or malformed; taken for Computed Radiography")
    return str(uids.ComputedRadiographyImageStorage)


def _valid(header: Dataset, keyword: str, notes: list[str]) -> str:
    """The element's value if it is valid, else an empty one and a note."""
    found, valid = value_of(header, keyword)
    if valid and (not found or found in _WORDS.get(keyword, {found})):
        return found
    notes.append(f"{keyword} of the film is malformed and left empty")
    return ""


def _moment(header: Dataset, notes: list[str]) -> tuple[str, str]:
    for event in _EVENTS:
        if found := _valid(header, f"{event}Date", []):
            return found, _valid(header, f"{event}Time", []) or NO_TIME
    notes.append("the film has no valid date; 1900-01-01 stands where one is demanded")
    return NO_DATE, NO_TIME


def _lossy(header: Dataset) -> Dataset:
    """Elements on lossy compression that a derived image repeats (PS3.3 C.7.6.1.1.5), as far as known."""
    told = Dataset()
    method = _LOSSY.get(str(getattr(header, "file_meta", {}).get("TransferSyntaxUID", "")))
    if method or value_of(header, "LossyImageCompression")[0] == "01":
        told.LossyImageCompression = "01"
        if methods := values_of(header, "LossyImageCompressionMethod") or method:
            told.LossyImageCompressionMethod = methods
        if ratios := values_of(header, "LossyImageCompressionRatio"):
            told.LossyImageCompressionRatio = ratios
    return told


def _elements(header: Dataset, notes: list[str]) -> Dataset:
    elements = Dataset()
    for keyword in _DEMANDED:
        setattr(elements, keyword, _valid(header, keyword, notes))
    for keyword in _WELCOME:
        if found := _valid(header, keyword, notes):
            setattr(elements, keyword, found)
    if elements.get("PatientIdentityRemoved") == "YES" and "DeidentificationMethod" not in elements:
        # Mandatory beside it without the codes, which are not copied (PS3.3 C.7.1.1).
        elements.DeidentificationMethod = "As of the source image"
    return elements


def _equipment(header: Dataset) -> Dataset:
    equipment = Dataset()
    if maker := _valid(header, "Manufacturer", []):
        equipment.Manufacturer = maker
        for keyword in ("InstitutionName", "StationName", "ManufacturerModelName", "DeviceSerialNumber"):
            if found := _valid(header, keyword, []):
                setattr(equipment, keyword, found)
    return equipment
