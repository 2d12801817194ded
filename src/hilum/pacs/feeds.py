"""The sources of new films: searches over DICOMweb, and Orthanc's list of changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from hilum.dicom.values import is_uid
from hilum.gate import names_other
from hilum.pacs.archive import Archive, value
from hilum.pacs.door import Door
from hilum.pacs.events import key, tell
from hilum.pacs.faults import TooLongError, TroubleError
from hilum.pacs.records import Film, Settings

# SOP classes (PS3.4 table B.5-1). Hilum's own results have others, whatever their modality.
_COMPUTED = "1.2.840.10008.5.1.4.1.1.1"
_DIGITAL = "1.2.840.10008.5.1.4.1.1.1.1"
_RAW = "1.2.840.10008.5.1.4.1.1.1.1.1"
TAKEN = frozenset({_COMPUTED, _DIGITAL, _RAW})

_ORTHANC_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}", re.ASCII)
_GONE = 404  # deleted meanwhile
_PAGE = 500  # changes per request
_TEXT = 16 * 2**20  # bytes

Offer = Callable[[Sequence[Film], Mapping[str, str]], None]
"""Queues films and saves the feed's marks, both or neither."""


def film(item: Mapping[str, str], oldest: date | None) -> Film | None:
    """The film with these attributes; None if it is not a CR or DX image, is too old, or lacks valid UIDs."""
    if item.get("SOPClassUID") not in TAKEN:
        return None
    told = item.get("StudyDate", "").replace(".", "")[:8]
    if oldest is not None and told.isdecimal() and told < f"{oldest:%Y%m%d}":
        return None
    # A UID of odd length is padded (PS3.5 section 6.2); not every PACS removes the padding.
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    uids = [item.get(name, "").rstrip("\0 ") for name in names]
    if not all(is_uid(uid) for uid in uids):
        _unusable(key(uids[2]))
        return None
    return Film(study=uids[0], series=uids[1], sop=uids[2], refusal=_refusal(item))


@lru_cache(1000)
def _unusable(name: str) -> None:
    """Log an instance once, however often a search finds it."""
    tell("unusable", film=name, reason="its identifiers are not valid UIDs")


def _refusal(item: Mapping[str, str]) -> str:
    if item.get("SOPClassUID") == _RAW:
        return "an image for processing, not for presentation (PS3.3 A.26)"
    if names_other(item.get("BodyPartExamined", "")):
        return "the header names another body part than the chest"
    return ""


class Search:
    """Repeated searches of the last days, so that no film is missed.

    Its mark is the day of the last complete search: a worker that was off for a month searches that month.
    """

    def __init__(self, archive: Archive, days: int) -> None:
        self._archive, self._days = archive, days

    def look(self, offer: Offer, place: Mapping[str, str], today: date) -> None:
        """Search once and offer the films page by page. Raises TroubleError."""
        oldest = None
        if self._days:
            last = min(today, date.fromisoformat(place.get("searched", f"{today}")))
            oldest = last - timedelta(days=self._days)
        for modality in ("CR", "DX"):
            filters = {"Modality": modality} | ({"StudyDate": f"{oldest:%Y%m%d}-"} if oldest else {})
            for page in self._archive.pages(filters):
                found = (film(_named(item), oldest) for item in page)
                offer([one for one in found if one], {})
        offer([], {"searched": f"{today}"})


_NAMES = {
    "SOPClassUID": "00080016",
    "SOPInstanceUID": "00080018",
    "StudyDate": "00080020",
    "BodyPartExamined": "00180015",
    "StudyInstanceUID": "0020000D",
    "SeriesInstanceUID": "0020000E",
}


def _named(item: dict[str, Any]) -> dict[str, str]:
    return {name: value(item, tag) for name, tag in _NAMES.items()}


_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Statuses of a server that is starting, or of a proxy in front of one."""


def orthanc(settings: Settings, over: Callable[[], bool] = lambda: False) -> str | None:
    """The address of Orthanc's REST API; None for another PACS.

    With "auto", it is the part of the address before the plugin's usual ``/dicom-web``. Raises TroubleError
    if nothing answers.
    """
    if settings.orthanc != "auto":
        return None if settings.orthanc == "no" else settings.orthanc.rstrip("/")
    root = settings.url.removesuffix("/dicom-web")
    if root == settings.url:
        return None
    try:
        system = Door(settings, limit=_TEXT, over=over).get(f"{root}/system").json()
    except (ValueError, RecursionError):
        return None
    except TroubleError as trouble:
        if trouble.status and trouble.status not in _PASSING:
            return None
        raise
    return root if isinstance(system, dict) and "DicomAet" in system and "ApiVersion" in system else None


class Changes:
    """Orthanc's list of changes: the films that arrived since the last query."""

    def __init__(self, settings: Settings, url: str, over: Callable[[], bool]) -> None:
        self._door, self._url, self._days = Door(settings, limit=_TEXT, over=over), url, settings.days

    def look(self, offer: Offer, place: Mapping[str, str], today: date) -> bool:
        """Offer the new films; False if a search must follow, because the list alone may miss some.

        On the first call, and if Orthanc's database was replaced by one with fewer changes, reading begins at
        the end of the list: its start can be millions of changes ago, and a search finds the existing films.
        Raises TroubleError.
        """
        last = self._number("/changes?last")
        since = int(place.get("changes", "-1"))
        if not 0 <= since <= last:
            offer([], {"changes": str(last)})
            return False
        oldest = today - timedelta(days=self._days) if self._days else None
        whole = True
        while since < last:
            answer = self._asked(f"/changes?since={since}&limit={_PAGE}")
            found = []
            for name in _arrived(answer):
                try:
                    found.append(self._film(name, oldest))
                except TroubleError as trouble:
                    # An instance that Orthanc cannot describe must not block the others.
                    if not trouble.status and not isinstance(trouble, TooLongError):
                        raise
                    whole = whole and trouble.status == _GONE
            reached = answer.get("Last")
            if not isinstance(reached, int) or reached <= since:
                raise TroubleError("Orthanc's list of changes does not advance")
            since = reached
            offer([one for one in found if one], {"changes": str(since)})
        return whole

    def _film(self, name: str, oldest: date | None) -> Film | None:
        sop_class = self._door.get(f"{self._url}/instances/{name}/metadata/SopClassUid").text.strip()
        if sop_class not in TAKEN:  # Hilum's own results among them
            return None
        tags = self._asked(f"/instances/{name}/simplified-tags")
        return film({keyword: tag for keyword, tag in tags.items() if isinstance(tag, str)}, oldest)

    def _number(self, path: str) -> int:
        last = self._asked(path).get("Last")
        if not isinstance(last, int):
            raise TroubleError("Orthanc's list of changes has no numbers")
        return last

    def _asked(self, path: str) -> dict[str, Any]:
        try:
            answer = self._door.get(self._url + path).json()
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise TroubleError("Orthanc's answer is not JSON")
        return answer


def _arrived(answer: Mapping[str, Any]) -> list[str]:
    """The well-formed Orthanc identifiers of new instances."""
    changes = answer.get("Changes")
    new = [
        change.get("ID")
        for change in (changes if isinstance(changes, list) else ())
        if isinstance(change, dict) and change.get("ChangeType") == "NewInstance"
    ]
    return [name for name in new if isinstance(name, str) and _ORTHANC_ID.fullmatch(name)]
