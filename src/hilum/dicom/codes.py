"""The codes in the objects: SNOMED CT, DICOM, UCUM, and Hilum's own if those have none."""

from __future__ import annotations

import hashlib

from pydicom import Dataset
from pydicom.sr.coding import Code

from hilum.dicom.values import clean
from hilum.types import DISCLAIMER, MAKER

OWN = "99HILUM"  # a private scheme, named as in PS3.3 Table 8-1


def own(value: str, meaning: str) -> Code:
    """A code of Hilum's own scheme."""
    return Code(value, OWN, meaning)


# PS3.16 CID 7150, CID 4 and CID 244.
ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
LUNG = Code("39607008", "SCT", "Lung")
HEART = Code("80891009", "SCT", "Heart")
THORAX = Code("816094009", "SCT", "Thorax")
RIGHT = Code("24028007", "SCT", "Right")
LEFT = Code("7771000", "SCT", "Left")

PLACES: dict[str, tuple[Code, Code | None]] = {
    "right_lung": (LUNG, RIGHT),
    "left_lung": (LUNG, LEFT),
    "heart": (HEART, None),
}
"""Structure -> what it is, and its side in the patient."""

_FINDINGS = {
    "Atelectasis": Code("46621007", "SCT", "Atelectasis"),
    "Cardiomegaly": Code("8186001", "SCT", "Cardiomegaly"),
    "Consolidation": Code("95436008", "SCT", "Lung consolidation"),
    "Edema": Code("19242006", "SCT", "Pulmonary edema"),
    "Pleural Effusion": Code("60046008", "SCT", "Pleural effusion"),
    "No Finding": Code("111286", "DCM", "No abnormality"),
}

# PS3.16 CID 240.
PRESENT = Code("52101004", "SCT", "Present")
ABSENT = Code("272519000", "SCT", "Absent")
OPEN = Code("373068000", "SCT", "Undetermined")

PROBABILITY = Code("122157", "DCM", "Probability")
THRESHOLD = own("threshold", "Probability from which a label is called")
AREA = Code("42798000", "SCT", "Area")
AREA_PIXELS = own("area-pixels", "Area in pixels of the image")
AREA_SHARE = own("area-share", "Area as a share of the image's")
RATIO = own("ct-ratio", "Cardiothoracic ratio")
HEART_WIDTH = own("heart-width", "Greatest horizontal extent of the heart")
THORAX_WIDTH = own("thorax-width", "Greatest horizontal extent of both lungs")
QUALITY = own("expected-dice", "Dice coefficient expected of the outline")

TRUST = own("outline-trust", "Whether the outline can be relied on")
RELIABLE = own("reliable", "Reliable")
UNRELIABLE = own("unreliable", "Not reliable")
JUDGEMENT = own("judgement", "Whether the film was judged")
JUDGED = own("judged", "Judged")
REJECTED = own("rejected", "Rejected")

COMMENT = Code("121106", "DCM", "Comment")
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
ACQUISITION = Code("109101", "DCM", "Acquisition Equipment")
CHEST_FILM = Code("399208008", "SCT", "Plain chest X-ray")
NETWORK = Code("123110", "DCM", "Artificial Intelligence")

ONE = Code("1", "UCUM", "no units")
CM2 = Code("cm2", "UCUM", "square centimeter")
MM = Code("mm", "UCUM", "millimeter")
PIXELS = Code("{pixels}", "UCUM", "pixels")


def finding(label: str) -> Code:
    """The code of a label: SNOMED CT's for Hilum's six, one of Hilum's scheme for other labels."""
    # A code has at most 16 characters, a label any number.
    return _FINDINGS.get(label) or own(
        f"label-{hashlib.sha256(label.encode()).hexdigest()[:8]}", clean(label, 64)
    )


def coded(code: Code) -> Dataset:
    """A code as an item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code[:3]
    return item


def own_scheme() -> Dataset:
    """What identifies Hilum's scheme in an object that uses it (PS3.3 C.12.1.1.9)."""
    item = Dataset()
    item.CodingSchemeDesignator = OWN
    item.CodingSchemeName = "Codes of the research software Hilum"
    item.CodingSchemeResponsibleOrganization = f"{MAKER}. {DISCLAIMER}"
    return item
