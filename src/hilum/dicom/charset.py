"""The character set of the objects: the film's own, so that a name reads the same in both."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding
from pydicom.multival import MultiValue
from pydicom.valuerep import TEXT_VR_DELIMS, PersonName

UNICODE = "ISO_IR 192"  # UTF-8
_ALONE = (UNICODE, "GB18030", "GBK")  # without code extensions
_TEXTS = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")


def terms_of(header: Dataset, notes: list[str]) -> tuple[str, ...]:
    """The values of a film's Specific Character Set; UTF-8 if they are malformed (PS3.3 C.12.1.1.2)."""
    try:
        said = header.get("SpecificCharacterSet")
    except Exception:  # pydicom converts on access, and raises whatever the conversion raises
        said = "?"
    terms = (
        [str(term).strip() for term in said] if isinstance(said, MultiValue) else [str(said or "").strip()]
    )
    if terms in ([], [""], ["ISO_IR 6"]):
        return ()
    if terms[0] in _ALONE:
        return (terms[0],)
    extended = len(terms) > 1
    if all(term in python_encoding and (not extended or term == "" or "2022" in term) for term in terms):
        return tuple(terms)
    notes.append("SpecificCharacterSet of the film is malformed; its text was rewritten as UTF-8")
    return (UNICODE,)


def declare(dataset: Dataset, terms: tuple[str, ...]) -> None:
    """Give a finished data set the character set `terms`, or UTF-8 if they cannot encode all of its text."""
    chosen = terms if all(_survives(*said, terms) for said in _said(dataset)) else (UNICODE,)
    if chosen:
        dataset.SpecificCharacterSet = list(chosen) if len(chosen) > 1 else chosen[0]


def _said(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Value representation and value of each text beyond ASCII."""
    for element in dataset.iterall():
        if element.VR in _TEXTS:
            several = isinstance(element.value, MultiValue)
            for value in element.value if several else [element.value]:
                if not (text := str(value)).isascii():
                    yield element.VR, text


def _survives(vr: str, text: str, terms: tuple[str, ...]) -> bool:
    if not terms:
        return False
    encodings = convert_encodings(list(terms))
    try:
        if vr == "PN":
            return str(PersonName(PersonName(text).encode(encodings), encodings)) == text
        return decode_bytes(encode_string(text, encodings), encodings, TEXT_VR_DELIMS) == text
    except (UnicodeError, LookupError):
        return False
