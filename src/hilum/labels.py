"""The six labels, the names that data sets use for them, and the policies for uncertain labels."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeAlias

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

UNCERTAIN = -1.0
"""Value of a label that a source calls uncertain; `settle` replaces it before training or scoring."""

CONCLUDED = -2.0
"""Value of a No Finding that is derived from findings of which one is UNCERTAIN; `settle` replaces it."""

DEVICES = "Support Devices"
"""The one label of the CheXpert labeler that does not affect No Finding."""

Policy: TypeAlias = Literal["ignore", "zero", "one"] | float | tuple[float, float]
"""What an uncertain label becomes: unknown, 0, 1, a probability, or one drawn uniformly from a range."""

VIEW = "view"
"""The target, learned beside labels, whether a film is AP."""

OTHERS = "others"
"""The name that stands for all labels a policy does not name."""

# Spelling (lower case, single spaces) -> label. The first lines are the six labels; the rest unify names
# that differ between sources. Names not listed here are returned in title case.
_SYNONYMS = {
    "pulmonary atelectasis": "Atelectasis",  # Open-I
    "atelectases": "Atelectasis",
    "enlarged heart": "Cardiomegaly",
    "lung consolidation": "Consolidation",
    "pulmonary edema": "Edema",  # Open-I, PadChest
    "oedema": "Edema",
    "pulmonary oedema": "Edema",
    "effusion": "Pleural Effusion",  # NIH
    "pleural effusion": "Pleural Effusion",
    "none": "No Finding",
    "normal": "No Finding",  # Open-I, PadChest, RSNA, Shenzhen, Montgomery, COVID-QU-Ex
    "no findings": "No Finding",
    "airspace opacity": "Lung Opacity",  # MIMIC-CXR's test set
    "opacity": "Lung Opacity",  # Open-I
    "covid 19": "COVID-19",
    "covid": "COVID-19",
    "copd": "COPD",  # VinDr
    "enlarged pa": "Enlarged Pulmonary Artery",  # VinDr
    "ild": "Interstitial Lung Disease",  # VinDr
    "infiltrate": "Infiltration",  # NIH's boxes, Open-I
    "infiltrates": "Infiltration",  # PadChest
    "pulmonary emphysema": "Emphysema",  # Open-I
    "pulmonary fibrosis": "Fibrosis",  # Open-I, PadChest, VinDr
    "fractures, bone": "Fracture",  # Open-I
    "hernia, hiatal": "Hernia",  # Open-I
    "hiatal hernia": "Hernia",  # PadChest
    "multiple nodules": "Nodule",  # PadChest
    "other disease": "Other Diseases",  # VinDr's test part; its training part has the plural
}


@cache
def canonical(name: str) -> str:
    """The label that a spelling means; numbering, case, ``_`` and ``-`` are ignored.

    ``"10. PLEURAL EFFUSION"`` -> ``"Pleural Effusion"``; an unknown name comes back in title case.
    """
    words = re.sub(r"[_\-\s]+", " ", re.sub(r"^\s*\d+[\s.)_\-]*(?=[^\W\d_])", "", name)).strip().lower()
    if words in _SYNONYMS:
        return _SYNONYMS[words]
    for label in SIX:
        if words == label.lower():
            return label
    return words.title()


def settle(
    labels: Mapping[str, float],
    film: str,
    uncertain: Policy | Mapping[str, Policy] = "ignore",
    unmentioned: Literal["ignore", "zero"] = "ignore",
) -> Mapping[str, float]:
    """Replace UNCERTAIN labels of one film, and keep unmentioned ones (NaN) or set them to 0.

    A No Finding that is CONCLUDED becomes 1 minus the highest of the settled findings. It is unknown (NaN)
    if one of them is unknown and none is 1.

    `uncertain` is one policy, or one for each label with OTHERS for those not named; the default is "ignore"
    (NaN). A range such as (0.55, 0.85) gives a value drawn uniformly from it, seeded by the names of film and
    label: the same at every call. Sources: Irvin et al., AAAI 2019 (ignore, zeroes, ones); Pham et al.,
    Neurocomputing 2021 (ranges).
    """
    values = labels.values()
    if (
        UNCERTAIN not in values
        and CONCLUDED not in values
        and (unmentioned == "ignore" or not any(map(math.isnan, values)))
    ):
        return labels
    settled = {}
    for name, value in labels.items():
        if value == UNCERTAIN:
            settled[name] = _certain(_policy(uncertain, name), film, name)
        else:
            settled[name] = 0.0 if unmentioned == "zero" and math.isnan(value) else value
    if labels.get(NO_FINDING) == CONCLUDED:
        found = [value for name, value in settled.items() if name not in (NO_FINDING, DEVICES)]
        known = [value for value in found if not math.isnan(value)]
        highest = max(known, default=math.nan)
        settled[NO_FINDING] = 1.0 - highest if highest == 1 or len(known) == len(found) else math.nan
    return settled


def _policy(uncertain: Policy | Mapping[str, Policy], label: str) -> Policy:
    if isinstance(uncertain, Mapping):
        return uncertain.get(label, uncertain.get(OTHERS, "ignore"))
    return uncertain


def _certain(policy: Policy, film: str, label: str) -> float:
    if isinstance(policy, str):
        return {"ignore": math.nan, "zero": 0.0, "one": 1.0}[policy]
    if isinstance(policy, tuple):
        low, high = policy
        return low + (high - low) * zlib.crc32(f"{film} {label}".encode()) / 2**32
    return float(policy)


def as_labels(names: tuple[str, ...]) -> tuple[str, ...]:
    """The labels that a user wrote, in canonical spelling; raises ValueError if two are the same.

    ``"view"``, which may be learned beside labels, stays as it is.
    """
    found = tuple(name if name == VIEW else canonical(name) for name in names)
    if twice := [name for name in found if found.count(name) > 1]:
        raise ValueError(f"label {twice[0]!r} is named twice; name it once")
    return found


def policies(given: Any) -> Policy | dict[str, Policy]:
    """Check what a user wrote as policy for uncertain labels; raises ValueError with the remedy.

    Lists, TOML's form of a range, become tuples, and labels get their canonical spelling.
    """
    if isinstance(given, Mapping):
        return {name if name == OTHERS else canonical(name): _checked(one) for name, one in given.items()}
    return _checked(given)


def _checked(given: Any) -> Policy:
    if given in ("ignore", "zero", "one"):
        policy: Policy = given
        return policy
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= 1:
        return float(given)
    if isinstance(given, list | tuple) and len(given) == 2:
        low, high = (_checked(one) for one in given)
        if isinstance(low, float) and isinstance(high, float) and low <= high:
            return low, high
    raise ValueError(
        f"uncertain: {given!r}; give 'ignore', 'zero', 'one', a probability, or two of them, as [0.55, 0.85]"
    )
