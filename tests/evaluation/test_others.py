"""Scores of other programs and of readers, as a classifier is compared with them."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest

from hilum.errors import DataError
from hilum.evaluation.compare import gains
from hilum.evaluation.others import read_scores
from hilum.evaluation.verdicts import Verdicts
from hilum.statistics.scores import auroc

LABELS = ("Edema", "Pleural Effusion", "No Finding")
FILMS = tuple(f"ours:films/{i}.png" for i in range(40))


def verdicts() -> Verdicts:
    draws = np.random.default_rng(0)
    truth = draws.integers(0, 2, (40, 3)).astype(float)
    said = np.clip(truth * 0.2 + draws.random((40, 3)) * 0.8, 0.01, 0.99)
    return Verdicts(
        films=FILMS,
        patients=np.array([str(i // 2) for i in range(40)]),
        labels=LABELS,
        truth=truth,
        probabilities=said,
        margins=said - 0.5,
    )


def test_readers_scores_on_any_scale_are_compared_in_pairs(tmp_path: Path) -> None:
    """Of other films in another order, in the words of another program, by the path of the csv."""
    ours, path = verdicts(), tmp_path / "readers.csv"
    ranks = np.random.default_rng(1).integers(1, 6, (40, 2))
    rows = [f"films/{i}.png,{ranks[i, 0]},somebody,{ranks[i, 1]}" for i in reversed(range(40)) if i != 7]
    path.write_text("\n".join(["path,Effusion,reader,edema", *rows, "films/99.png,5,somebody,1"]))
    theirs, sha256 = read_scores(path, LABELS, FILMS)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert theirs.labels == ("Edema", "Pleural Effusion") and len(theirs.films) == 40
    found = {one.subject: one for one in gains(ours, theirs, repeats=50)}
    assert found.keys() == {"Edema", "Pleural Effusion", "mean of 2 findings"}  # no choice of one of six
    kept, once = np.arange(40) != 7, np.ones((1, 39))
    for i, label in enumerate(theirs.labels):
        truth = ours.truth[kept, i]
        one, other = (
            float(auroc(truth, said)(once)[0])
            for said in (ours.probabilities[kept, i], ranks[kept, 1 - i].astype(float))
        )
        assert found[label].value == pytest.approx(one - other)
        assert found[label].films == 39
        assert found[label].low < found[label].value < found[label].high


def test_the_films_of_another_evaluation_are_read_with_their_thresholds(tmp_path: Path) -> None:
    ours, path = verdicts(), tmp_path / "films.csv"
    rows = ours.rows()
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    found = gains(ours, read_scores(path, LABELS, FILMS)[0], repeats=50)
    assert [one.value for one in found] == [0.0] * len(found)
    assert "films with exactly one of the 3" in {one.subject for one in found}
    with pytest.raises(DataError, match="has none of Fracture"):
        read_scores(path, ("Fracture",), FILMS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name,Edema\na.png,1\n", "needs a column film"),
        ("film,Fracture\na.png,1\n", "columns of scores for Edema, Pleural Effusion, No Finding"),
        ("film,Edema\n", "no table of scores"),
        ("film,Edema,oedema\nfilms/1.png,1,2\n", "Edema and oedema both mean Edema"),
        ("film,Edema\nfilms/1.png,1\nours:films/1.png,2\n", "2 rows for 'ours:films/1.png'"),
        ("film,Edema\nfilms/1.png,1\nfilms/2.png,\n", "line 3: Edema is '', not a number"),
        ("film,Edema\nfilms/1.png,inf\n", "line 2: Edema is 'inf'"),
        ("film,Edema\n1.png,1\n", "names '1.png', but none of the films; .*'ours:films/0.png'"),
    ],
)
def test_another_table_is_refused_with_what_it_lacks(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=why):
        read_scores(path, LABELS, FILMS)


def test_a_csv_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scores\.csv: No such file"):
        read_scores(tmp_path / "scores.csv", LABELS, FILMS)
