"""What the pages of evaluations, shortcuts and studies share."""

from __future__ import annotations

import re

import pytest

from hilum.reporting.page import template


@pytest.fixture(scope="module")
def page() -> str:
    """A study's page of one table."""
    return template("study.html").render(
        study={"name": "wide", "folds": ()},
        films=["nih:films"],
        table=(["run", "AUROC"], [["a", "0.850 (0.800 to 0.900)"]]),
        labels=None,
        differences=None,
        pictures=[],
        commits=[],
        provenance={"disclaimer": "Research use only.", "created": "now", "hilum": "0"},
    )


def test_an_interval_is_not_broken_over_lines(page: str) -> None:
    assert "<td>0.850 (0.800\u00a0to\u00a00.900)</td>" in page


def test_a_table_can_be_scrolled_from_the_keyboard_and_goes_on_paper_whole(page: str) -> None:
    assert '<div class="wide" tabindex="0"><table>' in page
    screen = page[page.index("@media screen {") :]
    assert "overflow-x: auto" in screen
    assert "overflow-x" not in page[: page.index("@media screen {")]
    assert "size: A4 landscape" in page


def test_every_colour_of_a_light_screen_has_one_on_a_dark_screen(page: str) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", page, flags=re.DOTALL)[:2]
    assert "prefers-color-scheme: dark" in page
    assert re.findall(r"--\w+", light) == re.findall(r"--\w+", dark)
