"""Print the command line manual, docs/cli.md: `make docs`."""

from __future__ import annotations

import re
import sys

from typer.cli import get_docs_for_click
from typer.main import get_command

from hilum.cli import app

# Click marks text whose line breaks it keeps with a backspace; in Markdown such text goes into a code fence.
KEPT = re.compile(r"^\x08\n(.*:)\n((?:  .*\n)+)", re.MULTILINE)


def manual() -> str:
    """The help of every command in Markdown."""
    hilum = get_command(app)
    text = get_docs_for_click(obj=hilum, ctx=hilum.make_context("hilum", [], resilient_parsing=True))
    return KEPT.sub(lambda found: f"{found[1]}\n\n```\n{outdented(found[2])}```\n", text).strip() + "\n"


def outdented(lines: str) -> str:
    return re.sub(r"^  ", "", lines, flags=re.MULTILINE)


sys.stdout.write(manual())
