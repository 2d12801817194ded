"""Should calibration and thresholds be fitted per patient or per film? A comparison on tuning films.

    hilum evaluate MODEL DATASET --split SPLIT --part tune --out runs/tune
    python benchmarks/patients.py runs/tune/films.csv

Both are fitted repeatedly on a random half of the patients, with each patient or each film counting once. The
other half gives, patient-weighted, the ratio of observed to predicted frequency and the Youden index.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from hilum.calibration.calibrate import fit_platt, logit, sigmoid
from hilum.evaluation.verdicts import read_verdicts
from hilum.statistics.scores import patient_weights
from hilum.types import Array

TIMES = 200


def cut_of(odds: Array, truth: Array, weights: Array) -> float:
    """The threshold with the largest Youden index, with weighted films."""
    order = np.argsort(odds)
    below = [np.cumsum(of[order]) / of.sum() for of in (weights * (1 - truth), weights * truth)]
    best = int(np.argmax(below[0] - below[1]))
    return float(odds[order][min(best + 1, len(order) - 1)])


def main(table: Path) -> None:
    """Print one line per label, and the mean."""
    verdicts = read_verdicts(table)
    names, place = np.unique(verdicts.patients, return_inverse=True)
    weights = patient_weights(verdicts.patients)
    rng = np.random.default_rng(0)
    halves = [rng.permutation(len(names)) < len(names) / 2 for _ in range(TIMES)]
    columns = (
        "observed / predicted, films",
        "observed / predicted, patients",
        "Youden, films",
        "Youden, patients",
    )
    print("\t".join(("label", "prevalence, films", "prevalence, patients", *columns)))
    means = []
    for i, label in enumerate(verdicts.labels):
        truth, odds = verdicts.truth[:, i], logit(verdicts.probabilities[:, i])
        found = []
        for half in halves:
            own, other = half[place], ~half[place]
            row = []
            for patients in (None, verdicts.patients[own]):
                fitted = fit_platt(odds[own], truth[own], patients)
                said = sigmoid(fitted.slope * odds[other] + fitted.intercept)
                row.append(weights[other] @ truth[other] / (weights[other] @ said))
            for counted in (np.ones(own.sum()), weights[own]):
                called = odds[other] >= cut_of(odds[own], truth[own], counted)
                ill, well = weights[other] * truth[other], weights[other] * (1 - truth[other])
                row.append(ill @ called / ill.sum() - well @ called / well.sum())
            found.append(row)
        means.append(np.mean(found, axis=0))
        shares = truth.mean(), np.average(truth, weights=weights)
        print("\t".join((label, *(f"{value:.3f}" for value in (*shares, *means[-1])))))
    print("\t".join(("mean", "", "", *(f"{value:.3f}" for value in np.mean(means, axis=0)))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
