"""The command shortcuts."""

from __future__ import annotations

from typing import Annotated

import typer

from hilum.commands.films import choose
from hilum.commands.shared import Fold, Model, Names, Out, Repeats, Split
from hilum.progress import progress


def shortcuts(
    model: Model,
    dataset: Names,
    out: Out,
    split: Split = None,
    part: Annotated[
        str | None, typer.Option(help="part of the split to use: tune (default), test or train")
    ] = None,
    fold: Fold = 0,
    films: Annotated[int, typer.Option(min=0, help="use a random sample of this many films; 0: all")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="seed of the bootstrap and of the sample")] = 0,
    repeats: Repeats = 1000,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures", help="show two films on the page; then share it only as you may share them"
        ),
    ] = False,
) -> None:
    """Test a classifier for shortcut learning.

    Does it use lungs and heart, or cues that merely accompany disease? The AUROC is measured again with all
    but lungs and heart blanked, with the frame (borders, corners, letters) blanked, and with only what lies
    around lungs and heart shown. A linear probe measures how well view, sex, age, site and data set can be
    read from the model's features. Writes shortcuts.json, shortcuts.csv, and shortcuts.html, which explains
    the figures in words.

    Example:
      hilum shortcuts hilum-six csv:ours.csv --out results
    """
    import numpy as np

    from hilum.evaluation.shortcuts import audit
    from hilum.evaluation.shortcuts_page import write
    from hilum.reporting.report import identity, provenance
    from hilum.runtime import Runtime, find
    from hilum.types import now

    runtime = Runtime(find(model))
    about: dict[str, object] = {"model": identity(runtime.card), "seed": seed, "repeats": repeats}
    chosen = choose(dataset, [runtime.card], split=split, part=part, fold=fold, default="tune")
    about |= chosen.about
    samples = chosen.samples
    about["drawn"] = films if 0 < films < len(samples) else 0
    if about["drawn"]:
        drawn = np.random.default_rng(seed).choice(len(samples), films, replace=False)
        samples = [samples[i] for i in sorted(drawn)]
    with progress("looking for shortcuts") as tick:
        found = audit(runtime, samples, sources=chosen.sources, seed=seed, repeats=repeats, tick=tick)
    about |= provenance(now())
    page = write(found, about, out, shown=runtime.card.preparation if pictures else None)
    for line in (*found.missing, *found.conclusions):
        print(line)
    print(f"page\t{page}")
