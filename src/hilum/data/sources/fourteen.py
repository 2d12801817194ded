"""The fourteen observations of the CheXpert labeler, which several data sets share.

Source: Irvin et al., AAAI 2019: 1 present, 0 absent, -1 uncertain, blank not mentioned. "No Finding" is 1
where the report has none of the others present or uncertain, support devices aside; it is never 0 there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from hilum.data.sources.rows import LABELS, value
from hilum.errors import DataError
from hilum.labels import CONCLUDED, DEVICES, NO_FINDING, SIX, UNCERTAIN, canonical

FOURTEEN = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    DEVICES,
)


_UNREAD = math.inf  # in the place of a cell that is spelled unusually, or wrongly


def labels_of(row: Mapping[str, str], path: Path, line: int, columns: Mapping[str, str]) -> dict[str, float]:
    """The labels of a row; `columns` is the table's column -> label."""
    found = {label: LABELS.get(row[name], _UNREAD) for name, label in columns.items()}
    if _UNREAD in found.values():
        found = {label: value(row[name], path, line, name) for name, label in columns.items()}
    return concluded(found)


def columns_of(row: Mapping[str, str], path: Path) -> dict[str, str]:
    """Column -> label, for those of the row that are among the fourteen in any spelling.

    Raises DataError where one of the six lacks.
    """
    found = {name: canonical(name) for name in row if canonical(name) in FOURTEEN}
    for label in SIX:
        if label not in found.values():
            raise DataError(f"{path}: no column {label!r}; give the makers' own table unchanged")
    return found


def concluded(labels: dict[str, float]) -> dict[str, float]:
    """The labels with what "No Finding" and the findings say of each other; what is stated stays.

    Where No Finding is 1, findings that are not mentioned are 0. Where it is blank, it is 0 if any finding
    is present, CONCLUDED if any is uncertain (`hilum.labels.settle` then derives it), and else stays NaN.
    """
    if NO_FINDING not in labels:
        return labels
    said = labels[NO_FINDING]
    if said == 1:
        for name, known in labels.items():
            if name != DEVICES and math.isnan(known):
                labels[name] = 0.0
    elif math.isnan(said):
        found = [known for name, known in labels.items() if name != DEVICES]
        if 1.0 in found:
            labels[NO_FINDING] = 0.0
        elif UNCERTAIN in found:
            labels[NO_FINDING] = CONCLUDED
    return labels
