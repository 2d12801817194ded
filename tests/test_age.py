"""Ages as headers and tables tell them."""

from __future__ import annotations

import pytest

from hilum.age import years


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("058Y", 58),
        ("018M", 1.5),
        ("052W", 52 * 7 / 365.25),
        ("003D", 3 / 365.25),
        ("58", 58),
        ("121Y", None),
        ("58 years", None),
        ("Y", None),
        ("-5Y", None),
        ("", None),
    ],
)
def test_an_age_is_told_in_years(said: str, told: float | None) -> None:
    assert years(said) == (None if told is None else pytest.approx(told))
