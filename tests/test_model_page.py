"""A model's page holds what its files hold, and the committed pages are what the command makes."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from hilum.card import read_card
from hilum.errors import ConfigError
from hilum.model_page import page
from hilum.runtime import find, shipped_names

ROOT = Path(__file__).parents[1]


def commands() -> dict[str, list[Path]]:
    """Model -> tables of figures, as the Makefile makes its page."""
    found = re.findall(r"models (\S+) --markdown(.*) > docs/models/", (ROOT / "Makefile").read_text())
    return {name: [ROOT / word for word in rest.split() if word != "--figures"] for name, rest in found}


@pytest.mark.parametrize("name", shipped_names())
def test_the_committed_pages_are_up_to_date(name: str) -> None:
    made = page(read_card(find(name)), commands()[name])
    assert made == (ROOT / "docs" / "models" / f"{name}.md").read_text(encoding="utf-8"), "run: make docs"


def test_every_number_comes_from_a_file() -> None:
    card, table = read_card(find("hilum-six")), ROOT / "docs" / "results" / "hilum-six-test.csv"
    made = page(card, [table])
    with table.open(newline="", encoding="utf-8") as file:
        figures = {(row["subject"], row["measure"], row["condition"]): row for row in csv.DictReader(file)}
    for label in card.labels:
        row = figures[label, "AUROC", ""]
        told = "{:.3f} ({:.3f} to {:.3f})".format(*(float(row[k]) for k in ("value", "low", "high")))
        assert re.search(rf"^\| {label} \| {row['films']} \| {re.escape(told)} ", made, re.MULTILINE)
        assert f"- name: AUROC, {label}\n      type: auroc\n      value: {float(row['value']):.3f}" in made
        points = " | ".join(f"{at[label].value:.4f}" for at in card.points.values())
        assert f"| {label} | {points} |" in made
        assert f"| {label} | {card.sets[label].present:.4f} |" in made
    assert all(digest in made for digest in card.files.values())
    assert "&#" not in made  # Markdown, nothing escaped for HTML


def test_its_front_matter_is_yaml() -> None:
    yaml = pytest.importorskip("yaml")
    table = ROOT / "docs" / "results" / "lungs-jsrt-test.csv"
    head = yaml.safe_load(page(read_card(find("hilum-lungs")), [table]).split("---\n")[1])
    assert head["pipeline_tag"] == "image-segmentation"
    (result,) = head["model-index"][0]["results"]
    assert result["dataset"]["name"] == "lungs-jsrt-test"
    assert all(0.9 < metric["value"] <= 1 for metric in result["metrics"])


def test_a_card_without_points_or_figures_leaves_their_tables_out() -> None:
    card = read_card(find("hilum-six")).model_copy(update={"points": {}, "sets": {}, "metrics": ()})
    made = page(card)
    assert [line for line in made.splitlines() if line.startswith("## ")] == [
        "## Learned from",
        "## Files",
        "## Cite",
    ]


def test_what_has_no_figures_is_named(tmp_path: Path) -> None:
    card = read_card(find("hilum-six"))
    with pytest.raises(ConfigError, match="only pre-trained"):
        page(card.model_copy(update={"task": "pretrain"}))
    wrong = tmp_path / "films.csv"
    wrong.write_text("film,patient\na,b\n")
    for path in (wrong, tmp_path / "none.csv"):
        with pytest.raises(ConfigError, match="no table of figures"):
            page(card, [path])
