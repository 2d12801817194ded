"""What the documents tell is what the files say that they tell it from."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_tables_of_results_are_those_of_the_evaluations() -> None:
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    assert spec is not None and spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    assert all(f"<!-- table: {name} -->" in page for name in tables.TABLES)
    assert tables.filled(page) == page, "run: make docs"
    broken = page.replace("0.7", "0.8")
    assert tables.filled(broken) != broken
