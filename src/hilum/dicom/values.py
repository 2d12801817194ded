"""Which values of a film's header may be copied: those valid for their representation (PS3.5 6.2)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import date
from decimal import Decimal

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.multival import MultiValue
from pydicom.valuerep import PersonName

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def value_of(dataset: Dataset, keyword: str) -> tuple[str, bool]:
    """An element's text, empty if there is none, and whether it is valid.

    A value is not valid if it is too long, has several values instead of one, holds control characters or
    could not be decoded; it is returned as found.
    """
    try:
        value = dataset.get(keyword)
        if value is None or (isinstance(value, MultiValue) and not value):
            return "", True
        text = _declared(str(value).strip(" \0"), dataset)
    except Exception:  # pydicom converts on access, and raises whatever the conversion raises
        return "", False
    plain = isinstance(value, str | PersonName | int | float | Decimal)
    return text, not text or (plain and _VALID[dictionary_VR(keyword)](text))


def values_of(dataset: Dataset, keyword: str) -> list[str]:
    """The texts of an element that may have several values; empty if one of them is not valid."""
    try:
        value = dataset.get(keyword)
        found = [str(one).strip(" \0") for one in (value if isinstance(value, MultiValue) else [value])]
    except Exception:  # as above
        return []
    valid = _VALID[dictionary_VR(keyword)]
    return found if value is not None and all(map(valid, found)) else []


def _declared(text: str, dataset: Dataset) -> str:
    """Decode text beyond ASCII without a declared character set: as UTF-8 if its bytes are UTF-8.

    pydicom decodes it as Latin 1, as most readers do.
    """
    if text.isascii() or dataset.get("SpecificCharacterSet"):
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def is_uid(text: object) -> bool:
    """Whether the text can be a unique identifier (PS3.5 9.1), and so is harmless in an address.

    Leading zeros, unassigned roots and a root alone are not allowed by the standard, but pass: a PACS stores
    such films, and results under another identifier would be lost.
    """
    return isinstance(text, str) and len(text) <= 64 and _UID.fullmatch(text) is not None


def clean(text: str, longest: int) -> str:
    """Hilum's own text as one line that any text element can hold; it is cut with dots if too long."""
    # A backslash separates values (PS3.5 6.4), and control characters are not allowed in one.
    safe = "".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in text)
    line = " ".join(safe.replace("\\", "/").split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


def _text(longest: int) -> Callable[[str], bool]:
    return lambda text: len(text) <= longest and _printable(text)


def _printable(text: str) -> bool:
    # pydicom writes U+FFFD for what it could not decode.
    return not any(
        unicodedata.category(letter)[0] == "C" or letter in "\\\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _is_name(text: str) -> bool:
    groups = text.split("=")
    return (
        len(groups) <= 3
        and _printable(text)
        and all(len(group) <= 64 and group.count("^") <= 4 for group in groups)
    )


def _is_date(text: str) -> bool:
    try:
        return re.fullmatch(r"\d{8}", text, re.ASCII) is not None and bool(date.fromisoformat(text))
    except ValueError:
        return False


_VALID: dict[str, Callable[[str], bool]] = {
    "AS": lambda text: re.fullmatch(r"\d{3}[DWMY]", text, re.ASCII) is not None,
    "CS": lambda text: re.fullmatch(r"[A-Z0-9 _]{1,16}", text) is not None,
    "DA": _is_date,
    "DS": lambda text: len(text) <= 16 and _NUMBER.fullmatch(text) is not None,
    "IS": lambda text: re.fullmatch(r"\d{1,9}", text, re.ASCII) is not None,
    "LO": _text(64),
    "PN": _is_name,
    "SH": _text(16),
    "TM": lambda text: _TIME.fullmatch(text) is not None,
    "UI": is_uid,
}
