"""Scores and measurements as a Comprehensive 3D SR after the template TID 1500 (PS3.3 A.35.13, PS3.16)."""

from __future__ import annotations

from pydicom import Dataset

from hilum.dicom import codes
from hilum.dicom.common import KINDS, begun, image_reference, segments, uid_of
from hilum.dicom.source import Source
from hilum.dicom.sr_groups import film_group, label_groups, outline_groups
from hilum.dicom.uids import IMPLEMENTATION
from hilum.types import MAKER, Report


def sr(report: Report, source: Source) -> Dataset:
    """One measurement group for the film and its warnings, one for each outline and one for each label."""
    made = begun(report, source, "sr")
    made.update(_content(report, source))
    made.ContentDate, made.ContentTime = source.date, source.time
    made.CompletionFlag = "COMPLETE"
    made.PreliminaryFlag = "PRELIMINARY"
    made.VerificationFlag = "UNVERIFIED"  # no person has verified it
    made.PerformedProcedureCodeSequence = []
    made.ReferencedPerformedProcedureStepSequence = []
    made.CurrentRequestedProcedureEvidenceSequence = [_evidence(report, source)]
    made.CodingSchemeIdentificationSequence = [codes.own_scheme()]
    return made


def _content(report: Report, source: Source) -> Dataset:
    """The content tree's root item."""
    from highdicom.sr import DeviceObserverIdentifyingAttributes as Device
    from highdicom.sr import MeasurementReport, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes as standard

    device = Device(
        uid=IMPLEMENTATION,
        name="Hilum",
        manufacturer_name=MAKER,
        model_name="Hilum",
    )
    observer = ObserverContext(observer_type=standard.DCM.Device, observer_identifying_attributes=device)
    groups = [
        film_group(report, source),
        *outline_groups(report, source),
        *label_groups(report, source),
    ]
    root: Dataset = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=codes.CHEST_FILM,
        imaging_measurements=groups,
    )[0]
    return root


def _evidence(report: Report, source: Source) -> Dataset:
    """The instances that the document refers to: the film, and the segmentation if any (PS3.3 C.17.2.3)."""
    study = Dataset()
    study.StudyInstanceUID = source.study
    study.ReferencedSeriesSequence = [_series(source.series, image_reference(source))]
    if segments(report):
        outlines = Dataset()
        outlines.ReferencedSOPClassUID = KINDS["seg"][0]
        outlines.ReferencedSOPInstanceUID = uid_of(report, source, "seg")
        own = _series(uid_of(report, source, "seg", "series"), outlines)
        study.ReferencedSeriesSequence.append(own)
    return study


def _series(identifier: str, item: Dataset) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = identifier, [item]
    return series
