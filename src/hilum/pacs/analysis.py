"""From a film's bytes to its report: decoded in a process of its own, then through the pipeline."""

from __future__ import annotations

from collections.abc import Callable

from hilum.errors import ReadError
from hilum.guarded import Decoder
from hilum.pacs.faults import TroubleError
from hilum.pipeline import Pipeline
from hilum.types import Report


def analysis(decoder: Decoder, pipeline: Pipeline) -> Callable[[bytes], Report]:
    """The function that does it. A film at which the decoder dies may be innocent, and is tried again."""

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
