"""The DICOMweb interface of a PACS: search, fetch and store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

from dicomweb_client import DICOMwebClient

from hilum.dicom.values import is_uid
from hilum.pacs.door import Door
from hilum.pacs.faults import HopelessError, TooLongError, TroubleError
from hilum.pacs.multipart import DICOM, joined, only_part
from hilum.pacs.receipt import Receipt, receipt
from hilum.pacs.records import Film, Result, Settings

_TEXT = 16 * 2**20  # bytes of an answer other than a film
_PAGE = 200  # instances per search
_STATUSES = range(200, 600)
_DISLIKED = frozenset({400, 404, 405, 406, 413, 414, 422})

FIELDS = ("StudyDate", "Modality", "BodyPartExamined")

logging.getLogger("dicomweb_client").addHandler(logging.NullHandler())


class Archive:
    """One DICOMweb service. Each thread needs its own: sessions must not be shared.

    Searches use dicomweb-client. Fetching and storing do not: it reads an answer of any length, accepts a
    part without its end, parses films in this process, and ignores the body of a status 409.
    Every method raises TroubleError, also once `over` returns True.
    """

    def __init__(self, settings: Settings, over: Callable[[], bool] = lambda: False) -> None:
        self._url = settings.url
        self._films = Door(settings, limit=settings.limit, over=over)
        self._texts = Door(settings, limit=_TEXT, over=over)
        self._receipts = Door(settings, limit=_TEXT, accepted=_STATUSES, over=over)
        # Some devices write UIDs with leading zeros. UIDs in addresses are checked by `is_uid`.
        self._client = DICOMwebClient(
            settings.url, session=self._texts, timeout=settings.timeout, permissive_uid=True
        )
        self._client.set_http_retry_params(retry=False)  # the worker waits between attempts, not this client

    def pages(self, filters: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
        """Search instances page by page, each instance as DICOM JSON with FIELDS.

        The search ends at an empty page: a PACS may return fewer instances than requested.
        """
        offset, before = 0, None
        while page := self._search(filters, limit=_PAGE, offset=offset):
            if page == before:  # a PACS without offsets would repeat the same page for ever
                return
            yield page
            offset, before = offset + len(page), page

    def has(self, study: str, sop: str) -> bool:
        """Whether an instance is in the PACS."""
        found = self._search({"SOPInstanceUID": sop}, study=study, limit=2)
        # A PACS that ignores the filter answers with other instances of the study.
        return any(value(item, "00080018") == sop for item in found)

    def ping(self) -> None:
        """Return if the PACS answers, even if it only rejects the query."""
        try:
            # Narrow: some systems search everything before they apply the limit.
            self._search({"Modality": "CR", "StudyDate": f"{date.today():%Y%m%d}"}, limit=1)
        except TroubleError as trouble:
            if trouble.status not in _DISLIKED:
                raise

    def fetch(self, film: Film) -> bytes:
        """A film's whole file, as stored. Also raises HopelessError if it is too large."""
        if not (is_uid(film.study) and is_uid(film.series) and is_uid(film.sop)):
            raise HopelessError("its identifiers are not valid UIDs")
        url = f"{self._url}/studies/{film.study}/series/{film.series}/instances/{film.sop}"
        try:
            answer = self._films.get(url, headers={"Accept": f"{DICOM}; transfer-syntax=*"})
        except TooLongError:
            raise HopelessError("larger than the limit; raise --limit if the film is valid") from None
        return only_part(answer.headers.get("Content-Type", ""), answer.content)

    def store(self, results: Sequence[Result]) -> Receipt:
        """Store objects; the answer for each, or for objects it does not mention, the outcome of a search."""
        kind, body = joined([result.data for result in results])
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        answer = self._receipts.post(f"{self._url}/studies", data=body, headers=headers)
        said = receipt(answer.content, {result.sop for result in results})
        if answer.status_code >= 300 and not (said.stored or said.refused):
            status = answer.status_code
            raise TroubleError(f"the PACS answered with status {status} to the results", status)
        found = {one.sop for one in results if one.sop in said.unknown and self.has(one.study, one.sop)}
        return Receipt(stored=said.stored | found, refused=said.refused, unknown=said.unknown - found)

    def _search(
        self, filters: dict[str, str], *, study: str | None = None, limit: int, offset: int = 0
    ) -> list[dict[str, Any]]:
        try:
            found = self._client.search_for_instances(
                study_instance_uid=study,
                limit=limit,
                offset=offset,
                fields=FIELDS,
                search_filters=filters,
            )
        except (ValueError, TypeError, RecursionError):
            raise TroubleError("the answer of the PACS to a search is not DICOM JSON") from None
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise TroubleError("the answer of the PACS to a search is not DICOM JSON")
        return found


def value(item: dict[str, Any], tag: str) -> str:
    """The first value of an element in DICOM JSON as text; empty if there is none."""
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    first = values[0] if isinstance(values, list) and values else ""
    return str(first) if isinstance(first, str | int | float) else ""
