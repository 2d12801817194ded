"""The input gate: is this a frontal chest radiograph that the models may judge? If not, it says why.

The checks run in the order of their cost: header, size and grey levels (`admit`), a small network that
recognises wrong pictures (`recognise`, `refuse`), the outlines (`implausible`). `flag` gives warnings about
films that are judged.
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

_SMALLEST = 64  # pixels a side; the models were never trained on less
_LONGEST = 2.0  # long side over short side; a chest film is nearly square
RADIOGRAPHS = frozenset({"CR", "DX", "DR", "RG", "RF", ""})  # "" where the header has none
CAPTURES = frozenset({"OT", "SC"})  # any picture, also a radiograph
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
_SURE = 0.9  # likewise; from here up odd outlines are no reason to refuse a film
_NAMED = 0.8  # of one wrong kind; below it the kind is not named
_MIRRORED = 0.7  # probability of mirrored, given that the film is the right way round or mirrored
_HEART_MIRRORED = 0.3  # likewise, if the outlined heart points to the picture's left

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
"""Kind that the network knows -> what is wrong, and the remedy."""


def is_gate(card: Card) -> bool:
    """Whether a model is an input gate, and not a classifier of findings."""
    return {_FRONTAL, *_SENTENCES} <= set(card.labels)


def names_chest(body_part: str) -> bool:
    """Whether BodyPartExamined names the chest, ignoring case and accents."""
    plain = unicodedata.normalize("NFKD", body_part.upper())
    return any(word in "".join(one for one in plain if not unicodedata.combining(one)) for word in _CHEST)


def names_other(body_part: str) -> bool:
    """Whether BodyPartExamined names a part other than the chest; words such as UNKNOWN name no part."""
    return body_part.strip().upper() not in _UNSAID and not names_chest(body_part)


def _is_ours(header: Dataset) -> bool:
    from hilum.reading.dicom_grey import text  # it imports pydicom, which pictures do not need

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
        # Codes of images have two letters (PS3.3 C.7.3.1.1.1); no other word is shown.
        modality = f"modality {origin.modality}" if len(origin.modality) == 2 else "another modality"
        said = f"the header says {modality}; the models read radiographs only"
        reasons.append(_reason("not-radiograph", said))
    if origin.header is not None and _is_ours(origin.header):
        reasons.append(_reason("result", "a result that Hilum made, and no film; give the film itself"))
    if names_other(origin.body_part):
        reasons.append(_reason("not-chest", "the header names another body part than the chest"))
    # A sample of the pixels is enough; all of a large film would take longer than segmentation.
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
    """The reason why a film with these probabilities of kinds may not be judged; empty if none."""
    if _right(kinds) >= _LEAST_RIGHT:
        return ()
    likeliest = max(_SENTENCES, key=lambda kind: kinds.get(kind, 0.0))
    if kinds.get(likeliest, 0.0) < _NAMED:
        likeliest = "other"
    return (_reason(likeliest, _SENTENCES[likeliest]),)


def implausible(anatomy: Anatomy) -> tuple[Reason, ...]:
    """Reasons why the outlines cannot be those of a frontal chest film; empty if none."""
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
    """Whether a film is so surely an upright chest that odd outlines may be due to disease."""
    return _right(kinds) >= _SURE


def shown(anatomy: Anatomy, preparation: Preparation) -> Array:
    """The label map (H, W) uint8 that a classifier gets; blank if the film is to stay whole."""
    # If the chest is found only in part, disease may hide the rest. Classifiers of cropped films were trained
    # on such films uncropped.
    if preparation.cut and implausible(anatomy):
        return np.zeros_like(anatomy.mask)
    return anatomy.mask


def flag(
    radiograph: Radiograph, kinds: Mapping[str, float], measurements: Measurements | None
) -> tuple[Reason, ...]:
    """Warnings about a film that is judged all the same; empty if none."""
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
    """Whether a film may be mirrored; without a network's answer the side of the heart decides."""
    if not kinds:
        return points_left
    share = kinds.get(_OTHER_SIDE, 0.0) / max(_right(kinds), 1e-9)
    return _right(kinds) >= _LEAST_RIGHT and share >= (_HEART_MIRRORED if points_left else _MIRRORED)


def _right(kinds: Mapping[str, float]) -> float:
    """The probability that a film is an upright chest, mirrored or not."""
    return kinds.get(_FRONTAL, 0.0) + kinds.get(_OTHER_SIDE, 0.0)


def _reason(code: str, sentence: str) -> Reason:
    return Reason(code=code, sentence=sentence)
