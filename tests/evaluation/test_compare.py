"""Differences between classifiers, in closed form and by resamples of patients."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hilum.errors import DataError
from hilum.evaluation.compare import common, gain, gains, six_gain
from hilum.evaluation.label_figures import figures_of
from hilum.evaluation.verdicts import Verdicts, read_verdicts
from hilum.statistics.delong import delong, delong_difference, delong_interval
from hilum.statistics.intervals import holm
from hilum.statistics.metrics import auroc
from hilum.statistics.scores import auroc_within
from hilum.types import Array


def films(seed: int, n: int = 120, signal: float = 1.0) -> tuple[Array, Array, Array]:
    """Truth, and two scores that share some of their noise."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.3).astype(float)
    shared = rng.normal(size=n)
    one, other = (shared + rng.normal(size=n) + signal * truth for _ in range(2))
    return truth, one.round(1), other.round(1)


def test_variance_by_its_definition() -> None:
    truth, one, other = films(0, 40)
    values, covariance = delong(truth, np.stack([one, other]))
    ill, well = np.flatnonzero(truth == 1), np.flatnonzero(truth == 0)
    wins = np.array([[[(s[i] > s[j]) + (s[i] == s[j]) / 2 for j in well] for i in ill] for s in (one, other)])
    np.testing.assert_allclose(values, wins.mean(axis=(1, 2)))
    np.testing.assert_allclose(values, [auroc(truth, one), auroc(truth, other)])
    by_ill, by_well = wins.mean(axis=2), wins.mean(axis=1)
    for a, b in itertools.product(range(2), repeat=2):
        expected = np.cov(by_ill[a], by_ill[b])[0, 1] / len(ill) + np.cov(by_well[a], by_well[b])[0, 1] / len(
            well
        )
        assert covariance[a, b] == pytest.approx(expected)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    # Two normal populations a standard deviation apart: the AUROC is Phi(1 / sqrt(2)).
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        truth = np.repeat([1.0, 0.0], [40, 80])
        interval = delong_interval(truth, rng.normal(size=120) + truth)
        held += interval.low <= 0.76025 <= interval.high
    assert 0.91 < held / 400 < 0.98


def test_no_difference_is_found_by_chance_more_often_than_said() -> None:
    found = [delong_difference(*films(seed))[1] for seed in range(300)]
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.09
    truth, one, _ = films(0)
    same, p = delong_difference(truth, one, one)
    assert (same.value, same.low, same.high, p) == (0, 0, 0, 1)


def test_films_parted_cleanly_tell_no_interval() -> None:
    truth = np.repeat([1.0, 0.0], [5, 9])
    difference, p = delong_difference(truth, truth, np.zeros(14))
    assert difference.value == 0.5
    assert np.isnan([difference.low, p, delong_interval(truth, truth).low]).all()


def test_two_films_of_a_class_are_too_few_for_one() -> None:
    truth = np.array([1.0, 0, 0, 0])
    assert np.isnan(delong_interval(truth, np.arange(4.0)).low)
    assert np.isnan(delong_difference(truth, np.arange(4.0), np.arange(4.0))[1])


def verdicts(names: list[str], truth: Array, said: Array, labels: tuple[str, ...]) -> Verdicts:
    return Verdicts(
        films=tuple(names),
        patients=np.array([name[:3] for name in names]),
        labels=labels,
        truth=truth,
        probabilities=said,
        margins=said - 0.5,
    )


def test_classifiers_are_compared_on_the_films_and_labels_both_judge() -> None:
    truth, one, other = films(2, 300)
    names = [f"{i:03d}" for i in range(300)]
    table = np.stack([truth, 1 - truth], axis=1)
    ours = verdicts(names, table, np.stack([one, -one], axis=1), ("Edema", "No Finding"))
    order = np.random.default_rng(3).permutation(300)[:200]
    theirs = verdicts(
        [names[i] for i in order],
        np.stack([1 - truth, truth, truth], axis=1)[order],
        np.stack([-other, one, other], axis=1)[order],
        ("No Finding", "Mass", "Edema"),
    )
    edema, nothing = gains(ours, theirs)
    assert (edema.subject, nothing.subject) == ("Edema", "No Finding")
    assert edema.corrected == pytest.approx(min(1, edema.p * (1 + (edema.p <= nothing.p))), abs=1e-9)
    expected = auroc(truth[order], one[order]) - auroc(truth[order], other[order])
    assert edema.value == pytest.approx(expected)
    assert edema.films == 200
    assert edema.low < edema.value < edema.high
    # Each film is a patient here, so both ways of drawing an interval should agree.
    assert (edema.low, edema.high) == pytest.approx((edema.delong_low, edema.delong_high), abs=0.02)
    assert edema.p == pytest.approx(edema.delong_p, abs=0.1)


def test_the_mean_over_findings_is_compared_too_and_seeds_are_averaged() -> None:
    truth, one, other = films(4, 200)
    names = [f"{i:03d}" for i in range(200)]
    table = np.stack([truth, np.roll(truth, 1)], axis=1)
    labels = ("Edema", "Mass")
    ours = verdicts(names, table, np.stack([one, np.roll(other, 1)], axis=1), labels)
    theirs = verdicts(names, table, np.stack([other, np.roll(other, 1)], axis=1), labels)
    by_label = gains(ours, theirs)
    assert [one.subject for one in by_label[:3]] == ["Edema", "Mass", "mean of 2 findings"]
    assert {one.subject for one in by_label[3:]} == {"films with exactly one of the 2"}
    balanced = next(one for one in by_label if one.measure == "balanced accuracy by threshold")
    single = table.sum(axis=1) == 1
    rights = [
        [
            (one.margins[single].argmax(axis=1) == i)[table[single][:, i] == 1].mean()
            for i in range(len(labels))
        ]
        for one in (ours, theirs)
    ]
    assert balanced.value == pytest.approx(np.mean(rights[0]) - np.mean(rights[1]))
    assert balanced.films == single.sum()
    assert by_label[2].value == pytest.approx(by_label[0].value / 2)
    assert np.isnan(by_label[2].delong_p)
    both = gain([ours, theirs], [theirs], ["Edema"], subject="x")
    assert both.value == pytest.approx(by_label[0].value / 2)
    assert gain([ours], [ours], labels, subject="x").p == 1


def test_what_tells_groups_apart_is_no_gain_over_pairs_of_one_group() -> None:
    """Ours tells the film beside chance, and which of two hospitals is iller; theirs the film alone."""
    rng = np.random.default_rng(0)
    of = np.repeat(["a", "b", ""], [300, 300, 100])
    truth = (rng.random((700, 2)) < np.where(of == "a", 0.5, 0.1)[:, None]).astype(float)
    theirs = verdicts(
        [f"{i:03d}" for i in range(700)], truth, truth + rng.normal(size=(700, 2)), ("Edema", "Mass")
    )
    ours = replace(theirs, probabilities=theirs.probabilities + 2 * (of == "a")[:, None], groups={"site": of})
    found = gains(ours, theirs)
    alike = [one for one in found if one.condition == "pairs of one site"]
    assert [one.subject for one in alike] == ["Edema", "Mass", "mean of 2 findings"]
    assert [(one.value, one.low, one.high, one.p) for one in alike] == [(0, 0, 0, 1)] * 3
    assert {one.films for one in alike} == {600}
    assert next(one for one in found if one.subject == "Edema").value > 0.05
    # The films that stand in no group have a say over all pairs alone.
    some = gain(
        [ours], [replace(theirs, probabilities=-theirs.probabilities)], ["Edema"], subject="x", within="site"
    )
    scores = [
        auroc_within(truth[:600, 0], sign * theirs.probabilities[:600, 0], of[:600]) for sign in (1, -1)
    ]
    value, opposite = (float(score(np.ones((1, 600)))[0]) for score in scores)
    assert some.value == pytest.approx(value - opposite) and value + opposite == pytest.approx(1)
    with pytest.raises(DataError, match="'AUROC by patient' does not exist for pairs of one site"):
        gain([ours], [theirs], ["Edema"], subject="x", within="site", measure="AUROC by patient")
    with pytest.raises(DataError, match="have no sex in both tables; evaluate both with --by 'sex'"):
        gain([ours], [theirs], ["Edema"], subject="x", within="sex")
    lone = replace(ours, groups={"site": np.full(700, "a")})
    assert not any(one.condition for one in gains(lone, theirs))
    with pytest.raises(DataError, match="all of one site"):
        gain([lone], [theirs], ["Edema"], subject="x", within="site")
    # A finding that no group has both ways: the mean is of the others, as the figure's; its label has none.
    truth[:, 1] = of == "a"
    apart = replace(ours, truth=truth)
    alike = [one for one in gains(apart, replace(theirs, truth=truth)) if one.condition]
    assert [one.subject for one in alike] == ["Edema"]
    mean = next(
        f
        for f in figures_of(apart, repeats=100).figures
        if (f.subject, f.condition) == ("mean of 1 findings", "pairs of one site")
    )
    assert mean.value == mean.value


def test_groups_are_read_back_whatever_a_label_is_called(tmp_path: Path) -> None:
    names, table = ["001", "002"], np.array([[1.0], [0.0]])
    one = replace(
        verdicts(names, table, table * 0.5 + 0.2, ("by hand",)), groups={"data set": np.array(["a", ""])}
    )
    with (tmp_path / "films.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, one.rows()[0].keys())
        writer.writeheader()
        writer.writerows(one.rows())
    back = read_verdicts(tmp_path / "films.csv")
    assert back.labels == ("by hand",) and list(back.groups) == ["data set"]
    assert back.groups["data set"].tolist() == ["a", ""] and back.truth.tolist() == table.tolist()


WHOLE = "film,patient,Edema,Edema probability,Edema margin\n001,a,1,0.7,0.5\n002,b,,0.2,-1\n"


@pytest.mark.parametrize(
    "text",
    [
        WHOLE[:-4],  # cut within its last row
        WHOLE[:-2] + "\n",
        WHOLE.replace(" margin", " distance"),
        WHOLE.splitlines()[0],
        WHOLE.replace("0.7", "high"),
        WHOLE.replace("001", '"001'),
        "",
    ],
)
def test_a_damaged_table_of_verdicts_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "films.csv"
    path.write_text(WHOLE)
    assert np.isnan(read_verdicts(path).truth[1, 0])
    path.write_text(text)
    with pytest.raises(DataError, match=r"films\.csv[^;]*; evaluate the model again$") as raised:
        read_verdicts(path)
    assert str(raised.value).count("films.csv") == 1
    path.unlink()
    with pytest.raises(DataError, match=r"films\.csv: No such file or directory; evaluate the model again$"):
        read_verdicts(path)


def test_the_order_of_labels_makes_no_difference() -> None:
    rng = np.random.default_rng(0)
    table, said = np.eye(3)[rng.integers(0, 3, 90)], rng.normal(size=(90, 3))
    names = [f"{i:03d}" for i in range(90)]
    ours = verdicts(names, table, said + table, ("A", "B", "C"))
    theirs = [
        verdicts(names, table[:, order], said[:, order], tuple("ABC"[i] for i in order))
        for order in ([0, 1, 2], [2, 0, 1])
    ]
    first, second = (six_gain([ours], [other], "accuracy", repeats=100) for other in theirs)
    assert first == second and first.value > 0


def test_the_choice_of_one_label_is_compared_by_one_truth() -> None:
    """An earlier evaluation may have read another truth: labels corrected since, or unknown then."""
    draws = np.random.default_rng(0)
    truth = np.eye(3)[draws.integers(0, 3, 60)]
    labels = ("Edema", "Cardiomegaly", "No Finding")
    ours = verdicts([f"f{i}" for i in range(60)], truth, draws.random((60, 3)), labels)
    other = ours.truth.copy()
    other[:5], other[5:10] = np.nan, np.roll(other[5:10], 1, axis=1)
    for one in gains(ours, replace(ours, truth=other), repeats=50):
        assert (one.films, one.value) == (60, 0)


def test_verdicts_on_other_films_cannot_be_compared() -> None:
    table = np.array([[1.0], [0.0]])
    one, other = (verdicts(names, table, table, ("Edema",)) for names in (["001", "002"], ["003", "004"]))
    with pytest.raises(DataError, match="share no film"):
        common([one, other])
    with pytest.raises(DataError, match="share no label"):
        gains(one, verdicts(["001", "002"], table, table, ("Mass",)))


def test_the_area_of_a_published_table_of_ratings() -> None:
    """109 CT pictures rated by one reader from definitely normal to definitely abnormal: 0.893, SE 0.032.

    Source: Hanley and McNeil, Radiology 143 (1982), 29, tables I and II.
    """
    normal, abnormal = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)
    truth = np.repeat([0.0, 1.0], [sum(normal), sum(abnormal)])
    rating = np.concatenate([np.repeat(np.arange(5.0), counts) for counts in (normal, abnormal)])
    interval = delong_interval(truth, rating)
    assert auroc(truth, rating) == pytest.approx(interval.value) == pytest.approx(0.893, abs=5e-4)
    assert (interval.high - interval.low) / (2 * 1.96) == pytest.approx(0.032, abs=2e-3)


def test_four_p_values_step_by_step() -> None:
    """The least times four, the next times three, the next times two; none is less than one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
