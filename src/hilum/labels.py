"""The six labels, and each data set's own names for them."""

from __future__ import annotations

import re

SIX: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Pleural Effusion",
    "No Finding",
)

FINDINGS: tuple[str, ...] = SIX[:5]

NO_FINDING = SIX[5]

_SYNONYMS = {
    "effusion": "Pleural Effusion",
    "pleural effusion": "Pleural Effusion",
    "pulmonary edema": "Edema",
    "oedema": "Edema",
    "pulmonary oedema": "Edema",
    "enlarged heart": "Cardiomegaly",
    "none": "No Finding",
    "normal": "No Finding",
    "no findings": "No Finding",
}


def canonical(name: str) -> str:
    """The label a free spelling means: numbering, case, ``_`` and ``-`` are ignored.

    ``"10. PLEURAL EFFUSION"`` -> ``"Pleural Effusion"``; an unknown name comes back in title case.
    """
    words = re.sub(r"[_\-\s]+", " ", re.sub(r"^\s*\d+[\s.)_\-]*(?=[^\W\d_])", "", name)).strip().lower()
    if words in _SYNONYMS:
        return _SYNONYMS[words]
    for label in SIX:
        if words == label.lower():
            return label
    return words.title()
