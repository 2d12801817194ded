"""The fourteen observations of the CheXpert labeler, used by several data sets.

Source: Irvin et al., AAAI 2019: 1 present, 0 absent, -1 uncertain, blank not mentioned. "No Finding" is 1
if the report has none of the others present or uncertain, except support devices; it is never 0.
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


_UNREAD = math.inf  # for a cell with an unusual or wrong spelling


def labels_of(row: Mapping[str, str], path: Path, line: int, columns: Mapping[str, str]) -> dict[str, float]:
    """The labels of a row; `columns` is the table's column -> label."""
    found = {label: LABELS.get(row[name], _UNREAD) for name, label in columns.items()}
    if _UNREAD in found.values():
        found = {label: value(row[name], path, line, name) for name, label in columns.items()}
    return concluded(found)


def columns_of(row: Mapping[str, str], path: Path) -> dict[str, str]:
    """Column -> label, for the columns that are among the fourteen in any spelling.

    Raises DataError if one of the six labels is missing.
    """
    found = {name: canonical(name) for name in row if canonical(name) in FOURTEEN}
    for label in SIX:
        if label not in found.values():
            raise DataError(f"{path}: no column {label!r}; give the makers' own table unchanged")
    return found


def concluded(labels: dict[str, float]) -> dict[str, float]:
    """Fill in what "No Finding" and the findings imply for each other; stated values stay.

    If No Finding is 1, findings that are not mentioned become 0. If it is blank, it becomes 0 if any finding
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
