"""Print the command line's manual, docs/cli.md: `make docs`."""

from __future__ import annotations

import re
import sys

from typer.cli import get_docs_for_click
from typer.main import get_command

from hilum.cli import app

# What Click keeps line by line begins with a backspace; Markdown keeps what stands in a fence.
KEPT = re.compile(r"^\x08\n(.*:)\n((?:  .*\n)+)", re.MULTILINE)


def manual() -> str:
    """Every verb's help in Markdown."""
    hilum = get_command(app)
    text = get_docs_for_click(obj=hilum, ctx=hilum.make_context("hilum", [], resilient_parsing=True))
    return KEPT.sub(lambda found: f"{found[1]}\n\n```\n{outdented(found[2])}```\n", text).strip() + "\n"


def outdented(lines: str) -> str:
    return re.sub(r"^  ", "", lines, flags=re.MULTILINE)


sys.stdout.write(manual())
