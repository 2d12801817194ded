"""Metrics against values worked out by hand, and against scikit-learn where it is installed."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from hilum.errors import ConfigError
from hilum.statistics import scores
from hilum.statistics.intervals import bootstrap, holm, two_sided
from hilum.statistics.metrics import (
    auroc,
    components,
    confusion,
    dice,
    forecasts,
    iou,
    labelled,
    mean,
    spearman,
    surface_distances,
)
from hilum.statistics.scores import Statistic

NAN = float("nan")


def of_all(statistic: Statistic, films: int) -> float:
    """A score of films that count alike."""
    return float(statistic(np.ones((1, films)))[0])


def average_precision(truth: list, score: list) -> float:
    truth, score = labelled(truth, score)
    return of_all(scores.average_precision(truth, score), len(truth))


def brier(truth: list, probability: list) -> float:
    truth, probability = forecasts(truth, probability)
    return of_all(scores.brier(truth, probability), len(truth))


def calibration_error(truth: list, probability: list, bins: int = 15) -> float:
    truth, probability = forecasts(truth, probability)
    return of_all(scores.calibration_error(truth, probability, bins), len(truth))


BINARY = {
    "auroc": auroc,
    "average_precision": average_precision,
    "brier": brier,
    "calibration_error": calibration_error,
}


def films(seed: int, n: int = 500, levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Truth and an informative probability for n films; `levels` rounds it so that many tie."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.3).astype(float)
    probability = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * truth - 1)))
    return truth, np.round(probability * levels) / levels if levels else probability


def square(top: int, left: int, side: int, size: int = 32) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_nothing_heavy_is_imported() -> None:
    heavy = "{'torch', 'sklearn', 'scipy', 'cv2', 'onnxruntime'}"
    modules = "hilum.statistics.metrics, hilum.calibration.calibrate"
    code = f"import sys, {modules}; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Two positives (0.8, 0.4) and two negatives (0.4, 0.2): the pairs win, win, tie, win.
TRUTH, SCORE = [1, 1, 0, 0], [0.8, 0.4, 0.4, 0.2]


def test_auroc_by_hand() -> None:
    assert auroc(TRUTH, SCORE) == 3.5 / 4


def test_average_precision_by_hand() -> None:
    assert average_precision(TRUTH, SCORE) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_brier_by_hand() -> None:
    assert brier(TRUTH, SCORE) == pytest.approx((0.04 + 0.36 + 0.16 + 0.04) / 4)


def test_calibration_error_by_hand() -> None:
    # Lower half: stated 0.2, seen 0.5; upper half: stated 0.7, seen 1.
    assert calibration_error([0, 1, 1, 1], [0.1, 0.3, 0.6, 0.8], bins=2) == pytest.approx(0.3)


def test_calibration_error_ignores_the_order_of_tied_films() -> None:
    truth, constant = np.repeat([0.0, 1.0], [60, 40]), np.full(100, 0.4)
    assert calibration_error(truth, constant) == pytest.approx(0, abs=1e-12)
    assert calibration_error(truth, constant + 0.1) == pytest.approx(0.1)
    # The three tied films straddle the cut; most of them lie above it, and so do they all.
    assert calibration_error([0, 0, 0, 1], [0.1, 0.2, 0.2, 0.2], bins=2) == pytest.approx((0.1 + 0.4) / 4)


def test_calibration_bins_have_equal_mass() -> None:
    # 30 films in 15 bins: two films each, so the error is the mean gap of neighbouring pairs.
    truth, probability = films(3, n=30)
    order = np.argsort(probability)
    pairs = (probability - truth)[order].reshape(15, 2).mean(axis=1)
    assert calibration_error(truth, probability) == pytest.approx(np.abs(pairs).mean())


def test_calibration_error_is_small_for_true_probabilities() -> None:
    rng = np.random.default_rng(4)
    probability = rng.random(20_000)
    truth = rng.random(20_000) < probability
    assert calibration_error(truth, probability) < 0.015
    assert calibration_error(truth, probability**2) > 0.1


@pytest.mark.parametrize("levels", [None, 7])
@pytest.mark.parametrize("seed", range(5))
def test_binary_scores_agree_with_scikit_learn(seed: int, levels: int | None) -> None:
    referee = pytest.importorskip("sklearn.metrics")
    truth, probability = films(seed, levels=levels)
    assert auroc(truth, probability) == pytest.approx(referee.roc_auc_score(truth, probability))
    assert average_precision(truth, probability) == pytest.approx(
        referee.average_precision_score(truth, probability)
    )
    assert brier(truth, probability) == pytest.approx(referee.brier_score_loss(truth, probability))


def test_rank_correlation_by_hand() -> None:
    # Ranks 1 2 3 4 and 1 2 4 3: 1 - 6 (0 + 0 + 1 + 1) / (4 (16 - 1)).
    assert spearman(np.array([10, 20, 30, 40]), np.array([-5, 0, 9, 8])) == pytest.approx(0.8)
    # Ranks 1 2.5 2.5 4 and 1 2 3 4: deviations -1.5 0 0 1.5 and -1.5 -0.5 0.5 1.5.
    tied = spearman(np.array([1, 7, 7, 9]), np.array([1, 2, 3, 4]))
    assert tied == pytest.approx(4.5 / math.sqrt(4.5 * 5))


@pytest.mark.parametrize("levels", [None, 7, 2])
@pytest.mark.parametrize("seed", range(3))
def test_rank_correlation_agrees_with_scipy(seed: int, levels: int | None) -> None:
    referee = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(2, 300))
    other += rng.choice([-1, 1]) * one
    if levels:
        one = np.round(one * levels / 4)
    assert spearman(one, other) == pytest.approx(referee.spearmanr(one, other).statistic)
    assert spearman(one, other) == pytest.approx(spearman(other, one))


def test_rank_correlation_knows_order_alone() -> None:
    values = np.random.default_rng(2).normal(size=50)
    assert spearman(values, np.exp(values)) == pytest.approx(1)
    assert spearman(values, -(values**3)) == pytest.approx(-1)


@pytest.mark.parametrize(("one", "other"), [([], []), ([1], [2]), ([3, 3, 3], [1, 2, 3]), ([1, 2], [0, 0])])
def test_rank_correlation_of_what_does_not_vary_is_nan(one: list[float], other: list[float]) -> None:
    assert math.isnan(spearman(np.array(one), np.array(other)))


@pytest.mark.parametrize("name", BINARY)
def test_unknown_labels_are_left_out(name: str) -> None:
    truth, probability = films(1)
    some = truth.copy()
    some[::3] = NAN
    known = ~np.isnan(some)
    assert len(labelled(some, probability)[0]) == known.sum()
    assert BINARY[name](some, probability) == BINARY[name](truth[known], probability[known])


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize(
    ("truth", "score", "complaint"),
    [
        ([1, 0, -1], [0.1, 0.2, 0.3], "uncertain"),
        ([1, 0], [0.1, 0.2, 0.3], "for every film"),
        ([1, 0], [0.1, NAN], "score NaN"),
    ],
)
def test_senseless_films_are_refused(name: str, truth: list, score: list, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        BINARY[name](truth, score)


@pytest.mark.parametrize("name", ["brier", "calibration_error"])
def test_logits_are_no_probabilities(name: str) -> None:
    with pytest.raises(ConfigError, match="probability lies outside"):
        BINARY[name]([0, 1], [-2.0, 3.0])


def test_a_missing_class_gives_nan() -> None:
    assert math.isnan(auroc([1, 1, NAN], [0.1, 0.2, 0.3]))
    assert math.isnan(auroc([0, 0], [0.1, 0.2]))
    assert math.isnan(average_precision([0, 0], [0.1, 0.2]))


@pytest.mark.parametrize("name", BINARY)
def test_no_labelled_film_gives_nan(name: str) -> None:
    assert math.isnan(BINARY[name]([NAN, NAN], [0.1, 0.2]))


CLASSES = ("Edema", "No Finding", "Atelectasis")


def test_classes_by_hand() -> None:
    truth = np.array(["Edema", "Edema", "No Finding", "No Finding"])
    predicted = np.array(["Edema", "No Finding", "No Finding", "No Finding"])
    assert confusion(truth, predicted, CLASSES).tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert of_all(scores.balanced_accuracy(truth, predicted, CLASSES), 4) == (1 / 2 + 1) / 2
    # Edema 2 / 3, No Finding 4 / 5; atelectasis occurs nowhere and has no say.
    assert of_all(scores.macro_f1(truth, predicted, CLASSES), 4) == pytest.approx((2 / 3 + 4 / 5) / 2)


@pytest.mark.parametrize("absent", [False, True])
def test_classes_agree_with_scikit_learn(absent: bool) -> None:
    referee = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    truth, predicted = rng.integers(5, size=300), rng.integers(5, size=300)
    classes = list(range(6 if absent else 5))
    assert (
        confusion(truth, predicted, classes) == referee.confusion_matrix(truth, predicted, labels=classes)
    ).all()
    assert of_all(scores.balanced_accuracy(truth, predicted, classes), 300) == pytest.approx(
        referee.balanced_accuracy_score(truth, predicted)
    )
    expected = referee.f1_score(truth, predicted, labels=classes, average="macro", zero_division=np.nan)
    assert of_all(scores.macro_f1(truth, predicted, classes), 300) == pytest.approx(expected)


def test_a_class_that_was_not_named_is_refused() -> None:
    with pytest.raises(ConfigError, match="Edema, No Finding"):
        confusion(["Edema", "Mass"], ["Edema", "Edema"], CLASSES)


def test_bootstrap_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(200):
        sample = rng.normal(size=60)
        interval = bootstrap(np.mean, sample, groups=np.arange(60), rng=rng, repeats=200)
        covered += interval.low <= 0 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_bootstrap_repeats_itself_with_the_same_seed_and_holds_the_value() -> None:
    truth, probability = films(5)
    groups = [f"patient {i // 2}" for i in range(len(truth))]
    first, again = (
        bootstrap(auroc, truth, probability, groups=groups, rng=np.random.default_rng(7), repeats=100)
        for _ in range(2)
    )
    assert first == again
    assert first.value == auroc(truth, probability)
    assert 0 < first.low < first.value < first.high < 1


def test_bootstrap_draws_patients_not_films() -> None:
    # 30 patients with 20 equal films each hold 30 opinions, not 600: the interval widens by sqrt(20).
    rng = np.random.default_rng(8)
    values, patients = np.repeat(rng.normal(size=30), 20), np.repeat(np.arange(30), 20)
    by_patient = bootstrap(np.mean, values, groups=patients, rng=rng)
    by_film = bootstrap(np.mean, values, groups=np.arange(600), rng=rng)
    ratio = (by_patient.high - by_patient.low) / (by_film.high - by_film.low)
    assert ratio == pytest.approx(math.sqrt(20), rel=0.2)


def test_bootstrap_keeps_a_patients_films_together_and_in_step() -> None:
    patients = np.array([0, 1, 1, 2, 2, 2])
    rows = np.stack([patients, patients * 10.0], axis=1)
    seen = []

    def statistic(patient: np.ndarray, row: np.ndarray) -> float:
        counts = np.bincount(patient, minlength=3)
        seen.append(counts[0] + counts[1] // 2 + counts[2] // 3)
        assert counts[1] % 2 == 0
        assert counts[2] % 3 == 0
        assert (row[:, 1] == 10 * patient).all()
        return 0.0

    bootstrap(statistic, patients, rows, groups=patients, rng=np.random.default_rng(1), repeats=50)
    assert set(seen) == {3}


def test_bootstrap_of_a_paired_difference_is_narrower_than_of_either() -> None:
    rng = np.random.default_rng(9)
    truth, one = films(6)
    other = one + rng.normal(scale=0.01, size=len(one))
    groups = np.arange(len(truth))
    single = bootstrap(auroc, truth, one, groups=groups, rng=rng, repeats=200)
    paired = bootstrap(
        lambda t, a, b: auroc(t, a) - auroc(t, b), truth, one, other, groups=groups, rng=rng, repeats=200
    )
    assert paired.high - paired.low < (single.high - single.low) / 3


def test_bootstrap_where_draws_cannot_tell() -> None:
    rng = np.random.default_rng(10)
    score = np.linspace(0, 1, 40)
    one_event = (np.arange(40) == 30).astype(float)  # absent from 36 % of the draws
    assert bootstrap(auroc, one_event, score, groups=np.arange(40), rng=rng).low > 0.5
    never = bootstrap(auroc, np.zeros(40), score, groups=np.arange(40), rng=rng)
    assert math.isnan(never.value)
    assert math.isnan(never.low)
    single = bootstrap(auroc, one_event, score, groups=np.zeros(40), rng=rng)
    assert single.value == pytest.approx(30 / 39)
    assert math.isnan(single.low)
    assert math.isnan(single.high)


def test_bootstrap_gives_up_when_most_draws_fail() -> None:
    rng = np.random.default_rng(10)
    answers = iter([0.5] + [NAN, NAN, 0.5] * 100)  # two draws in three fail; then the whole
    interval = bootstrap(lambda _: next(answers), np.zeros(9), groups=np.arange(9), rng=rng, repeats=300)
    assert interval.value == 0.5
    assert math.isnan(interval.low)


def test_bootstrap_wants_a_patient_for_every_film() -> None:
    with pytest.raises(ConfigError, match="every film's patient"):
        bootstrap(np.mean, np.zeros(3), groups=[1, 2], rng=np.random.default_rng(0))


def test_overlap_by_hand() -> None:
    # Two 10 x 10 squares, 5 pixels apart sideways, share 50 pixels.
    one, other = square(4, 4, 10), square(4, 9, 10)
    assert dice(one, other) == 0.5
    assert iou(one, other) == pytest.approx(50 / 150)
    assert dice(one, one) == iou(one, one) == 1
    assert dice(one, square(20, 20, 5)) == iou(one, square(20, 20, 5)) == 0


def test_empty_masks() -> None:
    empty, some = np.zeros((32, 32), bool), square(4, 4, 10)
    assert dice(empty, empty) == iou(empty, empty) == 1
    assert dice(some, empty) == iou(empty, some) == 0
    assert surface_distances(empty, empty) == (0, 0)
    assert all(map(math.isnan, surface_distances(some, empty)))
    assert all(map(math.isnan, surface_distances(empty, some)))


@pytest.mark.parametrize("measure", [dice, iou, surface_distances])
def test_senseless_masks_are_refused(measure: object) -> None:
    labels = np.zeros((32, 32), np.uint8)
    with pytest.raises(ConfigError, match="mask == 1"):
        measure(labels, labels)
    with pytest.raises(ConfigError, match="one \\(H, W\\)"):
        measure(square(1, 1, 2), square(1, 1, 2, size=16))


def test_the_distance_between_two_dots_is_exact() -> None:
    assert surface_distances(square(10, 10, 1), square(13, 14, 1)) == (5, 5)
    far = square(0, 0, 1, size=1024), square(1022, 1023, 1, size=1024)
    assert surface_distances(*far) == (math.sqrt(1022**2 + 1023**2),) * 2


def test_distances_between_nested_squares() -> None:
    # Sides 10 and 12, one pixel apart all round: the inner outline's 36 pixels are 1 away; of the outer
    # outline's 44, the 4 corners are sqrt(2) away and the other 40 are 1 away.
    hd95, mean = surface_distances(square(10, 10, 10), square(9, 9, 12))
    assert hd95 == pytest.approx(math.sqrt(2))  # more than 5 % of the outer outline are corners
    assert mean == pytest.approx((76 + 4 * math.sqrt(2)) / 80)


def test_the_95th_percentile_forgives_a_speck() -> None:
    clean = square(2, 2, 12)
    speck = clean.copy()
    speck[30, 30] = True
    hd95, mean = surface_distances(clean, speck)
    assert hd95 == 0
    assert mean == pytest.approx(math.hypot(17, 17) / (44 + 45))


def test_distances_are_symmetric_and_vanish_for_equal_masks() -> None:
    one, other = square(3, 5, 9), square(6, 2, 14)
    assert surface_distances(one, other) == pytest.approx(surface_distances(other, one))
    assert surface_distances(one, one) == (0, 0)


def test_distances_agree_with_a_search_over_all_pairs() -> None:
    rng = np.random.default_rng(12)
    outlines = []
    masks = [rng.random((24, 17)) < 0.15, square(3, 4, 11, size=24)[:, :17]]
    for mask in masks:
        grid = np.pad(mask, 1).astype(int)
        around = grid[:-2, 1:-1] + grid[2:, 1:-1] + grid[1:-1, :-2] + grid[1:-1, 2:]
        outlines.append(np.argwhere(mask & (around < 4)))
    pairs = np.linalg.norm(outlines[0][:, None] - outlines[1][None], axis=2)
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    mean = (there.sum() + back.sum()) / (len(there) + len(back))
    assert surface_distances(*masks) == pytest.approx((hd95, mean))


def test_components() -> None:
    assert components(np.zeros((8, 8), bool)) == 0
    assert components(square(1, 1, 4) | square(20, 20, 4)) == 2
    assert components(square(1, 1, 4) | square(5, 5, 4)) == 1  # they touch at a corner
    with pytest.raises(ConfigError, match="boolean"):
        components(np.zeros((8, 8), np.uint8))


def test_the_mean_is_that_of_the_known() -> None:
    assert mean(np.array([1.0, NAN, 4.0])) == 2.5
    assert mean(np.array([True, False])) == 0.5
    assert math.isnan(mean(np.array([NAN]))) and math.isnan(mean(np.array([])))


def test_p_values_by_hand() -> None:
    # One draw of nine below zero: twice (1 + 1) of (9 + 1).
    assert two_sided(np.array([-1, 1, 2, 3, 4, 5, 6, 7, 8.0])) == pytest.approx(0.4)
    assert two_sided(np.array([-1, 1.0])) == 1.0
    assert np.isnan(two_sided(np.array([np.nan])))
    assert np.isnan(two_sided(np.array([1.0, np.nan, np.nan])))  # as the interval of such draws
    assert two_sided(np.array([1.0, 2.0, np.nan])) == pytest.approx(2 / 3)
    # Three tests: the smallest times three, the next times two but no less than it, the last once.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([float("nan"), 0.02])[1] == pytest.approx(0.02)
