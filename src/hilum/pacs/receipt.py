"""The answer of a PACS to stored objects (PS3.18 section 10.5.3), read object by object."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from hilum.dicom.values import is_uid

_UID, _FAILURE = "00081155", "00081197"
_FAILED, _STORED = "00081198", "00081199"

_DUPLICATE = 0x0111  # the object is already stored (PS3.7 annex C.5.17)

# Temporary failures: out of resources (A7xx, PS3.4 table B.2-1), processing failure, and no reason given.
_PASSING = frozenset({0x0110, 0x0000, *range(0xA700, 0xA800)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Which of the sent objects the PACS has, which it refuses, and why."""

    stored: frozenset[str]
    refused: dict[str, int]  # UID -> failure reason; sending again would not help
    unknown: frozenset[str]  # not stored for now, or not mentioned in the answer


def receipt(content: bytes, sent: Collection[str]) -> Receipt:
    """Read a STOW-RS answer, whatever its status. After one that is not DICOM JSON, all objects are unknown.

    Orthanc answers 400 without a content type if one of several parts is bad, and still lists the others.
    """
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    stored, refused = set(), {}
    for uid, _ in _items(answer, _STORED):
        stored.add(uid)
    for uid, reason in _items(answer, _FAILED):
        if reason == _DUPLICATE:
            stored.add(uid)
        elif reason not in _PASSING:
            refused[uid] = reason
    refused = {uid: reason for uid, reason in refused.items() if uid in sent and uid not in stored}
    known = stored & set(sent)
    return Receipt(
        stored=frozenset(known), refused=refused, unknown=frozenset(set(sent) - known - refused.keys())
    )


def _items(answer: object, tag: str) -> list[tuple[str, int]]:
    """UID and failure reason of each item of a sequence, without malformed items."""
    found = []
    for item in _values(answer, tag):
        uid, reason = next(iter(_values(item, _UID)), None), next(iter(_values(item, _FAILURE)), 0)
        if is_uid(uid):
            found.append((str(uid), reason if isinstance(reason, int) else 0))
    return found


def _values(item: object, tag: str) -> list[object]:
    element = item.get(tag) if isinstance(item, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []
