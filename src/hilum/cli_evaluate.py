"""The verbs that score a model on labelled films, and fit its probabilities to them: evaluate, calibrate."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.cli_data import Names, Operating, Out, Thresholds, shares
from hilum.progress import progress

if TYPE_CHECKING:
    from hilum.card import Card
    from hilum.figures import Evaluation


UNSPLIT = "no --split: films that the model learned from, or that are kept to test it, may be among these"


def evaluate(
    model: Annotated[str, typer.Argument(help="a shipped model's name or a checkpoint's folder")],
    dataset: Names,
    out: Out,
    split: Annotated[Path | None, typer.Option(help="patient split; without it all films are used")] = None,
    part: Annotated[str, typer.Option(help="part of the split: test, tune or train")] = "test",
    fold: Annotated[int, typer.Option(help="the split's fold that is 'tune'")] = 0,
    seed: Annotated[int, typer.Option(help="of the bootstrap")] = 0,
    specialist: Annotated[
        str | None, typer.Option(help="a second classifier, as for predict; of the same size")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            help="another classifier: write differences.csv, AUROC of the one less that of the other"
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(help="labels also for groups of films: sex, age, view, site; several with commas")
    ] = "",
    prevalence: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=SHARE", help="predictive values also where a label is so frequent"),
    ] = None,
    point: Operating = "",
    threshold: Thresholds = None,
    repeats: Annotated[int, typer.Option(min=100, help="resamples of the bootstrap")] = 1000,
    stress: Annotated[
        bool, typer.Option("--stress", help="outlines also on turned, dark, noisy, mirrored, ... films")
    ] = False,
    maps: Annotated[
        int, typer.Option(min=0, help="judge the evidence maps on so many films with each finding; slow")
    ] = 0,
    carded: Annotated[
        bool, typer.Option("--card", help="with --maps: a copy of the model whose card tells reports of them")
    ] = False,
) -> None:
    """Score a model on labelled or outlined films, each figure with its 95 % interval over patients.

    Writes into OUT:
      evaluation.json  all figures, and what they are of
      figures.csv      all figures
      evaluation.html  labels: a page with curves and the worst errors
      films.csv        labels: what was said, and is true, of each film
      differences.csv  with --compare: paired by film
      maps.csv         with --maps: how faithful each map is
      outlines.csv     outlines: film by film
      ratios.csv       outlines: the cardiothoracic ratios
      *.png            outlines: the worst films, the ratio's errors

    Examples:
      hilum evaluate hilum-six csv:ours.csv --by sex,age --out results
      hilum evaluate runs/mine nih:films --split splits/nih.csv --out runs/test
    """
    from hilum.data import join, open_data, short
    from hilum.data.split import read_split, select
    from hilum.decide import operated, seconded
    from hilum.evaluate import evaluate as run
    from hilum.evaluate import films_for, groups_of, judge
    from hilum.evaluate_pictures import write_pictures
    from hilum.evaluation_page import write_page
    from hilum.faithful import carry, judge_maps
    from hilum.figures import joined, write
    from hilum.report import identity, provenance
    from hilum.runtime import Runtime, find, head_bias
    from hilum.types import now

    runtime = Runtime(find(model))
    second, other = (None if name is None else Runtime(find(name)) for name in (specialist, compare))
    groups = [name.strip() for name in by.split(",") if name.strip()]
    groups_of([], groups)  # before films are read, for what is asked wrongly
    elsewhere = _prevalences(prevalence, runtime.card)
    if runtime.card.task == "segment" and (groups or elsewhere or second or point or threshold or maps):
        raise typer.BadParameter(
            "--by, --prevalence, --point, --threshold, --specialist and --maps are for classifiers"
        )
    if carded and not maps:
        raise typer.BadParameter("tells how faithful maps are; give --maps N as well", param_hint="--card")
    own = shares(threshold, "--threshold")
    runtime.card = operated(runtime.card, point=point, thresholds=own)
    if second is not None:
        second.card = seconded(second.card, point=point, thresholds=own)
    cards = [one.card for one in (runtime, second) if one]
    about: dict[str, object] = {"model": identity(runtime.card), "seed": seed, "repeats": repeats}
    about |= {name: identity(one.card) for name, one in (("specialist", second), ("compared", other)) if one}
    about["thresholds"] = {label: one.model_dump() for label, one in runtime.card.thresholds.items()}
    about["data"] = [short(name) for name in dataset]
    samples, warnings = join([open_data(name) for name in dataset]), [UNSPLIT]
    if split is not None:
        if part not in ("train", "tune", "test"):
            raise typer.BadParameter("must be test, tune or train", param_hint="--part")
        parts = read_split(split)
        about |= {"part": part, "split_sha256": parts.sha256}
        samples = select(samples, parts, part, fold=fold)  # type: ignore[arg-type]
        warnings = informed([*cards, *([other.card] if other else [])], parts.sha256, part, fold)
    with progress("evaluating") as tick:
        folder = out.parent / ".hilum-cache"
        cache = films_for(cards, samples, folder, tick=tick)
        theirs = (
            judge(other, films_for([other.card], samples, folder, tick=tick), tick=tick) if other else None
        )
        columns = groups_of(cache.samples, groups)
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
        if maps:
            readable = {sample.id for sample in cache.samples}
            evaluation = joined(
                evaluation,
                judge_maps(
                    runtime,
                    [sample for sample in samples if sample.id in readable],
                    films=maps,
                    bias=head_bias(find(model)),
                    seed=seed,
                    repeats=repeats,
                    tick=tick,
                ),
            )
    missing = [name for name, column in columns.items() if not any(column)]
    about |= {"groups": groups, "not available": missing, "warnings": warnings}
    for warning in (
        *warnings,
        *(f"--by {name}: not available, the data tell it of no film" for name in missing),
    ):
        print(warning, file=sys.stderr)
    about |= {"unreadable": cache.failures, **provenance(now())}
    write(evaluation, about, out)
    if runtime.card.task == "classify":
        print(f"page\t{write_page(evaluation, about, cache, out)}")
    else:
        write_pictures(runtime, cache, evaluation, out, seed=seed)
    if carded:
        films = part if split else "given"
        print(f"checkpoint\t{carry(find(model), evaluation, out / 'checkpoint', part=films)}")
    _print(evaluation, compare)


def _print(evaluation: Evaluation, compared: str | None) -> None:
    """Every figure on a line of its own, and last the differences from another model."""
    for figure in evaluation.figures:
        positives = "" if figure.positives is None else f", {figure.positives} positive"
        interval = f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
        under = f", {figure.condition}" if figure.condition else ""
        print(f"{figure.subject}\t{figure.measure}{under}\t{interval}\tn={figure.films}{positives}")
    for row in evaluation.tables.get("differences", []):
        if row["value"] == row["value"]:
            interval = f"{row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
            print(f"{row['subject']}\tAUROC more than {compared}\t{interval}\tP={row['p']:.3f}")


def calibrate(
    model: Annotated[str, typer.Argument(help="a shipped model's name or a checkpoint's folder")],
    dataset: Names,
    out: Out,
    split: Annotated[
        Path | None,
        typer.Option(help="patient split, of which the tuning part is used; without it all films"),
    ] = None,
    fold: Annotated[int, typer.Option(help="the split's fold that is 'tune'")] = 0,
    prevalence: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=SHARE", help="how frequent a label is where the model will work"),
    ] = None,
    point: Operating = "",
) -> None:
    """Fit a model's probabilities and thresholds to your own labelled films; a hundred or two will do.

    For each label the correction is taken that does best on patients it was not fitted on: none, another
    intercept, a temperature, or both (Platt). With fewer than 20 films of either class only the intercept
    moves. The card gets all operating points, of which --point acts, or else the one that did before, and
    prediction sets for labels that 20 patients or more have.

    Examples:
      hilum calibrate hilum-six csv:ours.csv --out runs/ours
      hilum predict films/ --out results --model runs/ours
    """
    from hilum.card import read_card
    from hilum.data import join, open_data, short
    from hilum.data.split import read_split, select
    from hilum.decide import YOUDEN
    from hilum.evaluate import films_for
    from hilum.recalibrate import ready, recalibrate
    from hilum.runtime import find

    folder = find(model)
    card = read_card(folder)
    samples = join([open_data(name) for name in dataset])
    data = " + ".join(short(name) for name in dataset)
    ready(card, out)
    if split is None:
        print(UNSPLIT, file=sys.stderr)
    else:
        parts = read_split(split)
        samples = select(samples, parts, "tune", fold=fold)
        data += f", tuning fold {fold} of split {parts.sha256[:12]}"
        for warning in informed([card], parts.sha256, "tune", fold):
            print(warning, file=sys.stderr)
    elsewhere = _prevalences(prevalence, card)
    acting = point or next((name for name, at in card.points.items() if at == card.thresholds), YOUDEN)
    with progress("calibrating") as tick:
        cache = films_for([card], samples, out.parent / ".hilum-cache", tick=tick)
        _, fits = recalibrate(folder, cache, out, data=data, point=acting, prevalences=elsewhere, tick=tick)
    print("label\tfilms\tpositive\tcorrection\tlog loss before\tafter\tslope\tintercept")
    for one in fits:
        losses = f"{one.losses['unchanged']:.4f}\t{one.losses[one.method]:.4f}"
        line = f"{one.calibration.slope:.3f}\t{one.calibration.intercept:+.3f}"
        print(f"{one.label}\t{one.films}\t{one.events}\t{one.method}\t{losses}\t{line}")
    print(f"checkpoint\t{out / 'checkpoint'}")


def informed(cards: Sequence[Card], split: str, part: str, fold: int) -> list[str]:
    """Warnings of models that may have learned from the films, for all that the cards tell."""
    found = []
    for card in cards:
        if card.split_sha256 != split:
            found.append(f"{card.name}: trained by another split, it may have learned from these films")
        elif part == "train" or (part == "tune" and card.config.get("fold") != fold):
            found.append(f"{card.name}: learned from these films; its figures are too good")
    return found


def _prevalences(given: list[str] | None, card: Card) -> dict[str, float]:
    """Those of labels of the card, between 0 and 1."""
    found = shares(given, "--prevalence")
    for label, share in found.items():
        if label not in card.labels or not 0 < share < 1:
            raise typer.BadParameter(
                f"{label}={share:g}: give one of {', '.join(card.labels)}, =, and a share between 0 and 1",
                param_hint="--prevalence",
            )
    return found
