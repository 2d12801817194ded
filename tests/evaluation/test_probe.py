"""What a probe may find in features: what is there, and nothing that it learned of a patient by heart."""

from __future__ import annotations

import numpy as np

from hilum.evaluation.probe import probe
from hilum.statistics.folds import by_patient
from hilum.statistics.metrics import auroc


def test_a_planted_direction_is_found() -> None:
    rng = np.random.default_rng(0)
    truth = np.tile([0.0, 1.0], 150)
    features = rng.normal(size=(300, 50))
    features[:, 7] += 2 * truth
    said = probe(features, truth, np.arange(300).astype(str))
    # Of two normal distributions two standard deviations apart the AUROC is 0.921.
    assert 0.85 < auroc(truth, said) < 0.96


def test_noise_tells_nothing() -> None:
    rng = np.random.default_rng(1)
    truth = np.tile([0.0, 1.0], 200)
    said = probe(rng.normal(size=(400, 100)), truth, np.arange(400).astype(str))
    assert 0.4 < auroc(truth, said) < 0.6


def test_a_patient_known_by_heart_is_no_finding() -> None:
    rng = np.random.default_rng(2)
    of_patient, who = rng.integers(0, 2, 80).astype(float), np.repeat(np.arange(80), 5)
    features = rng.normal(size=(80, 200))[who]  # every film of a patient looks alike
    truth = of_patient[who]
    assert 0.3 < auroc(truth, probe(features, truth, who.astype(str))) < 0.7
    alone = probe(features, truth, np.arange(400).astype(str))  # folds that part the patients' films
    assert auroc(truth, alone) > 0.9


def test_a_feature_that_never_changes_and_a_scale_change_nothing() -> None:
    rng = np.random.default_rng(3)
    truth, features = np.tile([0.0, 1.0], 50), rng.normal(size=(100, 5))
    patients = np.arange(100).astype(str)
    scaled = probe(features * [1, 10, 1e-3, 5, 1] + 7, truth, patients)
    np.testing.assert_allclose(scaled, probe(features, truth, patients), atol=1e-9)
    assert np.isfinite(probe(np.ones((100, 4)), truth, patients)).all()


def test_too_few_patients_tell_nothing() -> None:
    truth = np.array([1.0, 0, 0, 0, 0, 0])
    assert np.isnan(probe(np.ones((6, 2)), truth, np.array(list("abcdef")))).all()


def test_folds_part_patients_and_judge_every_film_once() -> None:
    rng = np.random.default_rng(4)
    patients = rng.integers(0, 40, 200).astype(str)
    truth = (rng.random(200) < 0.2).astype(float)
    folds = by_patient(truth, patients)
    assert len(folds) == 5
    np.testing.assert_array_equal(sum(other.astype(int) for _, other in folds), 1)
    for fold, other in folds:
        assert not set(patients[fold]) & set(patients[other])
        np.testing.assert_array_equal(fold, ~other)
        assert 0 < truth[fold].sum() < fold.sum()
