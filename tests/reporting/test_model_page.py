"""A model's page holds what its files hold, and the committed pages are what the command makes."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from hilum.card import read_card
from hilum.errors import ConfigError
from hilum.reporting.model_page import page
from hilum.runtime import find, shipped_names

ROOT = Path(__file__).parents[2]


def commands() -> dict[str, list[Path]]:
    """Model -> tables of figures, as the Makefile makes its page."""
    found = re.findall(r"models (\S+) --markdown(.*) > docs/models/", (ROOT / "Makefile").read_text())
    return {name: [ROOT / word for word in rest.split() if word != "--figures"] for name, rest in found}


@pytest.mark.parametrize("name", shipped_names())
def test_the_committed_pages_are_up_to_date(name: str) -> None:
    made = page(read_card(find(name)), commands()[name], licence="apache-2.0")
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


def test_the_licence_is_the_users_own() -> None:
    yaml = pytest.importorskip("yaml")
    card = read_card(find("hilum-six"))
    for licence, told in (("cc-by-4.0", "cc-by-4.0"), ("", None)):
        assert yaml.safe_load(page(card, licence=licence).split("---\n")[1]).get("license") == told
    with pytest.raises(ConfigError, match="no licence's short name"):
        page(card, licence="mit\ntags: [x]")


def test_without_figures_there_is_no_index_of_results(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    card = read_card(find("hilum-six"))
    untold = tmp_path / "untold.csv"
    untold.write_text("subject,measure,condition,films,value,low,high\nEdema,AUROC,,3,,,\n")
    for tables in ([], [untold]):
        head = yaml.safe_load(page(card, tables).split("---\n")[1])
        assert "model-index" not in head and head["library_name"] == "hilum"


def test_tables_called_figures_go_by_their_folders_and_none_replaces_another(tmp_path: Path) -> None:
    card, tables = read_card(find("hilum-six")), [tmp_path / name / "figures.csv" for name in ("nih", "ours")]
    for table in tables:
        table.parent.mkdir()
        table.write_bytes((ROOT / "docs" / "results" / "hilum-six-test.csv").read_bytes())
    made = page(card, tables)
    assert [line for line in made.splitlines() if line.startswith("## On ")] == [
        "## On tuning films",
        "## On nih",
        "## On ours",
    ]
    with pytest.raises(ConfigError, match="another table is called nih too; rename"):
        page(card, [tables[0], tables[0]])


@pytest.mark.parametrize(
    ("name", "model", "command"),
    [
        ("hilum-six", "runs/our model", "hilum predict films/ --out results --model 'runs/our model'"),
        ("hilum-lungs", "", "hilum segment films/ --out results --model hilum-lungs"),
        ("hilum-gate", "hilum-gate", "hilum predict films/ --out results"),
    ],
)
def test_the_page_says_how_to_use_the_model_by_the_name_it_was_asked_for(
    name: str, model: str, command: str
) -> None:
    assert f"```\n{command}\n```" in page(read_card(find(name)), model=model)


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
