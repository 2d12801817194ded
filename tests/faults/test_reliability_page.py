"""Every test that docs/reliability.md names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reliability.md"


def test_the_page_names_tests_that_exist() -> None:
    named = re.findall(r"([\w/]+\.py)::(test_\w+)", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 60
    known: dict[str, set[str]] = {}
    for file, test in named:
        if file not in known:
            tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
            known[file] = {
                node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }
        assert test in known[file], f"{file}::{test}"


def test_every_case_has_a_test_and_a_result() -> None:
    sections = PAGE.read_text(encoding="utf-8").split("## Fuzzing")[0]
    rows = [line.strip("|").split("|") for line in sections.splitlines() if line.startswith("| ")]
    cases = [row for row in rows if row[0].strip() != "case"]
    assert len(cases) > 35
    for case in cases:
        assert len(case) == 4 and "::test_" in case[2] and case[3].strip() in ("held", "mended"), case[0]


def test_every_test_of_this_folder_is_named() -> None:
    page = PAGE.read_text(encoding="utf-8")
    own = Path(__file__).parent
    for path in sorted(own.glob("test_*.py")):
        if path != Path(__file__):
            tests = re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
            missing = [test for test in tests if f"faults/{path.name}::{test}" not in page]
            assert missing in ([], ["test_the_same_seed_damages_alike_and_nearly_always_something"]), missing
