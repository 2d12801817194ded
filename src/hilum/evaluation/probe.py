"""How much of something a network's features tell: a small regression on them, judged by other patients."""

from __future__ import annotations

import numpy as np

from hilum.statistics.folds import by_patient
from hilum.types import Array


def probe(features: Array, truth: Array, patients: Array) -> Array:
    """How far a ridge regression takes each film for one of the class, having learned from other patients.

    Features (N, D), truth (N,) of 0 and 1, patients (N,) names -> (N,) float64, larger: more likely; all NaN
    where the patients are too few. The penalty takes the features to explain half of the variance and is not
    tuned: a probe that needs tuning would say less.
    """
    said = np.full(len(truth), np.nan)
    for fold, other in by_patient(truth, patients):
        centre, spread = features[fold].mean(axis=0), features[fold].std(axis=0)
        x, held = ((features[films] - centre) / np.where(spread > 0, spread, 1) for films in (fold, other))
        squares = x.T @ x + x.shape[1] * np.eye(x.shape[1], dtype=x.dtype)
        # Without the mean of the fold's truth, which is the lower the more of the class is held out.
        said[other] = held @ np.linalg.solve(squares, x.T @ (truth[fold] - truth[fold].mean()))
    return said
