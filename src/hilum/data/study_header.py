"""The header fields of a film that an import keeps, and why a film is left out or flagged.

Fields are kept by an allow-list. A value passes only if it is a number or one of the standard's words for its
field, so that no typed text is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from hilum.gate import CAPTURES, RADIOGRAPHS, names_chest, names_other
from hilum.reading.age import age_of
from hilum.reading.dicom_grey import coded_view
from hilum.reading.dicom_header import header_of
from hilum.reading.reader import hushed
from hilum.reading.views import FRONTAL, LATERAL, view_in, view_words

OLDEST = 90  # years: older patients count as 90, as in HIPAA's Safe Harbor (45 CFR 164.514(b)(2)(i)(C))

_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "PatientID", "PatientSex", "PatientAge",
    "PatientBirthDate", "StudyDate", "Modality", "ViewPosition", "ViewCodeSequence", "BodyPartExamined",
    "ImageLaterality", "PatientPosition", "ImageType", "ConversionType", "BurnedInAnnotation", "Rows",
    "Columns", "NumberOfFrames", "BitsStored", "SeriesDescription", "ProtocolName", "Manufacturer",
    "ManufacturerModelName",
)  # fmt: skip

_RADIOGRAPHS = RADIOGRAPHS | CAPTURES
_OTHERS = {"CT", "MR", "US", "MG", "NM", "PT", "XA", "SR", "PR", "KO", "IO", "PX", "DOC", "REG", "SEG", "ECG",
           "ES", "OP", "BMD", "RTIMAGE", "RTSTRUCT", "RTPLAN", "RTDOSE", "OCT", "XC", "SM", "GM"}  # fmt: skip
_POSITIONS = {"HFS", "HFP", "HFDR", "HFDL", "FFS", "FFP", "FFDR", "FFDL"}  # PS3.3 C.7.3.1.1.2
_SIDES = {"L", "R", "B", "U"}
_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage and its multi-frame kin
_CONVERTED = {"DV", "DF", "WSD", "SD", "SI", "DRW"}  # PS3.3 C.8.6.1: video, digitised film, screen, scan


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyHeader:
    """A film's header; patient, study and uid must not appear in results."""

    patient: str
    study: str
    uid: str

    kept: Mapping[str, str] = field(default_factory=dict)  # column -> value, or ""
    device: Mapping[str, str] = field(default_factory=dict)  # free text, kept only on request
    view: str = ""  # "AP", "PA" or ""
    told: bool = False  # whether the header states both a frontal view and a chest
    bits: int = 0
    left_out: str = ""  # why it is left out
    flagged: str = ""  # why it may have burned-in annotations


def study_header(file: BinaryIO) -> StudyHeader | None:
    """The header of an open file, without reading pixels; None if it is not DICOM."""
    found = header_of(file, _TAGS)
    if found is None:
        return None
    with hushed():  # pydicom converts an element at its first use
        said = {tag: _text(found, tag) for tag in _TAGS}
        coded = coded_view(found) or ("OTHER" if found.get("ViewCodeSequence") else "")
    file.seek(128)
    if file.read(4) != b"DICM" and not (said["SOPClassUID"] or said["Rows"]):
        return None
    view = FRONTAL.get(view_in(said["ViewPosition"])) or FRONTAL.get(coded) or ""
    part = said["BodyPartExamined"].upper()
    return StudyHeader(
        patient=said["PatientID"],
        study=said["StudyInstanceUID"],
        uid=said["SOPInstanceUID"],
        kept=_kept(said, view),
        device={"manufacturer": said["Manufacturer"], "model": said["ManufacturerModelName"]},
        view=view,
        told=bool(view) and names_chest(part),
        bits=int(said["BitsStored"]) if said["BitsStored"].isdecimal() else 0,
        left_out=_useless(said, view, coded),
        flagged=_flagged(said),
    )


def _text(found: Any, tag: str) -> str:
    """An element as text, several values joined by backslashes; "" for sequences."""
    value = found.get(tag)
    if value is None or tag == "ViewCodeSequence":
        return ""
    several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return ("\\".join(str(one) for one in value) if several else str(value)).strip()


def _kept(said: Mapping[str, str], view: str) -> dict[str, str]:
    """The values that the allow-list lets pass."""
    modality, side, position = (
        said[tag].upper() for tag in ("Modality", "ImageLaterality", "PatientPosition")
    )
    age = age_of(said["PatientAge"], said["PatientBirthDate"], said["StudyDate"])
    return {
        "sex": sex if (sex := said["PatientSex"].upper()) in ("F", "M") else "",
        "age": "" if age is None else str(min(int(age), OLDEST)),
        "view": view,
        "modality": modality if modality in _RADIOGRAPHS else "",
        "laterality": side if side in _SIDES else "",
        "position": position if position in _POSITIONS else "",
    }


def _useless(said: Mapping[str, str], view: str, coded: str) -> str:
    """Why a file is no frontal chest film, without words of its header."""
    modality = said["Modality"].upper()
    if modality not in _RADIOGRAPHS:
        return f"modality {modality}" if modality in _OTHERS else "another modality"
    if said["Rows"] in ("", "0") or said["Columns"] in ("", "0"):
        return "no image"
    frames = said["NumberOfFrames"]
    if frames.isdecimal() and int(frames) > 1:
        return "several frames"
    if names_other(said["BodyPartExamined"]):
        return "another body part"
    stated = said["ViewPosition"]
    if view_in(stated) in LATERAL or (not view and coded == "LATERAL"):
        return "lateral view"
    if not view and (stated or coded):
        return "another view than AP or PA"
    words = view_words(f"{said['SeriesDescription']} {said['ProtocolName']}")
    return "lateral view, by its description" if not view and words & LATERAL else ""


def _flagged(said: Mapping[str, str]) -> str:
    """Why a film probably has burned-in annotations, by its header."""
    if said["BurnedInAnnotation"].upper() == "YES":
        return "the header says that words are burnt in"
    if said["SOPClassUID"].startswith(_CAPTURES) or said["Modality"].upper() in CAPTURES:
        return "a secondary capture"
    if said["ConversionType"].upper() in _CONVERTED:
        return "digitised, scanned or taken from a screen"
    return "a screenshot" if "SCREEN" in said["ImageType"].upper() else ""
