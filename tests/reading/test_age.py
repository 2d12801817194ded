"""Ages from headers and tables."""

from __future__ import annotations

import pytest

from hilum.reading.age import lived, years


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


@pytest.mark.parametrize(
    ("born", "made", "told"),
    [
        ("20200102", "20240102", 4),
        ("20200102", "20240101", 3),
        ("2020.01.02", "20240101", 3),
        ("2020.01.02", "2024.01.02", 4),
        ("2020.0102", "20240101", None),
        ("20201399", "20240101", None),
        ("18000101", "20240101", None),
        ("20240102", "20240101", None),
        ("", "20240101", None),
        ("2020", "20240101", None),
    ],
)
def test_years_from_birth_to_film(born: str, made: str, told: int | None) -> None:
    assert lived(born, made) == told
