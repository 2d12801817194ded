"""The frozen records that flow through Hilum; no logic lives here, what they call does it elsewhere.

Right and left are always the patient's. Arrays are NumPy arrays indexed (row, column).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
"""How heatmaps are made; a model that gives no evidence is explained by occlusion in its place."""

STRUCTURES: tuple[str, ...] = ("right_lung", "left_lung", "heart")
"""Names of the outlined structures; an Anatomy mask stores their position here plus one."""

LUNG_OF_UNKNOWN_SIDE = 4
"""Value in a training mask for lung whose side the data set does not tell."""

DISCLAIMER = "Research use only. Not a medical device."

MAKER = "The Hilum developers"
"""Who makes what Hilum writes, in DICOM objects."""


def now() -> str:
    """The time as results carry it: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a radiograph came from."""

    path: str  # as the caller gave it; "<bytes>" or "<array>" where there was no file
    sha256: str  # of the file's or buffer's bytes, lower-case hex
    format: str  # "DICOM", "PNG", "JPEG", "TIFF" or "array"
    header: Any = field(
        default=None, repr=False
    )  # pydicom Dataset without its pixels; None for other formats
    modality: str = ""  # upper case, as the header says; "" where it does not
    body_part: str = ""  # likewise
    supine: bool = False  # whether the header says that the patient lay on the back
    age: float | None = None  # years, as the header says
    row_towards: str = ""  # L, R, A, P, H, F: towards which side of the patient a row runs; "" where unsaid


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiograph:
    """One film as the models see it: air dark, bone bright."""

    pixels: Array = field(repr=False)  # (H, W) float32 in [0, 1], air dark
    spacing: tuple[float, float] | None = None  # mm between (rows, columns)
    view: str | None = None  # "PA", "AP", "LL", "RL", ... as the header says; None if unsaid
    origin: Origin
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        from hilum.reporting.notebook import radiograph_html

        return radiograph_html(self)


Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, width and height as shares of the film's, 0..1."""

Boxes: TypeAlias = Mapping[str, tuple[Box, ...]]
"""Label -> where on the film it lies."""

Tick: TypeAlias = Callable[[int, int, str], None]
"""Progress: steps done, steps in all, what is going on."""

Pixels: TypeAlias = Path | Callable[[], Array]
"""A file to read, or a function that makes the array (for generated films)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One film of a data set, not yet opened."""

    id: str  # unique within its source; the same film in two folders has the same id
    patient: str
    image: Pixels
    # 0, 1, or NaN where the source says nothing of this film; absent where the source does not have the
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
    study: str | None = None  # films of one examination share it; None where the data do not tell
    part: str | None = None  # of the source's own split: "train", "tune", "test", or None
    published: bool = False  # whether its id is its makers' own, and so means the same film wherever it lies


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a data set holds and what it lacks, before a film is opened."""

    samples: tuple[Sample, ...]  # its frontal films; a label may also be UNCERTAIN or CONCLUDED
    missing: tuple[str, ...] = ()  # films that its table lists and its folder lacks
    unlisted: tuple[str, ...] = ()  # films in its folder that its table does not list
    passed_over: Mapping[str, int] = field(default_factory=dict)  # why -> listed films, of no use here
    notes: Mapping[str, int] = field(default_factory=dict)  # what to know of films that are here -> how many
    patients: frozenset[str] = frozenset()  # of all listed films, those of no use here too; where counted
    # What its makers say of the whole: "films", "films listed", "patients", "patients listed", "with masks"
    # or "label NAME"
    published: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """Outlines on the source's own pixels."""

    mask: Array = field(
        repr=False
    )  # (H, W) uint8: 0 none, 1 right lung, 2 left lung, 3 heart (the patient's right and left)
    quality: Mapping[str, float]  # structure -> 0..1, the Dice that may be expected of its outline
    unreliable: frozenset[str] = frozenset()  # structures whose outline must not be relied on


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What the outlines measure; None where a structure was not found."""

    cardiothoracic_ratio: float | None  # widest heart over widest lungs; None also if not reliable
    right_lung_fraction: float  # of the image's area
    left_lung_fraction: float  # of the image's area
    right_lung_pixels: int = 0  # of the source image
    left_lung_pixels: int = 0
    lung_symmetry: float | None = None  # area of the smaller lung over that of the larger, 0..1
    heart_offset: float | None = None  # of its middle from the thorax's to the picture's right, heart widths
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
    positive: bool  # probability >= threshold, and of No Finding no finding called
    abstained: bool  # too close to the threshold to call
    plausible: str = ""  # answers not excluded: present, absent, either, neither; "" where none are promised


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the classifier says; the tuples run in the order of `labels`."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    thresholds: tuple[float, ...]
    positive: tuple[bool, ...]
    abstained: tuple[bool, ...]
    plausible: tuple[str, ...] = ()
    stage: str = "general"  # which model spoke last

    def __getitem__(self, label: str) -> Score:
        wanted = label.casefold().replace("_", " ")
        found = [i for i, name in enumerate(self.labels) if name.casefold() == wanted]
        if not found:
            raise UnknownLabelError(f"{label!r}: no label of this model; it scores {', '.join(self.labels)}")
        i = found[0]
        return Score(
            label=self.labels[i],
            probability=self.probabilities[i],
            threshold=self.thresholds[i],
            positive=self.positive[i],
            abstained=self.abstained[i],
            plausible=self.plausible[i] if self.plausible else "",
        )

    def _repr_html_(self) -> str:
        from hilum.reporting.notebook import prediction_html

        return prediction_html(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heatmap:
    """Where the evidence for a label lies; kept as coarse as it was found, laid over the film when asked."""

    cells: Array = field(repr=False)  # (h, w) float32, logit units; of "evidence" the mean is the logit
    shape: tuple[int, int]  # (H, W) of the film
    part: tuple[slice, slice] | None = None  # rows and columns of the film that the cells span; None: all
    baseline: float = 0.0  # the logit at which the label turns positive; more than that speaks for it
    label: str
    method: str  # "evidence": exact parts of the logit; "occlusion": baseline and what hiding a place costs
    in_lungs: float  # share of the evidence above the baseline inside lungs and heart, 0..1; NaN if none
    lift: float = float(
        "nan"
    )  # its share around the chest over that of the area seen; 1: no better than even

    @property
    def values(self) -> Array:
        """The map on the source's own pixels, (H, W) float32 in logit units, made anew at each call."""
        return self.over(self.shape)

    def over(self, shape: tuple[int, int]) -> Array:
        """The map over the whole film drawn at so many rows and columns, (h, w) float32 in logit units."""
        from hilum.explain import laid

        return laid(self, shape)

    def _repr_html_(self) -> str:
        from hilum.reporting.notebook import heatmap_html

        return heatmap_html(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a film may not be judged, or what must be known of one that is."""

    code: str  # one word, the same for equal reasons: "small", "turned", "child", ...
    sentence: str  # what is wrong, and the remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything Hilum has to say about one film."""

    status: Literal["ok", "rejected"]
    reasons: tuple[Reason, ...] = ()  # why it was rejected
    flags: tuple[Reason, ...] = ()  # what must be known of it all the same
    radiograph: Radiograph
    anatomy: Anatomy | None  # None where the segmenter never ran
    measurements: Measurements | None
    prediction: Prediction | None  # None when rejected
    heatmaps: tuple[Heatmap, ...] = ()
    cards: Mapping[str, Card] = field(
        repr=False
    )  # "gate", "segment" and "classify" -> the card of the model that did it
    notes: tuple[str, ...] = ()
    created: str  # UTC, ISO 8601

    def save(self, path: str | Path) -> Path:
        """Write the report in the form its ending names.

        ``.json``, ``.html``, ``.png`` (the overlay), or of DICOM films ``.seg.dcm``, ``.sr.dcm``, ``.sc.dcm``
        (secondary capture), ``.gsps.dcm`` (presentation state).
        """
        from hilum.report_files import save

        return save(self, Path(path))

    def _repr_html_(self) -> str:
        from hilum.reporting.notebook import report_html

        return report_html(self)
