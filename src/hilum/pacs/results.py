"""A report as the objects that go to the archive."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from hilum.dicom import dicom_object, obstacle
from hilum.pacs.records import Result
from hilum.read import hushed
from hilum.types import Report


def results(report: Report, forms: Sequence[str]) -> list[Result]:
    """The objects of a report, in the order of `forms`, without those that cannot be made of it.

    A rejected film, for one, has no outlines to store; its other objects tell why.
    """
    return [_encoded(report, form) for form in forms if not obstacle(report, form)]


def _encoded(report: Report, form: str) -> Result:
    made, file = dicom_object(report, form), BytesIO()
    with hushed():  # what pydicom warns of would quote the patient's header
        made.save_as(file, enforce_file_format=True)
    return Result(
        form=form, study=str(made.StudyInstanceUID), sop=str(made.SOPInstanceUID), data=file.getvalue()
    )
