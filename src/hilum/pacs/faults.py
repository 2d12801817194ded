"""What can go wrong between PACS and worker, by what helps: waiting, or nothing."""

from __future__ import annotations

from hilum.errors import HilumError


class ArchiveError(HilumError):
    """The PACS does not answer, or does not answer as a DICOMweb service."""


class AwayError(HilumError):
    """The PACS as a whole does not answer as it should; no film is to blame.

    `barred`: it answers, but denies this user access.
    """

    def __init__(self, trouble: TroubleError) -> None:
        super().__init__(str(trouble))
        self.barred = trouble.status in (401, 403)


class TroubleError(HilumError):
    """A request failed and may succeed another time: no answer, half an answer, or an error status.

    `status` is the HTTP status if the PACS answered with an error status, else 0.
    """

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


class TooLongError(TroubleError):
    """An answer larger than the limit."""


class HopelessError(HilumError):
    """A film for which no further attempt helps."""


class DeclinedError(HopelessError):
    """The PACS refuses a result; after a change of its settings it may accept it."""
