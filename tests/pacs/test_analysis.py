"""From bytes to objects: decoded apart, made once for all, left out where there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom import dcmread

import hilum
from hilum.errors import ReadError
from hilum.pacs.analysis import analysis, results
from hilum.pacs.faults import TroubleError
from hilum.reading.reader import read
from hilum.types import Reason, Report


@pytest.fixture(scope="module")
def report() -> Callable[[bytes], Report]:
    return hilum.load(explain="none", threads=1)


def test_results_follow_from_the_film_alone_and_a_rejected_film_shows_no_outlines(
    report: Callable[[bytes], Report], tools: SimpleNamespace
) -> None:
    film = tools.dicom(0, AccessionNumber="", StudyID="", StudyTime="", PatientBirthDate="", PatientSex="")
    one = report(film)
    made = results(one, ("seg", "sr", "sc"))
    assert one.status == "rejected"  # noise is no chest
    assert [result.form for result in made] == ["sr", "sc"]
    assert [result.data for result in made] == [result.data for result in results(report(film), ("sr", "sc"))]
    for result in made:
        dataset = dcmread(BytesIO(result.data))
        assert (dataset.SOPInstanceUID, dataset.StudyInstanceUID) == (result.sop, result.study)
        assert result.study == one.radiograph.origin.header.StudyInstanceUID


class Decoder:
    """Reads in this process, and dies when it is told to."""

    def __init__(self, error: ReadError | None = None, *, dies: bool = False) -> None:
        self.deaths, self._error, self._dies = 0, error, dies

    def read(self, data: bytes) -> Any:
        self.deaths += self._dies
        if self._error:
            raise self._error
        return read(data)


def rejecting(film: Any) -> Report:
    return replace(
        Report(
            status="rejected",
            radiograph=film,
            anatomy=None,
            measurements=None,
            prediction=None,
            cards={},
            created="",
        ),
        reasons=(Reason(code="turned", sentence="turned"),),
    )


def test_a_film_is_decoded_and_then_analysed(tools: SimpleNamespace) -> None:
    found = analysis(Decoder(), rejecting)(tools.dicom(0))  # type: ignore[arg-type]
    assert found.radiograph.pixels.shape == (64, 64)


def test_a_film_that_cannot_be_read_is_told_from_one_at_which_the_decoder_died() -> None:
    error = ReadError("<bytes>", "its decoder crashed (signal 9)", "export the film again")
    with pytest.raises(ReadError):
        analysis(Decoder(error), rejecting)(b"")  # type: ignore[arg-type]
    with pytest.raises(TroubleError, match="signal 9"):
        analysis(Decoder(error, dies=True), rejecting)(b"")  # type: ignore[arg-type]
