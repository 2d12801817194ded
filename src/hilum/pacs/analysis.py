"""From a film's bytes to its report, and from the report to the objects for the PACS."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hilum.dicom import dicom_object, encoded, obstacle
from hilum.errors import ReadError
from hilum.pacs.faults import TroubleError
from hilum.pacs.records import Result
from hilum.pipeline import Pipeline
from hilum.reading.guarded import Decoder
from hilum.types import Report


def analysis(decoder: Decoder, pipeline: Pipeline) -> Callable[[bytes], Report]:
    """The function from a film's bytes to its report; the film is decoded in a separate process.

    If the decoder dies, the function raises TroubleError: the film may not be the cause, and is tried again.
    """

    def analyse(data: bytes) -> Report:
        deaths = decoder.deaths
        try:
            film = decoder.read(data)
        except ReadError as error:
            if decoder.deaths > deaths:
                raise TroubleError(error.reason) from None
            raise
        return pipeline(film)

    return analyse


def results(report: Report, forms: Sequence[str]) -> list[Result]:
    """The objects of a report, in the order of `forms`, without those that cannot be made from it.

    A rejected film has no outlines to store; its other objects give the reasons.
    """
    return [_result(report, form) for form in forms if not obstacle(report, form)]


def _result(report: Report, form: str) -> Result:
    made = dicom_object(report, form)
    return Result(
        form=form, study=str(made.StudyInstanceUID), sop=str(made.SOPInstanceUID), data=encoded(made)
    )
