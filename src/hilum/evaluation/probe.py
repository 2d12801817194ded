"""What a network's features hold: a linear probe on them, judged on other patients."""

from __future__ import annotations

import numpy as np

from hilum.statistics.folds import by_patient
from hilum.types import Array


def probe(features: Array, truth: Array, patients: Array) -> Array:
    """Out-of-fold score of each film by a ridge regression on the features of other patients' films.

    Features (N, D), truth (N,) of 0 and 1, patients (N,) names -> (N,) float64, larger: more likely; all NaN
    with too few patients. The penalty assumes that the features explain half of the variance. It is not
    tuned: a probe that needs tuning would be weaker evidence.
    """
    said = np.full(len(truth), np.nan)
    for fold, other in by_patient(truth, patients):
        centre, spread = features[fold].mean(axis=0), features[fold].std(axis=0)
        x, held = ((features[films] - centre) / np.where(spread > 0, spread, 1) for films in (fold, other))
        squares = x.T @ x + x.shape[1] * np.eye(x.shape[1], dtype=x.dtype)
        # Without the intercept, the fold's mean truth: it is lower the more positives are held out.
        said[other] = held @ np.linalg.solve(squares, x.T @ (truth[fold] - truth[fold].mean()))
    return said
