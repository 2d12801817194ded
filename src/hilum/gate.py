"""Is this a frontal chest radiograph that the models may judge? Reasons, never silence."""

from __future__ import annotations

import numpy as np

from hilum.types import Anatomy, Radiograph

_SMALLEST = 64  # pixels a side; the models were never shown less
_LONGEST = 2.0  # long side over short side; a chest film is nearly square
_MODALITIES = {"CR", "DX", "DR", "RG", "OT", "SC", "RF", "XA", "XC", ""}
_CHEST = ("CHEST", "THORAX", "LUNG", "HEART", "RIB", "STERNUM", "PORT", "TORAX", "TRUNK")
_LATERAL = {"LL", "RL", "LLD", "RLD", "LATERAL", "LAT"}
_LEAST_LUNG = 0.02  # of the image's area, either lung
_LEAST_LUNGS = 0.10  # both together
_LEAST_QUALITY = 0.75  # the Dice to expect of either lung


def admit(radiograph: Radiograph) -> tuple[str, ...]:
    """Reasons, from the header and the size alone, why the models may not judge a film; empty if none."""
    reasons = []
    height, width = radiograph.pixels.shape
    if min(height, width) < _SMALLEST:
        reasons.append(f"{width} x {height} pixels; the models need at least {_SMALLEST} a side")
    if max(height, width) > _LONGEST * min(height, width):
        reasons.append(f"{width} x {height} pixels is too long for a chest film; crop it to the chest")
    if (radiograph.view or "").upper() in _LATERAL:
        reasons.append(f"the header says view {radiograph.view}; the models read frontal films only")
    origin = radiograph.origin
    if origin.modality not in _MODALITIES:
        reasons.append(f"the header says modality {origin.modality[:16]}; the models read radiographs only")
    if origin.body_part and not any(word in origin.body_part for word in _CHEST):
        reasons.append("the header names another body part than the chest")
    return tuple(reasons)


def implausible(anatomy: Anatomy) -> tuple[str, ...]:
    """Reasons why the outlines are not those of a frontal chest film; empty if none."""
    reasons = []
    areas = np.bincount(anatomy.mask.ravel(), minlength=4)[1:3] / anatomy.mask.size
    for name, area in zip(("right", "left"), areas, strict=True):
        if area < _LEAST_LUNG:
            reasons.append(f"no {name} lung found")
    if not reasons and areas.sum() < _LEAST_LUNGS:
        reasons.append(f"the lungs fill only {areas.sum():.0%} of the image; crop it to the chest")
    if not reasons:
        quality = min(anatomy.quality["right_lung"], anatomy.quality["left_lung"])
        if quality < _LEAST_QUALITY:
            reasons.append(f"the lungs' outlines are unsure (quality {quality:.2f}, needs {_LEAST_QUALITY})")
    return tuple(reasons)
