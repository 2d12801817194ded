"""A DICOMweb archive: which films it has, their bytes, and what is stored in it."""

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

_TEXT = 16 * 2**20  # bytes of an answer that is no film
_PAGE = 200  # instances asked for at a time
_STATUSES = range(200, 600)
_DISLIKED = frozenset({400, 404, 405, 406, 413, 414, 422})

FIELDS = ("StudyDate", "Modality", "BodyPartExamined")

logging.getLogger("dicomweb_client").addHandler(logging.NullHandler())


class Archive:
    """One DICOMweb service. Each thread has its own, for sessions are not made to be shared.

    dicomweb-client searches. Fetching and storing go past it: it reads an answer of any length, takes a part
    without its end for whole, parses a film in this process, and drops what a status of 409 says.
    Every method raises TroubleError, also once `over` is true.
    """

    def __init__(self, settings: Settings, over: Callable[[], bool] = lambda: False) -> None:
        self._url = settings.url
        self._films = Door(settings, limit=settings.limit, over=over)
        self._texts = Door(settings, limit=_TEXT, over=over)
        self._receipts = Door(settings, limit=_TEXT, accepted=_STATUSES, over=over)
        # Some devices write UIDs with leading zeros. What goes into an address was checked by `is_uid`.
        self._client = DICOMwebClient(
            settings.url, session=self._texts, timeout=settings.timeout, permissive_uid=True
        )
        self._client.set_http_retry_params(retry=False)  # the worker waits between tries, not here

    def pages(self, filters: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
        """Search instances page by page, each instance as DICOM JSON with FIELDS.

        The pages end with an empty one: an archive may give fewer at a time than it is asked for.
        """
        offset, before = 0, None
        while page := self._search(filters, limit=_PAGE, offset=offset):
            if page == before:  # an archive that knows no offset would answer the same for ever
                return
            yield page
            offset, before = offset + len(page), page

    def has(self, study: str, sop: str) -> bool:
        """Whether an instance is in the archive."""
        found = self._search({"SOPInstanceUID": sop}, study=study, limit=2)
        # An archive that does not know the filter answers with the study's other instances.
        return any(value(item, "00080018") == sop for item in found)

    def ping(self) -> None:
        """Return if the archive lives, which it does too where it only dislikes the question."""
        try:
            # Narrow: some archives search all they have before they heed a limit.
            self._search({"Modality": "CR", "StudyDate": f"{date.today():%Y%m%d}"}, limit=1)
        except TroubleError as trouble:
            if trouble.status not in _DISLIKED:
                raise

    def fetch(self, film: Film) -> bytes:
        """A film's whole file, as it was stored. Also raises HopelessError for one that is too large."""
        if not (is_uid(film.study) and is_uid(film.series) and is_uid(film.sop)):
            raise HopelessError("its identifiers are not valid UIDs")
        url = f"{self._url}/studies/{film.study}/series/{film.series}/instances/{film.sop}"
        try:
            answer = self._films.get(url, headers={"Accept": f"{DICOM}; transfer-syntax=*"})
        except TooLongError:
            raise HopelessError("larger than the limit; raise --limit if it is a sound film") from None
        return only_part(answer.headers.get("Content-Type", ""), answer.content)

    def store(self, results: Sequence[Result]) -> Receipt:
        """Send objects; what the archive says of each, and where it says nothing, what a search finds."""
        kind, body = joined([result.data for result in results])
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        answer = self._receipts.post(f"{self._url}/studies", data=body, headers=headers)
        said = receipt(answer.content, {result.sop for result in results})
        if answer.status_code >= 300 and not (said.stored or said.refused):
            status = answer.status_code
            raise TroubleError(f"the archive answered with status {status} to the results", status)
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
            raise TroubleError("the archive's answer to a search is not DICOM JSON") from None
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise TroubleError("the archive's answer to a search is not DICOM JSON")
        return found


def value(item: dict[str, Any], tag: str) -> str:
    """An element's first value in DICOM JSON as text; empty where there is none."""
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    first = values[0] if isinstance(values, list) and values else ""
    return str(first) if isinstance(first, str | int | float) else ""
