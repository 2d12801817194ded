"""The command data audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hilum.commands.shared import unreadable
from hilum.leakage import LEAST
from hilum.progress import progress

Audited = Annotated[
    list[str], typer.Argument(metavar="KIND:PATH...", help="data sets; all their films are compared")
]


def data_audit(
    names: Audited,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="folder for duplicates.csv, audit.json and audit.html")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="patient split; also look for matches between its parts")
    ] = None,
    least: Annotated[
        float, typer.Option(min=0.5, max=1.0, help="similarity at which two films count as the same picture")
    ] = LEAST,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="exit code 1 also if there is leakage, not only for unreadable films"),
    ] = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe", help="measure how well films reveal their data set, and how far labels follow it"
        ),
    ] = False,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures", help="show doubtful pairs of films on the page; then do not share the page"
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="seed of the probes' bootstrap")] = 0,
    repeats: Annotated[
        int, typer.Option(min=100, help="number of bootstrap resamples for the probes")
    ] = 1000,
) -> None:
    """Find films and patients that leak.

    Looks for the same film, patient or study in several data sets, or in several parts of a split. Films
    are compared by file, by pixels, and by content, regardless of size, coding, contrast and (up to a
    tenth) crop. With --strict the exit code is 1 if two parts of the split share something; if the test set
    shares something with films of patients who are not in the split; or, without --split, if two data sets
    do.

    Example:
      hilum data audit nih:films nih:more --split splits/nih.csv --out runs/audit
      hilum data split nih:films nih:more --together runs/audit/duplicates.csv --out splits/new.csv
    """
    from hilum.data import open_data
    from hilum.data.split import read_split
    from hilum.leakage.audit import audit, leaks, listed
    from hilum.leakage.looks import gather
    from hilum.leakage.page import write
    from hilum.leakage.traces import told
    from hilum.leakage.words import counts, sentences
    from hilum.reporting.report import provenance
    from hilum.types import now

    if (probe or pictures) and out is None:
        raise typer.BadParameter("needs --out, a folder for the page", param_hint="--probe, --pictures")
    parts = read_split(split) if split else None
    films = listed({name: open_data(name) for name in names}, parts)
    with progress("auditing") as tick:
        looks = gather([film.sample for film in films], tick=tick)
        found = audit(films, looks, split=parts is not None, least=least, tick=tick)
    for what, count in counts(found).items():
        print(f"{what}\t{count}")
    unreadable(found.failures)
    for sentence in sentences(found):
        print(sentence)
    if out is not None:
        about = {
            "data": list(dict.fromkeys(film.data_set for film in films)),
            "split_sha256": parts.sha256 if parts else None,
            "least": least,
            "seed": seed,
            "repeats": repeats,
            **provenance(now()),
        }
        figures = told(films, looks, seed=seed, repeats=repeats) if probe else ()
        page = write(found, about, out, figures=figures, looks=looks.looks if pictures else None)
        print(f"page\t{page}")
    raise typer.Exit(1 if found.failures or (strict and leaks(found)) else 0)
