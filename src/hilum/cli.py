"""The command line: thin verbs that parse, call and print. Results to stdout, everything else to stderr."""

from __future__ import annotations

import errno
import inspect
import re
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from hilum import __version__
from hilum.commands.calibrate import calibrate
from hilum.commands.data import data
from hilum.commands.evaluate import evaluate
from hilum.commands.export import export
from hilum.commands.hub import push
from hilum.commands.leaks import data_audit
from hilum.commands.pacs import pacs
from hilum.commands.predict import predict, segment
from hilum.commands.selftest import selftest
from hilum.commands.serve import serve
from hilum.commands.shared import shown
from hilum.commands.shortcuts import shortcuts
from hilum.commands.train import ensemble, study, train, tune
from hilum.errors import HilumError

EPILOG = "Research use only. Not a medical device."

app = typer.Typer(
    name="hilum",
    help="Analyse frontal chest radiographs, and train the models that do it.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data.command("audit")(data_audit)
app.add_typer(data, name="data")


def main() -> None:
    """Run the command line; a Hilum error is one line on stderr and exit code 2."""
    if isinstance(sys.stdout, TextIOWrapper):  # a path that is not UTF-8 must not crash the last line
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except HilumError as error:
        print(f"hilum: {shown(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "make room there and run it again" if full else "check the path and the disk"
        place = shown(str(error.filename or "output"))
        print(f"hilum: {place}: {error.strerror or type(error).__name__}; {remedy}", file=sys.stderr)
        raise SystemExit(2) from None


def _version(show: bool) -> None:
    if show:
        print(f"hilum {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    del version


app.command(epilog=EPILOG)(predict)
app.command(epilog=EPILOG)(segment)
for verb in (
    train,
    ensemble,
    study,
    tune,
    evaluate,
    calibrate,
    export,
    shortcuts,
    serve,
    pacs,
    push,
    selftest,
):
    app.command(epilog=EPILOG)(verb)


@app.command(epilog=EPILOG)
def models(
    name: Annotated[
        str | None,
        typer.Argument(help="show the full card of this model: a shipped name, a folder or hf://owner/name"),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="print a Markdown page in the format of model hubs")
    ] = False,
    figures: Annotated[
        list[Path] | None, typer.Option(help="figures.csv of an evaluation, to show on the page; repeatable")
    ] = None,
) -> None:
    """List the models, or show one model's card.

    Without a name: the shipped models. With one: its card as JSON, or as a Markdown page.

    Example:
      hilum models runs/mine --markdown --figures runs/test/figures.csv > README.md
    """
    from hilum.card import card_json, read_card
    from hilum.reporting.model_page import page
    from hilum.runtime import find, shipped_names

    if name:
        card = read_card(find(name))
        # The licence of other models is for their owners to state.
        licence = "apache-2.0" if name in shipped_names() else ""
        print(page(card, figures or (), model=name, licence=licence) if markdown else card_json(card), end="")
        return
    for shipped in shipped_names():
        card = read_card(find(shipped))
        size = card.preparation.size
        print(f"{card.name}\t{card.version}\t{card.task}\t{size} x {size}\t{', '.join(card.labels)}")


def _by_lines(text: str) -> str:
    """A docstring as help: a line that ends in a colon keeps the indented ones below it as they are."""
    # Click rewraps every paragraph but those that begin with a backspace.
    return re.sub(r"^\S.*:\n(?=  )", "\b\n\\g<0>", inspect.cleandoc(text), flags=re.MULTILINE)


for command in (*app.registered_commands, *data.registered_commands):
    command.help = _by_lines(command.callback.__doc__ or "") if command.callback else None
