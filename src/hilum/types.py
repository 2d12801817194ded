"""The frozen records that flow through Hilum; the logic is in the modules that they call.

Right and left are always the patient's. Arrays are NumPy arrays indexed (row, column).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy.typing as npt

from hilum.errors import UnknownLabelError

if TYPE_CHECKING:
    from hilum.card import Card

Array: TypeAlias = npt.NDArray[Any]

Explain: TypeAlias = Literal["evidence", "occlusion", "none"]
"""How heatmaps are made; a model without evidence is explained by occlusion."""

STRUCTURES: tuple[str, ...] = ("right_lung", "left_lung", "heart")
"""Names of the outlined structures; an Anatomy mask stores their position here plus one."""

LUNG_OF_UNKNOWN_SIDE = 4
"""Value in a training mask for lung whose side the data set does not give."""

DISCLAIMER = "Research use only. Not a medical device."

MAKER = "The Hilum developers"
"""Manufacturer of DICOM objects that Hilum writes."""


def now() -> str:
    """The time as in results: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a radiograph came from."""

    path: str  # as the caller gave it; "<bytes>" or "<array>" without a file
    sha256: str  # of the file's or buffer's bytes, lower-case hex
    format: str  # "DICOM", "PNG", "JPEG", "TIFF" or "array"
    header: Any = field(
        default=None, repr=False
    )  # pydicom Dataset without its pixels; None for other formats
    modality: str = ""  # upper case, from the header; "" if it has none
    body_part: str = ""  # likewise
    supine: bool = False  # whether the header says that the patient was supine
    age: float | None = None  # years, from the header
    row_towards: str = ""  # L, R, A, P, H, F: the side of the patient that a row runs towards; "" if unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiograph:
    """One film as the models see it: air dark, bone bright."""

    pixels: Array = field(repr=False)  # (H, W) float32 in [0, 1], air dark
    spacing: tuple[float, float] | None = None  # mm between (rows, columns)
    view: str | None = None  # "PA", "AP", "LL", "RL", ... from the header; None if unknown
    origin: Origin
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        from hilum.reporting.notebook import radiograph_html

        return radiograph_html(self)


Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, width and height as shares of the film's, 0..1."""

Boxes: TypeAlias = Mapping[str, tuple[Box, ...]]
"""Label -> its boxes on the film."""

Tick: TypeAlias = Callable[[int, int, str], None]
"""Reports progress: steps done, steps in total, what is being done."""

Pixels: TypeAlias = Path | Callable[[], Array]
"""A file to read, or a function that makes the array (for generated films)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One film of a data set, not yet opened."""

    id: str  # unique within its source; the same film in two folders has the same id
    patient: str
    image: Pixels
    # 0, 1, or NaN if the source says nothing about this film; absent if the source does not have the
    # label. A soft policy for uncertain labels gives values between 0 and 1.
    labels: Mapping[str, float] = field(default_factory=dict)
    masks: Pixels | None = (
        None  # file, or function -> (H, W) uint8: 0 none, 1.. as STRUCTURES, 4 lung of unknown side
    )
    structures: frozenset[str] = frozenset()  # what `masks` shows: names of STRUCTURES, or "lungs"
    boxes: Boxes | Callable[[], Boxes] | None = None  # where findings lie; a function for generated films
    site: str = ""
    sex: str | None = None  # "F", "M", or None
    age: float | None = None  # years
    view: str | None = None  # "PA", "AP" or None
    study: str | None = None  # films of one examination share it; None if unknown
    part: str | None = None  # of the source's own split: "train", "tune", "test", or None
    published: bool = False  # whether its id is the publisher's, and so means the same film in any folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The films of a data set, and what it lacks, before any film is opened."""

    samples: tuple[Sample, ...]  # its frontal films; a label may also be UNCERTAIN or CONCLUDED
    missing: tuple[str, ...] = ()  # films in its table but not in its folder
    unlisted: tuple[str, ...] = ()  # films in its folder but not in its table
    passed_over: Mapping[str, int] = field(
        default_factory=dict
    )  # why -> number of listed films that are not used
    notes: Mapping[str, int] = field(default_factory=dict)  # note about films -> how many of them
    patients: frozenset[str] = frozenset()  # of all listed films, also of those not used; if known
    # Counts that its publisher states: "films", "films listed", "patients", "patients listed", "with masks"
    # or "label NAME"
    published: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """Outlines on the source's own pixels."""

    mask: Array = field(
        repr=False
    )  # (H, W) uint8: 0 none, 1 right lung, 2 left lung, 3 heart (the patient's right and left)
    quality: Mapping[str, float]  # structure -> 0..1, the Dice to expect of its outline
    unreliable: frozenset[str] = frozenset()  # structures whose outline is not reliable
    needed: Mapping[str, float] = field(default_factory=dict)  # structure -> least quality of a reliable one


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Measurements of the outlines; None where a structure was not found."""

    cardiothoracic_ratio: float | None  # widest heart over widest lungs; None also if not reliable
    right_lung_fraction: float  # of the image's area
    left_lung_fraction: float  # of the image's area
    right_lung_pixels: int = 0  # of the source image
    left_lung_pixels: int = 0
    lung_symmetry: float | None = None  # area of the smaller lung over that of the larger, 0..1
    heart_offset: float | None = (
        None  # from the thorax's middle to the heart's, positive to the picture's right, in heart widths
    )
    heart_span: tuple[int, int] | None = None  # source columns, the end excluded
    thorax_span: tuple[int, int] | None = None
    right_lung_cm2: float | None = None  # None without pixel spacing
    left_lung_cm2: float | None = None
    heart_width_mm: float | None = None
    thorax_width_mm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One label of a Prediction."""

    label: str
    probability: float  # calibrated, 0..1
    threshold: float  # 0..1, on the same scale
    positive: bool  # probability >= threshold; for No Finding also no finding called
    abstained: bool  # too close to the threshold to call
    plausible: str = ""  # answers not excluded: present, absent, either, neither; "" without prediction set


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Scores and calls of the classifier; all tuples are in the order of `labels`."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    thresholds: tuple[float, ...]
    positive: tuple[bool, ...]
    abstained: tuple[bool, ...]
    plausible: tuple[str, ...] = ()
    stage: str = "general"  # "specialist" if a specialist was used

    @property
    def scores(self) -> tuple[Score, ...]:
        """One Score for each label, in the order of `labels`."""
        return tuple(self[label] for label in self.labels)

    def __iter__(self) -> Iterator[str]:
        """The labels, as a mapping gives its keys."""
        return iter(self.labels)

    def __contains__(self, label: object) -> bool:
        return isinstance(label, str) and self._place(label) is not None

    def __getitem__(self, label: str) -> Score:
        """The score of one label, in whatever case; raises UnknownLabelError for other labels."""
        i = self._place(label)
        if i is None:
            raise UnknownLabelError(f"{label!r}: no label of this model; it scores {', '.join(self.labels)}")
        return Score(
            label=self.labels[i],
            probability=self.probabilities[i],
            threshold=self.thresholds[i],
            positive=self.positive[i],
            abstained=self.abstained[i],
            plausible=self.plausible[i] if self.plausible else "",
        )

    def _place(self, label: str) -> int | None:
        wanted = label.casefold().replace("_", " ")
        return next((i for i, name in enumerate(self.labels) if name.casefold() == wanted), None)

    def _repr_html_(self) -> str:
        from hilum.reporting.notebook import prediction_html

        return prediction_html(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heatmap:
    """Where the evidence for a label lies; stored as coarse cells, laid over the film on demand."""

    cells: Array = field(repr=False)  # (h, w) float32, logit units; of "evidence" the mean is the logit
    shape: tuple[int, int]  # (H, W) of the film
    part: tuple[slice, slice] | None = None  # rows and columns of the film that the cells span; None: all
    baseline: float = 0.0  # the logit at which the label turns positive; more is evidence for it
    label: str
    method: str  # "evidence": exact parts of the logit; "occlusion": baseline and what hiding a place costs
    in_lungs: float  # share of the evidence above the baseline inside lungs and heart, 0..1; NaN if none
    lift: float = float(
        "nan"
    )  # its share around the chest over the chest's share of the area seen; 1: as if spread evenly

    @property
    def values(self) -> Array:
        """The map on the source's own pixels, (H, W) float32 in logit units; computed at each call."""
        return self.over(self.shape)

    def over(self, shape: tuple[int, int]) -> Array:
        """The map over the whole film at `shape` rows and columns, (h, w) float32 in logit units."""
        from hilum.explain import laid

        return laid(self, shape)

    def _repr_html_(self) -> str:
        from hilum.reporting.notebook import heatmap_html

        return heatmap_html(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a film may not be judged, or a warning about one that is."""

    code: str  # one word, the same for equal reasons: "small", "turned", "child", ...
    sentence: str  # what is wrong, and the remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All results of one film."""

    status: Literal["ok", "rejected"]
    reasons: tuple[Reason, ...] = ()  # why it was rejected
    flags: tuple[Reason, ...] = ()  # warnings
    radiograph: Radiograph
    anatomy: Anatomy | None  # None if the segmenter did not run
    measurements: Measurements | None
    prediction: Prediction | None  # None when rejected
    heatmaps: tuple[Heatmap, ...] = ()
    cards: Mapping[str, Card] = field(
        repr=False
    )  # "gate", "segment", "classify" or "specialist" -> the card of the model that did it
    notes: tuple[str, ...] = ()
    created: str  # UTC, ISO 8601

    def save(self, path: str | Path) -> Path:
        """Write the report in the form that the ending of `path` names.

        ``.json``, ``.html``, ``.png`` (the overlay); for DICOM films also ``.seg.dcm``, ``.sr.dcm``,
        ``.sc.dcm`` (secondary capture), ``.gsps.dcm`` (presentation state).
        """
        from hilum.report_files import save

        return save(self, Path(path))

    def _repr_html_(self) -> str:
        from hilum.reporting.notebook import report_html

        return report_html(self)
