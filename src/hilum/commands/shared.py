"""Options and output that several commands share."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.errors import ConfigError

if TYPE_CHECKING:
    from hilum.card import Card

Model = Annotated[str, typer.Argument(help="model: a shipped name, a checkpoint folder or hf://owner/name")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="model to use: a shipped name, a checkpoint folder or hf://owner/name; at most one "
        "classifier and one segmentation model",
    ),
]
Threads = Annotated[int, typer.Option(min=0, help="threads per network; 0: choose the fastest")]
Names = Annotated[
    list[str],
    typer.Argument(
        metavar="KIND:PATH...", help="data sets; a film published in several is used once, from the first"
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="folder for the results")]
Split = Annotated[Path | None, typer.Option(help="patient split; without it all films are used")]
Tuning = Annotated[
    Path | None, typer.Option(help="patient split, whose tuning fold is used; without it all films are")
]
Fold = Annotated[int, typer.Option(help="fold of the split that is the tuning set")]
Repeats = Annotated[int, typer.Option(min=100, help="number of bootstrap resamples")]
Operating = Annotated[
    str,
    typer.Option(
        "--point", help="operating point by its name in the card: Youden index, sensitivity 0.95, ..."
    ),
]
Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold", metavar="LABEL=P", help="call a label positive from this probability; repeatable"
    ),
]


def shown(text: str) -> str:
    """The text on one line; control characters, which file names may hold, are escaped."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode()
        for one in text
    )


def split_forms(forms: str, known: Collection[str]) -> tuple[str, ...]:
    """The forms that --as names, each once. Raises ConfigError for none, or one that is not `known`."""
    found = tuple(dict.fromkeys(form.strip() for form in forms.split(",") if form.strip()))
    if wrong := "''" if not found else next((form for form in found if form not in known), ""):
        raise ConfigError(f"--as {wrong}: not a form; choose from {', '.join(known)}")
    return found


def unreadable(reasons: Iterable[str]) -> int:
    """Print which films could not be read; returns the exit code of a command that did all others."""
    told = [f"unreadable\t{shown(reason)}" for reason in reasons]
    if told:
        print(*told, sep="\n")
    return 1 if told else 0


def shares(given: list[str] | None, option: str) -> dict[str, float]:
    """Parse values from 0 to 1 given as LABEL=VALUE; labels may be spelled as in data sets."""
    from hilum.labels import canonical

    found = {}
    for one in given or []:
        written, _, share = one.rpartition("=")
        label = canonical(written)
        try:
            found[label] = float(share)
        except ValueError:
            found[label] = -1.0
        if not label or not 0 <= found[label] <= 1:
            raise typer.BadParameter(
                f"{one!r}: write LABEL=NUMBER, with a number from 0 to 1", param_hint=option
            )
    return found


def prevalences(given: list[str] | None, card: Card) -> dict[str, float]:
    """Parse prevalences, between 0 and 1, of labels of the card."""
    found = shares(given, "--prevalence")
    for label, share in found.items():
        if label not in card.labels or not 0 < share < 1:
            raise typer.BadParameter(
                f"{label}={share:g}: write LABEL=SHARE, with one of {', '.join(card.labels)} "
                "and a share between 0 and 1",
                param_hint="--prevalence",
            )
    return found
