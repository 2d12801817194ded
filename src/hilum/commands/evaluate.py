"""The command evaluate: measures a model on labelled or segmented films."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.commands.films import choose
from hilum.commands.shared import (
    Fold,
    Model,
    Names,
    Operating,
    Out,
    Repeats,
    Split,
    Thresholds,
    prevalences,
    shares,
    unreadable,
)
from hilum.progress import progress

if TYPE_CHECKING:
    from hilum.evaluation.figures import Evaluation, Figure
    from hilum.evaluation.verdicts import Verdicts
    from hilum.types import Sample


def evaluate(
    model: Model,
    dataset: Names,
    out: Out,
    split: Split = None,
    part: Annotated[
        str | None, typer.Option(help="part of the split to use: test (default), tune or train")
    ] = None,
    fold: Fold = 0,
    seed: Annotated[int, typer.Option(min=0, help="seed of the bootstrap")] = 0,
    specialist: Annotated[
        str | None, typer.Option(help="second classifier, as in predict; must have the same input size")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            help="another classifier, or a csv of scores: write differences.csv, this model's figures minus "
            "the other's"
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(help="also report labels by group: sex, age, view, site, data set; comma-separated")
    ] = "",
    prevalence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=SHARE", help="also report predictive values at this prevalence; repeatable"
        ),
    ] = None,
    point: Operating = "",
    threshold: Thresholds = None,
    repeats: Repeats = 1000,
    stress: Annotated[
        bool,
        typer.Option(
            "--stress", help="also score masks on corrupted films: rotated, dark, noisy, mirrored, ..."
        ),
    ] = False,
    maps: Annotated[
        int,
        typer.Option(
            min=0, help="measure the faithfulness of evidence maps on this many films per finding; slow"
        ),
    ] = 0,
    carded: Annotated[
        bool,
        typer.Option("--card", help="with --maps: save a copy of the model with these results in its card"),
    ] = False,
) -> None:
    """Measure a model on labelled films.

    Every figure has a 95 % interval over patients, except of fewer than 30 films, or 10 with or without the
    label. AUROC, sensitivity and other figures of order and calls count films. Calibration and Brier score
    count each patient once, as train and calibrate do. --by adds an AUROC within groups, which a model
    cannot raise by recognising data sets or sites.

    Writes into OUT:
      evaluation.json  all figures, and what they were measured on
      figures.csv      all figures
      evaluation.html  labels: a page with curves and the worst errors
      films.csv        labels: prediction, truth and groups of each film
      bins.csv         labels: observed frequency by predicted probability
      decision.csv     labels: net benefit by threshold probability
      differences.csv  with --compare: paired differences; with --by also within groups
      maps.csv         with --maps: faithfulness of each evidence map
      outlines.csv     masks: figures of each film
      ratios.csv       masks: the cardiothoracic ratios
      *.png            masks: the worst films, the errors of the ratio

    --compare takes scores of another program or of readers as a csv with a column film (as in films.csv, or
    path) and one column of scores for each label, on any scale; or the films.csv of another evaluation.

    Exit code 1: done, except for films that could not be read.

    Examples:
      hilum evaluate hilum-six csv:ours.csv --by sex,age --out results
      hilum evaluate hilum-six csv:ours.csv --compare readers.csv --out results
      hilum evaluate runs/mine nih:films --split splits/nih.csv --out runs/test
    """
    from hilum.calibration.decide import at_operating_point, specialist_card
    from hilum.evaluation.evaluate import evaluate as run
    from hilum.evaluation.evaluate import films_for, groups_of, judge
    from hilum.evaluation.faithful import carry, judge_maps
    from hilum.evaluation.figures import joined, write
    from hilum.evaluation.page import write_page
    from hilum.evaluation.pictures import write_pictures
    from hilum.reporting.report import identity, provenance
    from hilum.runtime import Runtime, find, head_bias
    from hilum.types import now

    checkpoint = find(model)
    runtime = Runtime(checkpoint)
    scores = Path(compare) if compare and compare.lower().endswith(".csv") else None
    second, other = (
        Runtime(find(name)) if name else None for name in (specialist, None if scores else compare)
    )
    of_labels: dict[str, object] = {"--by": by, "--prevalence": prevalence, "--specialist": specialist}
    of_labels |= {"--compare": compare, "--point": point, "--threshold": threshold, "--maps": maps}
    _refuse_foreign(runtime.card.task, classify=of_labels, segment={"--stress": stress})
    if other and other.card.task == "classify" and not set(runtime.card.labels) & set(other.card.labels):
        raise typer.BadParameter("shares no label with the model", param_hint="--compare")
    groups = [name.strip() for name in by.split(",") if name.strip()]
    groups_of([], groups)  # raises for unknown groups before films are read
    elsewhere = prevalences(prevalence, runtime.card)
    if carded:
        _check_card(maps, out)
    own = shares(threshold, "--threshold")
    runtime.card = at_operating_point(runtime.card, point=point, thresholds=own)
    if second is not None:
        second.card = specialist_card(second.card, point=point, thresholds=own)
    cards = [one.card for one in (runtime, second) if one]
    about: dict[str, object] = {"model": identity(runtime.card), "seed": seed, "repeats": repeats}
    about |= {name: identity(one.card) for name, one in (("specialist", second), ("compared", other)) if one}
    about["thresholds"] = {label: one.model_dump() for label, one in runtime.card.thresholds.items()}
    heard = [*cards, *([other.card] if other else [])]
    chosen = choose(dataset, heard, split=split, part=part, fold=fold)
    about |= chosen.about
    theirs = None
    if scores:
        theirs, about["compared"] = _scored(scores, runtime.card.labels, chosen.samples)
    with progress("evaluating") as tick:
        folder = out.parent / ".hilum-cache"
        cache = films_for(cards, chosen.samples, folder, tick=tick)
        if other:
            theirs = judge(other, films_for([other.card], chosen.samples, folder, tick=tick), tick=tick)
        columns = groups_of(cache.samples, groups, chosen.sources)
        evaluation = run(
            runtime,
            cache,
            specialist=second,
            against=theirs,
            groups=columns,
            prevalences=elsewhere,
            stress=stress,
            seed=seed,
            repeats=repeats,
            tick=tick,
        )
    missing = [name for name, column in columns.items() if not any(column)]
    about |= {"groups": groups, "not available": missing}
    for name in missing:
        print(f"--by {name}: not available, no film has a value for it", file=sys.stderr)
    about |= {"unreadable": cache.failures, **provenance(now())}
    write(evaluation, about, out)
    if runtime.card.task == "segment":
        write_pictures(runtime, cache, evaluation, out, seed=seed)
    else:
        page = write_page(evaluation, about, cache, out)
        if maps:  # they take long; the results so far are kept if they are interrupted
            readable = {sample.id for sample in cache.samples}
            seen = [sample for sample in chosen.samples if sample.id in readable]
            bias = head_bias(checkpoint)
            with progress("judging maps") as tick:
                more = judge_maps(runtime, seen, films=maps, bias=bias, seed=seed, repeats=repeats, tick=tick)
            evaluation = joined(evaluation, more)
            write(evaluation, about, out)
            page = write_page(evaluation, about, cache, out)
        print(f"page\t{page}")
    if carded:
        films = str(about.get("part", "given"))
        print(f"checkpoint\t{carry(checkpoint, evaluation, out / 'checkpoint', part=films)}")
    _print(evaluation, runtime.card.labels if runtime.card.task == "classify" else (), compare, out)
    raise typer.Exit(unreadable(cache.failures.values()))


def _scored(
    scores: Path, labels: Sequence[str], samples: Sequence[Sample]
) -> tuple[Verdicts, dict[str, str]]:
    """The scores of another program or of readers, and their identity; prints how many films have none."""
    from hilum.evaluation.others import read_scores

    films = [sample.id for sample in samples]
    theirs, sha256 = read_scores(scores, labels, films)
    if left := len({*films} - {*theirs.films}):
        print(f"{scores}: has no scores of {left} films, which are not compared", file=sys.stderr)
    return theirs, {"name": scores.name, "version": "", "sha256": sha256}


def _check_card(maps: int, out: Path) -> None:
    """Raise BadParameter if no maps are measured, CheckpointError if a model would be overwritten."""
    from hilum.card import refuse_overwrite

    if not maps:
        raise typer.BadParameter("needs --maps N: it saves the faithfulness of the maps", param_hint="--card")
    refuse_overwrite(out)


def _refuse_foreign(task: str, **options: dict[str, object]) -> None:
    """Raise BadParameter for a given option that is for models of another task."""
    for other, given in options.items():
        for option in (name for name, value in given.items() if value and other != task):
            kind = {"classify": "classifiers", "segment": "segmenters"}[other]
            raise typer.BadParameter(f"is for {kind}; leave it out", param_hint=option)


_TABLE = (
    "AUROC",
    "average precision",
    "Brier skill score",
    "calibration error",
    "observed over expected",
    "sensitivity",
    "specificity",
)
"""Measures of every label that the terminal shows; the files have all."""


def _print(evaluation: Evaluation, labels: Sequence[str], compared: str | None, out: Path) -> None:
    """Print a line per label, a line for each other figure of all films, and the differences."""
    from hilum.statistics.intervals import written

    usual = ("", "at the threshold")
    told = [figure for figure in evaluation.figures if not labels or figure.condition in usual]
    of = {(figure.subject, figure.measure): figure for figure in told}
    known = [label for label in labels if (label, "AUROC") in of and of[label, "AUROC"].positives]
    if known:
        print("\t".join(("label", "films", "positive", *_TABLE)))
    for label in known:
        first = of[label, "AUROC"]
        cells = (_interval(of[label, name]) if (label, name) in of else "" for name in _TABLE)
        print("\t".join((label, str(first.films), str(first.positives), *cells)))
    if absent := [label for label in labels if label not in known]:
        print(f"no film has, or is known to have: {', '.join(absent)}", file=sys.stderr)
    for figure in told:
        if figure.subject not in labels and figure.value == figure.value:
            under = f", {figure.condition}" if figure.condition else ""
            print(f"{figure.subject}\t{figure.measure}{under}\t{_interval(figure)}\tn={figure.films}")
    for row in evaluation.tables.get("differences", []):
        under = f", {row['condition']}" if row["condition"] else ""
        if row["value"] == row["value"] and not (under and row["subject"] in labels):
            more = f"{row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
            p = written(row["p"])
            print(f"{row['subject']}\t{row['measure']}{under}, more than {compared}\t{more}\tP {p}")
    print(f"all {len(evaluation.figures)} figures\t{out / 'figures.csv'}")


def _interval(figure: Figure) -> str:
    """The number with its interval; a dash if it is unknown, and no interval for too few films."""
    if figure.value != figure.value:
        return "-"
    if figure.low != figure.low:
        return f"{figure.value:.3f} (too few films)"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
