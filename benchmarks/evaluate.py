"""Time for all figures of 10,000 films with 2,000 resamples. Run: python benchmarks/evaluate.py

For comparison: the same bootstrap of AUROCs with scikit-learn, extrapolated from ten seconds.
"""

from __future__ import annotations

import time

import numpy as np
from sklearn.metrics import roc_auc_score

from hilum.calibration.decide import margins
from hilum.card import read_card
from hilum.evaluation.label_figures import figures_of
from hilum.evaluation.verdicts import Verdicts
from hilum.runtime import find

FILMS, PATIENTS, DRAWS, SECONDS = 10_000, 3_500, 2_000, 10


def verdicts() -> Verdicts:
    """Calibrated scores of labels with about the frequencies of NIH."""
    card, rng = read_card(find("hilum-six")), np.random.default_rng(0)
    frequent = np.array([0.1, 0.03, 0.04, 0.02, 0.1, 0.6])
    said = np.clip(rng.beta(1, 1 / frequent - 1, (FILMS, 6)), 1e-6, 1 - 1e-6)
    return Verdicts(
        films=tuple(map(str, range(FILMS))),
        patients=rng.integers(0, PATIENTS, FILMS).astype(str),
        labels=card.labels,
        truth=(rng.random(said.shape) < said).astype(float),
        probabilities=said,
        margins=margins(said, card),
    )


def ours(one: Verdicts) -> tuple[float, int]:
    """Seconds for all figures, and their number."""
    start = time.perf_counter()
    evaluation = figures_of(one, card=read_card(find("hilum-six")), repeats=DRAWS)
    return time.perf_counter() - start, len(evaluation.figures)


def theirs(one: Verdicts) -> float:
    """Seconds for one resample of one AUROC."""
    rng, rows = np.random.default_rng(0), np.unique(one.patients, return_inverse=True)[1]
    films = np.argsort(rows, kind="stable")
    ends = np.cumsum(np.bincount(rows))
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        drawn = rng.integers(0, len(ends), len(ends))
        chosen = np.concatenate([films[end - size : end] for end, size in _blocks(ends, drawn)])
        for i in range(6):
            roc_auc_score(one.truth[chosen, i], one.probabilities[chosen, i])
            done += 1
    return (time.perf_counter() - start) / done


def _blocks(ends: np.ndarray, drawn: np.ndarray) -> list[tuple[int, int]]:
    sizes = np.diff(ends, prepend=0)
    return list(zip(ends[drawn].tolist(), sizes[drawn].tolist(), strict=True))


if __name__ == "__main__":
    films = verdicts()
    seconds, figures = ours(films)
    one = theirs(films)
    each = 1000 * seconds / figures
    print(f"{figures} figures of {FILMS} films, {DRAWS} resamples\t{seconds:.1f} s\t{each:.0f} ms each")
    print(f"one AUROC by scikit-learn, {DRAWS} resamples\t{DRAWS * one:.1f} s")
    print(f"time ratio, one figure here / one AUROC there\t{each / 1000 / (DRAWS * one):.3f}")
