"""What can go wrong between an archive and the worker, told apart by what helps: waiting, or nothing."""

from __future__ import annotations

from hilum.errors import HilumError


class ArchiveError(HilumError):
    """The archive cannot be worked with at all: it does not answer, or not as one."""


class AwayError(HilumError):
    """The archive as a whole does not answer as it should; it is no film's fault.

    `barred`: it answers, and lets this user do nothing.
    """

    def __init__(self, trouble: TroubleError) -> None:
        super().__init__(str(trouble))
        self.barred = trouble.status in (401, 403)


class TroubleError(HilumError):
    """A request went wrong and may go well another time: no answer, half an answer, an answer of an error.

    `status` is the archive's HTTP status where it answered with one that tells an error, else 0.
    """

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


class TooLongError(TroubleError):
    """An answer of more bytes than may be read."""


class HopelessError(HilumError):
    """A film that no further try will help."""


class DeclinedError(HopelessError):
    """The archive will not have a result; once it is set up otherwise, it may."""
