"""The measurement groups of the structured report (PS3.16 TID 1501 and 1410): film, outlines, labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage

from hilum.card import Card
from hilum.dicom import codes
from hilum.dicom.common import segments, uid_of
from hilum.dicom.source import Source
from hilum.dicom.values import clean
from hilum.reporting.report import ranked
from hilum.types import DISCLAIMER, MAKER, Measurements, Report, Score

_LONGEST = 1024  # characters of a text; the standard sets no limit


def film_group(report: Report, source: Source) -> Any:
    """Whether the film was judged, why not, and warnings."""
    from highdicom.sr import QualitativeEvaluation

    judgement = codes.REJECTED if report.status == "rejected" else codes.JUDGED
    group = _group(
        report,
        source,
        name="Film",
        card=report.cards.get("gate"),
        sites=[_site(codes.THORAX)],
        evaluations=[QualitativeEvaluation(codes.JUDGEMENT, judgement)],
    )
    said = [f"Rejected: {reason.sentence}" for reason in report.reasons]
    said += [f"Note: {flag.sentence}" for flag in report.flags]
    said += [f"Note: {note}" for note in (*report.radiograph.notes, *report.notes, *source.notes)]
    group[0].ContentSequence.extend(_comment(text) for text in (*said, DISCLAIMER))
    return group


def label_groups(report: Report, source: Source) -> Iterator[Any]:
    """For each label the call (present, absent or undetermined), probability and threshold."""
    from highdicom.sr import Measurement, QualitativeEvaluation

    if report.prediction is None:
        return
    most_probable = ranked(report)
    for score in report.prediction.scores:
        numbers = [Measurement(codes.PROBABILITY, float(score.probability), codes.ONE)]
        if score.label not in most_probable:  # those have no threshold
            numbers.append(Measurement(codes.THRESHOLD, float(score.threshold), codes.ONE))
        finding = codes.finding(score.label)
        yield _group(
            report,
            source,
            name=clean(score.label, 64),
            finding=finding,
            card=report.cards.get("classify"),
            second=report.cards.get("specialist"),
            sites=[_site(codes.THORAX)],
            numbers=numbers,
            evaluations=[QualitativeEvaluation(finding, _call(score))],
        )


def _call(score: Score) -> Code:
    if score.abstained:
        return codes.OPEN
    return codes.PRESENT if score.positive else codes.ABSENT


def outline_groups(report: Report, source: Source) -> Iterator[Any]:
    """For each structure that was found its measurements, its quality, and a reference to its segment."""
    from highdicom.sr import (
        Measurement,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        ReferencedSegmentationFrame,
        SourceImageForSegmentation,
        TrackingIdentifier,
    )

    anatomy = report.anatomy
    if anatomy is None:
        return
    for number, name in segments(report).items():
        place, side = codes.PLACES[name]
        numbers = _heart(report.measurements) if name == "heart" else _lung(name, report.measurements)
        if name in anatomy.quality:
            numbers.append((codes.QUALITY, anatomy.quality[name], codes.ONE))
        trust = codes.UNRELIABLE if name in anatomy.unreliable else codes.RELIABLE
        segment = ReferencedSegmentationFrame(
            sop_class_uid=SegmentationStorage,
            sop_instance_uid=uid_of(report, source, "seg"),
            frame_number=number,  # one frame for each segment, in their order
            segment_number=number,
            source_image=SourceImageForSegmentation(source.sop_class, source.sop_instance),
        )
        # The frame identifies the segment, and only one of the two is allowed (PS3.3 C.18.4).
        del segment[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
        yield PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(
                uid=uid_of(report, source, "seg", name), identifier=name.replace("_", " ").capitalize()
            ),
            referenced_segment=segment,
            finding_type=place,
            finding_category=codes.ANATOMY,
            finding_sites=[_site(place, side)],
            algorithm_id=_algorithm(report.cards.get("segment")),
            measurements=[Measurement(what, float(value), unit) for what, value, unit in numbers],
            qualitative_evaluations=[QualitativeEvaluation(codes.TRUST, trust)],
        )


_Number = tuple[Code, float, Code]


def _lung(name: str, measured: Measurements | None) -> list[_Number]:
    if measured is None:
        return []
    cm2, pixels, share = (getattr(measured, f"{name}_{what}") for what in ("cm2", "pixels", "fraction"))
    area = (codes.AREA_PIXELS, pixels, codes.PIXELS) if cm2 is None else (codes.AREA, cm2, codes.CM2)
    return [area, (codes.AREA_SHARE, share, codes.ONE)]


def _heart(measured: Measurements | None) -> list[_Number]:
    """Measurements of the heart, with the cardiothoracic ratio: a group of the template has one region."""
    if measured is None:
        return []
    found = (
        (codes.RATIO, measured.cardiothoracic_ratio, codes.ONE),
        (codes.HEART_WIDTH, measured.heart_width_mm, codes.MM),
        (codes.THORAX_WIDTH, measured.thorax_width_mm, codes.MM),
    )
    return [(what, value, unit) for what, value, unit in found if value is not None]


def _group(
    report: Report,
    source: Source,
    *,
    name: str,
    card: Card | None,
    sites: list[Any],
    evaluations: list[Any],
    second: Card | None = None,
    finding: Code | None = None,
    numbers: list[Any] | None = None,
) -> Any:
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )

    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=uid_of(report, source, "sr", name), identifier=name),
        finding_type=finding,
        algorithm_id=_algorithm(card, second),
        finding_sites=sites,
        measurements=numbers,
        qualitative_evaluations=evaluations,
        source_images=[SourceImageForMeasurementGroup(source.sop_class, source.sop_instance)],
    )


def _algorithm(card: Card | None, second: Card | None = None) -> Any:
    """Name, version, SHA-256 and build of the model (PS3.16 TID 4019), and the specialist's."""
    from highdicom.sr import AlgorithmIdentification

    if card is None:
        return None
    said = [f"sha256={card.sha256}", f"preprocessing={card.preprocessing}"]
    if card.build:
        said.append(f"build={card.build}")
    if second is not None:
        said.append(f"specialist={second.name} {second.version} sha256={second.sha256}")
    return AlgorithmIdentification(
        name=clean(card.name, 64),
        version=clean(card.version, 64),
        parameters=[clean(text, _LONGEST) for text in said],
        manufacturer=MAKER,
    )


def _site(place: Code, side: Code | None = None) -> Any:
    from highdicom.sr import FindingSite

    return FindingSite(anatomic_location=place, laterality=side)


def _comment(text: str) -> Any:
    from highdicom.sr import RelationshipTypeValues, TextContentItem

    return TextContentItem(codes.COMMENT, clean(text, _LONGEST), RelationshipTypeValues.CONTAINS)
