"""The tables of an evaluation's page."""

from __future__ import annotations

import numpy as np

from hilum.evaluation.figures import Evaluation, Figure
from hilum.evaluation.grids import grids


def figure(measure: str, films: int, condition: str = "", value: float = 0.9) -> Figure:
    about = {"subject": "Edema", "positives": None, "low": value - 0.1, "high": value + 0.05}
    return Figure(measure=measure, condition=condition, films=films, value=value, **about)


def test_sets_are_told_without_a_count_for_each_measure_is_of_films_of_its_own() -> None:
    own = [
        figure(f"coverage of the sets, {one}", n, "promised 90%")
        for one, n in (("present", 12), ("absent", 88))
    ]
    ((title, caption, head, rows),) = grids(Evaluation(figures=tuple(own)), [])
    assert title == "Prediction sets" and caption.startswith("Promised 90%")
    assert head == ["", "coverage of the sets, present", "coverage of the sets, absent"]
    assert rows == [["Edema", "0.900 (0.800 to 0.950)", "0.900 (0.800 to 0.950)"]]


def test_differences_say_of_which_pairs_of_films_they_are() -> None:
    row = {
        "subject": "Edema",
        "measure": "AUROC",
        "condition": "",
        "films": 90,
        "value": 0.1,
        "low": 0.05,
        "high": 0.2,
    }
    row |= {"p": 0.0004, "corrected": 0.0024, "delong_low": 0.04, "delong_high": 0.16, "delong_p": 0.02}
    within = row | {"condition": "pairs of one site", "corrected": np.nan, "delong_p": np.nan}
    plain, both = (
        grids(Evaluation(figures=(), tables={"differences": rows}), [])[0] for rows in ([row], [row, within])
    )
    assert plain[1] == "Paired by film."
    assert (
        both[1]
        == "Paired by film. Pairs of one group: each film is compared only with films of the same group."
    )
    first, second = both[3]
    assert first == [
        "Edema, AUROC",
        "90",
        "+0.100 (+0.050 to +0.200)",
        "<0.001",
        "0.002",
        "+0.100 (+0.040 to +0.160)",
        "0.020",
    ]
    assert second == ["Edema, AUROC, pairs of one site", "90", first[2], "<0.001", "", "", ""]
