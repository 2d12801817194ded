"""Films split into folds by patient: fit on some, judge by the others."""

from __future__ import annotations

import numpy as np

from hilum.types import Array

_FOLDS = 5


def by_patient(truth: Array, patients: Array) -> list[tuple[Array, Array]]:
    """Films to fit on and films to judge by, (N,) bool each, split by patient; the former show both classes.

    Truth is (N,) of 0 and 1. Empty if the patients are too few for that.
    """
    names, patient = np.unique(patients, return_inverse=True)
    ill = np.bincount(patient, weights=truth, minlength=len(names)) > 0
    # Patients with the label are assigned first, then the others, in an order that depends on their number.
    order = np.random.default_rng(0).permutation(len(names))
    dealt = np.empty(len(names), int)
    dealt[np.concatenate([order[ill[order]], order[~ill[order]]])] = np.arange(len(names)) % _FOLDS
    folds = [(dealt[patient] != k, dealt[patient] == k) for k in range(min(_FOLDS, len(names)))]
    return folds if all(rarer(truth[fold]) for fold, _ in folds) else []


def rarer(truth: Array, patients: Array | None = None) -> int:
    """Number of films of the rarer class, or given `patients` (N,), of patients; truth is (N,) of 0 and 1."""
    if patients is None:
        return int(min(truth.sum(), len(truth) - truth.sum()))
    return min(len(np.unique(np.asarray(patients)[truth == value])) for value in (0, 1))
