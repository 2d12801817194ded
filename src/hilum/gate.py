"""Is this a frontal chest radiograph that the models may judge? Reasons, never silence.

Asked in the order of their cost: header, size and grey levels (`admit`), a small network that knows what a
wrong picture looks like (`recognise`, `refuse`), the outlines (`implausible`). What must be known of a film
that is judged all the same is said by `flag`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hilum.calibration.calibrate import probabilities
from hilum.card import Card, Preparation
from hilum.measure import is_mirrored
from hilum.prepare import prepare
from hilum.reading.views import LATERAL, OBLIQUE
from hilum.runtime import Runtime
from hilum.types import MAKER, Anatomy, Array, Measurements, Radiograph, Reason

if TYPE_CHECKING:
    from pydicom import Dataset

_SMALLEST = 64  # pixels a side; the models were never shown less
_LONGEST = 2.0  # long side over short side; a chest film is nearly square
RADIOGRAPHS = frozenset({"CR", "DX", "DR", "RG", "RF", ""})  # "" where a header does not say
CAPTURES = frozenset({"OT", "SC"})  # any picture; a radiograph may be one
_MODALITIES = RADIOGRAPHS | CAPTURES
_CHEST = (  # without accents
    *("CHEST", "THORAX", "LUNG", "HEART", "RIB", "STERNUM", "PORT", "TRUNK"),
    *("TORAX", "TORACE", "PULM", "POUMON", "BRUSTKORB"),
)
_UNSAID = frozenset({"", "UNKNOWN", "OTHER", "UNSPECIFIED", "UNDEFINED", "NONE"})
_ADULT = 18  # years
_LEAST_RANGE = 0.02  # between the 1st and the 99th percentile of grey levels; less is a blank plate
_LEAST_LUNG = 0.02  # of the image's area, either lung
_LEAST_LUNGS = 0.10  # both together
_LEAST_QUALITY = 0.75  # the Dice to expect of either lung
# Probabilities of the network hilum-gate, chosen on tuning films: benchmarks/gate.py tune.
_LEAST_RIGHT = 0.5  # that a film is the right way round, or that but mirrored; below it is refused
_SURE = 0.9  # likewise; from here on odd outlines are no reason to refuse a film
_NAMED = 0.8  # of one wrong kind; below it, which one is left open
_MIRRORED = 0.7  # of the share of a film that is the right way round, that it is mirrored
_HEART_MIRRORED = 0.3  # likewise, where the outlined heart points to the picture's left

_FRONTAL, _OTHER_SIDE = "frontal", "mirrored"

_SENTENCES = {
    "turned": "the film lies on its side; turn it by 90 degrees",
    "upside-down": "the film stands on its head; turn it by 180 degrees",
    "inverted": "air is bright, the film is inverted; set PhotometricInterpretation, or invert it",
    "cropped": "the lungs are not seen side by side: cut off, or a lateral film; give the whole frontal film",
    "exposure": "most of the film is black or white without detail; export it with its whole range of grey",
    "photograph": "this looks like a photograph of a screen; export the film's own file",
    "other": "this does not look like a frontal chest radiograph the right way round; give one",
}
"""What is said of each kind that the network knows, and the remedy."""


def is_gate(card: Card) -> bool:
    """Whether a model tells wrong pictures, and so is no classifier of films."""
    return {_FRONTAL, *_SENTENCES} <= set(card.labels)


def names_chest(body_part: str) -> bool:
    """Whether BodyPartExamined names the chest, in whatever case, accents left aside."""
    plain = unicodedata.normalize("NFKD", body_part.upper())
    return any(word in "".join(one for one in plain if not unicodedata.combining(one)) for word in _CHEST)


def names_other(body_part: str) -> bool:
    """Whether BodyPartExamined names another part than the chest; words that say nothing name none."""
    return body_part.strip().upper() not in _UNSAID and not names_chest(body_part)


def _is_ours(header: Dataset) -> bool:
    from hilum.reading.dicom_grey import text  # with pydicom, which a picture does without

    return text(header, "Manufacturer") == MAKER.upper()


def admit(radiograph: Radiograph) -> tuple[Reason, ...]:
    """Reasons, from header, size and grey levels, why the models may not judge a film; empty if none."""
    reasons = []
    height, width = radiograph.pixels.shape
    size = f"{width} x {height} pixels"
    if min(height, width) < _SMALLEST:
        reasons.append(_reason("small", f"{size}; the models need at least {_SMALLEST} a side"))
    if max(height, width) > _LONGEST * min(height, width):
        reasons.append(_reason("long", f"{size} is too long for a chest film; crop it to the chest"))
    view, origin = radiograph.view or "", radiograph.origin
    if view.upper() in LATERAL | OBLIQUE:
        said = f"the header says view {view}; the models read frontal films only"
        reasons.append(_reason("lateral", said))
    elif not view and origin.row_towards in ("A", "P"):
        said = "the header's PatientOrientation is a lateral film's; the models read frontal films only"
        reasons.append(_reason("lateral", said))
    if origin.modality not in _MODALITIES:
        # A code of two letters, as all of images are (PS3.3 C.7.3.1.1.1); other words may be anything.
        modality = f"modality {origin.modality}" if len(origin.modality) == 2 else "another modality"
        said = f"the header says {modality}; the models read radiographs only"
        reasons.append(_reason("not-radiograph", said))
    if origin.header is not None and _is_ours(origin.header):
        reasons.append(_reason("result", "a result that Hilum made, and no film; give the film itself"))
    if names_other(origin.body_part):
        reasons.append(_reason("not-chest", "the header names another body part than the chest"))
    # A pixel in so many tells; all of a large film would take longer than its outlines.
    few = radiograph.pixels[:: max(1, height // 256), :: max(1, width // 256)]
    low, high = np.percentile(few, (1, 99))
    if high - low < _LEAST_RANGE:
        reasons.append(
            _reason("blank", "nearly all of the film is of one grey; give a film that shows something")
        )
    return tuple(reasons)


def recognise(runtime: Runtime, film: Radiograph) -> dict[str, float]:
    """What the network hilum-gate takes a film for: kind -> probability, adding up to 1."""
    prepared = prepare(film.pixels, runtime.card.preparation)
    (scores,) = probabilities(runtime(prepared[None])["logits"], runtime.card).tolist()
    return dict(zip(runtime.card.labels, scores, strict=True))


def refuse(kinds: Mapping[str, float]) -> tuple[Reason, ...]:
    """The reason why a film that was taken for these kinds may not be judged; empty if none."""
    if _right(kinds) >= _LEAST_RIGHT:
        return ()
    likeliest = max(_SENTENCES, key=lambda kind: kinds.get(kind, 0.0))
    if kinds.get(likeliest, 0.0) < _NAMED:
        likeliest = "other"
    return (_reason(likeliest, _SENTENCES[likeliest]),)


def implausible(anatomy: Anatomy) -> tuple[Reason, ...]:
    """Reasons why the outlines are not those of a frontal chest film; empty if none."""
    said = []
    areas = [np.count_nonzero(anatomy.mask == value) / anatomy.mask.size for value in (1, 2)]
    for name, area in zip(("right", "left"), areas, strict=True):
        if area < _LEAST_LUNG:
            said.append(f"no {name} lung found")
    if not said and sum(areas) < _LEAST_LUNGS:
        said.append(f"the lungs fill only {sum(areas):.0%} of the image; crop it to the chest")
    if not said:
        quality = min(anatomy.quality["right_lung"], anatomy.quality["left_lung"])
        if quality < _LEAST_QUALITY:
            said.append(f"the lungs' outlines are unsure (quality {quality:.2f}, needs {_LEAST_QUALITY})")
    return tuple(_reason("lungs", sentence) for sentence in said)


def sure(kinds: Mapping[str, float]) -> bool:
    """Whether a film is so surely a chest the right way round that odd outlines may be disease."""
    return _right(kinds) >= _SURE


def shown(anatomy: Anatomy, preparation: Preparation) -> Array:
    """The label map (H, W) uint8 that a classifier is told of; blank where the film is to stay whole."""
    # Of a chest that is only partly found, disease may be what hides the rest: classifiers that see films cut
    # to the chest learned such films whole.
    if preparation.cut and implausible(anatomy):
        return np.zeros_like(anatomy.mask)
    return anatomy.mask


def flag(
    radiograph: Radiograph, kinds: Mapping[str, float], measurements: Measurements | None
) -> tuple[Reason, ...]:
    """What must be known of a film that is not refused for it; empty if nothing."""
    flags = []
    age = radiograph.origin.age
    if age is not None and age < _ADULT:
        flags.append(
            _reason("child", "the header says that the patient is a child; the models learned from adults")
        )
    points_left = measurements is not None and is_mirrored(measurements)
    if radiograph.origin.row_towards == "R":
        said = (
            "the header's PatientOrientation is a mirrored film's; right and left are named as if it were not"
        )
        flags.append(_reason("mirrored", said))
    elif _mirrored(kinds, points_left):
        said = (
            "the film may be mirrored, or the heart lies on the right; right and left are named as if neither"
        )
        flags.append(_reason("mirrored", said))
    return tuple(flags)


def _mirrored(kinds: Mapping[str, float], points_left: bool) -> bool:
    """Whether a film may be mirrored; without a network's word, where its heart points decides."""
    if not kinds:
        return points_left
    share = kinds.get(_OTHER_SIDE, 0.0) / max(_right(kinds), 1e-9)
    return _right(kinds) >= _LEAST_RIGHT and share >= (_HEART_MIRRORED if points_left else _MIRRORED)


def _right(kinds: Mapping[str, float]) -> float:
    """The probability that a film is a chest the right way round, or that but mirrored."""
    return kinds.get(_FRONTAL, 0.0) + kinds.get(_OTHER_SIDE, 0.0)


def _reason(code: str, sentence: str) -> Reason:
    return Reason(code=code, sentence=sentence)
