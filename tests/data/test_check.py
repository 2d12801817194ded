"""What `hilum data check` counts and opens."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from hilum.data.check import check
from hilum.labels import UNCERTAIN
from hilum.types import Array, Listing, Sample

NAN = float("nan")


def blank(grey: float) -> Array:
    return np.full((64, 64), grey, np.float32)


def films(count: int) -> list[Sample]:
    return [
        Sample(id=f"f{i}", patient=f"p{i // 2}", image=partial(blank, 0.5), site="here") for i in range(count)
    ]


def test_counts_are_those_of_the_samples(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a film")
    one = Sample(
        id="a", patient="p", image=partial(blank, 0.5), site="x", view="PA", sex="F", labels={"Edema": 1.0}
    )
    two = Sample(id="b", patient="p", image=partial(blank, 0.1), site="y", labels={"Edema": NAN, "Mass": 0.0})
    three = Sample(id="c", patient="q", image=broken, site="x", view="PA", masks=partial(blank, 0))
    found = check(Listing(samples=(one, two, three)))
    assert found.counts == {
        "films": "3",
        "patients": "2",
        "opened": "3",
        "with masks": "1",
        "site x": "2",
        "site y": "1",
        "view PA": "2",
        "view unknown": "1",
        "sex unknown": "2",
        "sex F": "1",
        "label Edema": "1 positive, 2 unknown",
        "label Mass": "0 positive, 2 unknown",
    }
    assert len(found.failures) == 1
    assert str(broken) in found.failures[0]


def test_of_many_films_two_hundred_are_opened_unless_all_are_asked_for() -> None:
    drawn: list[int] = []

    def opening(number: int) -> Array:
        drawn.append(number)
        return blank(0.5)

    many = Listing(
        samples=tuple(Sample(id=str(i), patient=str(i), image=partial(opening, i)) for i in range(250))
    )
    assert check(many).counts["opened"] == "200"
    first, drawn[:] = list(drawn), []
    assert len(set(first)) == 200
    assert max(first) > 200  # drawn from the whole, not the first ones
    check(many)
    assert sorted(drawn) == sorted(first)  # opened side by side
    drawn.clear()
    assert check(many, every=True).counts["opened"] == "250"
    assert sorted(drawn) == list(range(250))


def test_progress_tells_numbers_and_no_names() -> None:
    said: list[tuple[int, int, str]] = []
    check(Listing(samples=tuple(films(3))), tick=lambda *now: said.append(now))
    assert said == [(1, 3, "opening films"), (2, 3, "opening films"), (3, 3, "opening films")]


def test_what_a_data_set_lacks_is_told_and_a_part_of_it_is_nothing_unlike() -> None:
    found = check(
        Listing(
            samples=tuple(films(4)),
            missing=("a.png", "b.png"),
            unlisted=("z.png",),
            passed_over={"lateral": 3, "view unknown": 0},
            published={"films listed": 1_200, "films": 1_000, "patients": 500, "label Edema": 7},
        )
    )
    assert found.counts["missing"] == "2, the first: a.png"
    assert found.counts["not in the table"] == "1, the first: z.png"
    assert found.counts["passed over, lateral"] == "3"
    assert "passed over, view unknown" not in found.counts
    assert found.counts["published films listed"] == "9 of 1,200"
    assert found.counts["published patients"] == "2 of 500"
    assert found.unlike == ()


def test_more_than_was_published_or_other_figures_of_the_whole_are_unlike() -> None:
    published = {"films": 4, "patients": 3, "label Edema": 0}
    whole = Listing(samples=tuple(films(4)), published=published)
    assert check(whole).unlike == ("patients: 2, published 3",)
    more = Listing(samples=tuple(films(6)), published=published)
    assert check(more).unlike == ("films: 6, published 4",)


def test_a_whole_set_is_like_its_figures_though_some_patients_have_films_of_no_use_alone() -> None:
    published = {"films listed": 7, "patients listed": 3}
    whole = Listing(
        samples=tuple(films(4)),
        passed_over={"lateral": 3},
        patients=frozenset({"p0", "p1", "p2"}),
        published=published,
    )
    found = check(whole)
    assert found.counts["patients"] == "2" and found.unlike == ()
    assert found.counts["published patients listed"] == "3 of 3"
    fewer = replace(whole, patients=frozenset({"p0"}))
    assert check(fewer).unlike == ("patients listed: 2, published 3",)


def test_uncertain_labels_are_counted_apart() -> None:
    values = (1.0, UNCERTAIN, UNCERTAIN, NAN)
    samples = [replace(film, labels={"Edema": v}) for film, v in zip(films(4), values, strict=True)]
    counts = check(Listing(samples=tuple(samples))).counts
    assert counts["label Edema"] == "1 positive, 1 unknown, 2 uncertain"
