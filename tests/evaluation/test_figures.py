"""Published numbers: the interval is over patients, and the files say what was measured."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.evaluation.figures import Bench, Evaluation, Figure, write
from hilum.statistics.scores import Statistic, auroc, average
from hilum.types import Array

NAN = float("nan")


def mean(values: Array) -> float:
    return float(values.mean()) if len(values) else NAN


def bench(*patients: str, seed: int = 0, repeats: int = 400) -> Bench:
    return Bench(np.array(patients), seed, repeats)


def figure(**changes: object) -> Figure:
    fields = {"subject": "heart", "measure": "Dice", "films": 3, "positives": None, "value": 0.5}
    return Figure(**fields | {"low": 0.25, "high": 0.75} | changes)  # type: ignore[arg-type]


def test_a_figure_is_of_the_chosen_films_alone() -> None:
    values, chosen = np.array([1.0, 2.0, 90.0, 6.0]), np.array([True, True, False, True])
    found = bench("a", "b", "c", "d").figure("heart", "width", average, values, films=chosen)
    assert (found.subject, found.measure, found.condition) == ("heart", "width", "")
    assert (found.value, found.films, found.positives) == (3.0, 3, None)
    assert 1 <= found.low < found.value < found.high <= 6


def test_every_column_is_cut_to_the_chosen_films() -> None:
    truth, score = np.array([0.0, NAN, 1.0, 1.0, 0.0]), np.array([0.1, 0.0, 0.9, 0.3, 0.5])
    found = bench(*"abcde").figure("Edema", "AUROC", auroc, truth, score, films=~np.isnan(truth))
    # Of four pairs, only 0.3 against 0.5 is lost.
    assert (found.value, found.films, found.positives, found.condition) == (0.75, 4, None, "")


def test_patients_are_drawn_and_not_films() -> None:
    # Of two patients, a draw holds one twice a quarter of the time: means 0, 1/2 and 1. Drawn film by film,
    # the mean of 200 films would hardly leave 1/2.
    values = np.repeat([0.0, 1.0], 100)
    found = bench(*["a"] * 100, *["b"] * 100).figure(
        "film", "mean", average, values, films=np.ones(200, dtype=bool)
    )
    assert (found.low, found.value, found.high) == (0, 0.5, 1)
    apart = bench(*map(str, range(200))).figure(
        "film", "mean", average, values, films=np.ones(200, dtype=bool)
    )
    assert 0.4 < apart.low < 0.5 < apart.high < 0.6


def test_rows_belong_to_the_patient_of_their_film() -> None:
    # Ten films of a and ten of b, turn about; b's have a row under each of two conditions.
    films = np.array([[i, 10 + i, 10 + i] for i in range(10)]).ravel()
    values = np.tile([0.0, 1.0, 1.0], 10)
    patients = ["a"] * 10 + ["b"] * 10 + ["c"] * 5  # c's films have no row at all
    found = bench(*patients).drawn("heart", "Dice", "all", mean, values, films=films)
    assert found.value == pytest.approx(2 / 3)
    assert found.films == 20
    assert (found.low, found.high) == (0, 1)
    assert (found.condition, found.positives) == ("all", None)


def test_films_of_one_patient_tell_nothing_about_others() -> None:
    values = np.arange(6.0)
    found = bench(*"aaaaaa").drawn("heart", "Dice", "", mean, values, films=np.arange(6))
    assert found.value == 2.5
    assert math.isnan(found.low) and math.isnan(found.high)


def test_without_films_a_figure_is_nan() -> None:
    found = bench("a", "b").figure("heart", "Dice", average, np.ones(2), films=np.zeros(2, dtype=bool))
    assert found.films == 0
    assert all(math.isnan(value) for value in (found.value, found.low, found.high))


def test_the_seed_alone_decides_the_interval() -> None:
    values = np.random.default_rng(3).normal(size=30)
    patients = [f"p{i}" for i in range(30)]

    def run(bench: Bench) -> Figure:
        return bench.figure("film", "mean", average, values, films=np.ones(30, dtype=bool))

    first = bench(*patients)
    assert run(first) == run(first) == run(bench(*patients))
    other = run(bench(*patients, seed=1))
    assert other.value == run(first).value
    assert (other.low, other.high) != (run(first).low, run(first).high)


def test_as_many_resamples_are_scored_as_said() -> None:
    asked: list[Array] = []

    def count(values: Array) -> Statistic:
        def statistic(weights: Array) -> Array:
            asked.append(weights)
            return weights @ values

        return statistic

    bench("a", "b", repeats=17).figure("film", "mean", count, np.ones(2), films=np.ones(2, dtype=bool))
    *resamples, films = asked
    assert sum(map(len, resamples)) == 17
    assert all(weights.sum(axis=1).tolist() == [2] * len(weights) for weights in resamples)
    assert films.tolist() == [[1, 1]]  # and once the films themselves


def strict(constant: str) -> None:
    pytest.fail(f"{constant} is not JSON")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_document_says_what_was_measured_and_has_null_for_the_unknown(tmp_path: Path) -> None:
    figures = (
        figure(condition="noise"),
        figure(subject="Edema", measure="AUROC", positives=0, value=NAN, low=NAN, high=NAN),
    )
    confusion = {"Edema": {"Edema": 3, "Mass": 1}, "Mass": {"Edema": 0, "Mass": 2}}
    out = tmp_path / "new" / "folder"
    write(Evaluation(figures=figures, confusion=confusion), {"model": "stub", "data": ["phantom:2"]}, out)
    text = (out / "evaluation.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert json.loads(text, parse_constant=strict) == {
        "model": "stub",
        "data": ["phantom:2"],
        "tables": [],
        "figures": [
            {
                "subject": "heart",
                "measure": "Dice",
                "condition": "noise",
                "films": 3,
                "positives": None,
                "value": 0.5,
                "low": 0.25,
                "high": 0.75,
                "remark": "",
            },
            {
                "subject": "Edema",
                "measure": "AUROC",
                "condition": "",
                "films": 3,
                "positives": 0,
                "value": None,
                "low": None,
                "high": None,
                "remark": "",
            },
        ],
        "confusion": confusion,
    }
    assert {path.name for path in out.iterdir()} == {"evaluation.json", "figures.csv"}


def test_the_table_of_figures_has_an_empty_cell_for_the_unknown(tmp_path: Path) -> None:
    write(
        Evaluation(figures=(figure(positives=7, condition="blur, strong"), figure(low=NAN, high=NAN))),
        {},
        tmp_path,
    )
    first, second = rows(tmp_path / "figures.csv")
    assert ",".join(first) == "subject,measure,condition,films,positives,value,low,high,remark"
    assert list(first.values()) == ["heart", "Dice", "blur, strong", "3", "7", "0.5", "0.25", "0.75", ""]
    assert list(second.values()) == ["heart", "Dice", "", "3", "", "0.5", "", "", ""]


def test_an_infinite_number_is_told_from_an_unknown_one(tmp_path: Path) -> None:
    ratio = figure(measure="positive likelihood ratio", value=9.0, low=3.0, high=math.inf, remark="few")
    boundless = figure(measure="positive likelihood ratio", value=math.inf, low=NAN, high=NAN)
    write(Evaluation(figures=(ratio, boundless)), {}, tmp_path)
    said = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"), parse_constant=strict)
    for first, second in (rows(tmp_path / "figures.csv"), said["figures"]):
        assert (not first["high"], first["remark"]) == (True, "few; infinite: high")
        assert (not second["value"], second["remark"]) == (True, "infinite: value")


def test_each_table_becomes_a_file_of_its_own_and_an_empty_one_none(tmp_path: Path) -> None:
    tables: dict[str, list[dict[str, Any]]] = {
        "ratios": [{"film": "a:1, left", "ratio": 0.5}, {"film": "a:2", "ratio": None}],
        "outlines": [],
    }
    write(Evaluation(figures=(), tables=tables), {}, tmp_path)
    assert rows(tmp_path / "ratios.csv") == [
        {"film": "a:1, left", "ratio": "0.5"},
        {"film": "a:2", "ratio": ""},
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"evaluation.json", "figures.csv", "ratios.csv"}
    assert json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))["figures"] == []


def test_tables_of_an_evaluation_that_stood_there_before_go(tmp_path: Path) -> None:
    """An older comparison beside new figures would be taken for theirs."""
    (tmp_path / "notes.csv").write_text("mine")
    row = {"film": "a", "value": 1.0}
    write(Evaluation(figures=(), tables={"films": [row], "differences": [row]}), {}, tmp_path)
    write(Evaluation(figures=(), tables={"films": [row], "maps": []}), {}, tmp_path)
    assert {path.name for path in tmp_path.glob("*.csv")} == {"films.csv", "figures.csv", "notes.csv"}
