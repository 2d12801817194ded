"""What the documents tell is what the files say that they tell it from, and their links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]


def test_the_tables_of_results_are_those_of_the_evaluations() -> None:
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    assert spec is not None and spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    pages = [path.read_text(encoding="utf-8") for path in (DOCS / "results").glob("*.md")]
    assert all(any(f"<!-- table: {name} -->" in page for page in pages) for name in tables.TABLES)
    assert [tables.filled(page) for page in pages] == pages, "run: make docs"
    broken = [page.replace("0.7", "0.8") for page in pages]
    assert [tables.filled(page) for page in broken] != broken


def anchors(page: Path) -> set[str]:
    """The names that a page's headings go by: lower case, blanks as hyphens, without other signs."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"
