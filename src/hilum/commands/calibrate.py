"""The command calibrate."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hilum.commands.films import choose
from hilum.commands.shared import Fold, Model, Names, Operating, Out, Tuning, prevalences, unreadable
from hilum.progress import progress


def calibrate(
    model: Model,
    dataset: Names,
    out: Out,
    split: Tuning = None,
    fold: Fold = 0,
    prevalence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=SHARE", help="prevalence of a label where the model will be used; repeatable"
        ),
    ] = None,
    point: Operating = "",
) -> None:
    """Recalibrate a model on your own films.

    Fits probabilities and thresholds to labelled films; one or two hundred are enough. For each label the
    choice is between no change, a new intercept, a temperature, and both (Platt): the simplest that is
    within one standard error of the best on patients it was not fitted on. Each patient counts once. With
    fewer than 20 patients of either class only the intercept can change. The new card has all operating
    points; --point selects the active one (default: the one active now). Labels with at least 20 patients
    of each class also get prediction sets. Mutually exclusive labels are corrected together: no change, a
    temperature, or a temperature with one intercept per label. They have no operating points; if training
    weighted rare classes up, their calls do not change.

    Exit code 1: done, except for films that could not be read.

    Examples:
      hilum calibrate hilum-six csv:ours.csv --out runs/ours
      hilum predict films/ --out results --model runs/ours
    """
    from hilum.adapting.recalibrate import ready, recalibrate
    from hilum.calibration.decide import YOUDEN
    from hilum.card import read_card
    from hilum.evaluation.evaluate import films_for
    from hilum.runtime import find

    folder = find(model)
    card = read_card(folder)
    elsewhere = prevalences(prevalence, card)
    ready(card, out, elsewhere)
    chosen = choose(dataset, [card], split=split, part="tune" if split else None, fold=fold)
    acting = point or next((name for name, at in card.points.items() if at == card.thresholds), YOUDEN)
    with progress("calibrating") as tick:
        cache = films_for([card], chosen.samples, out.parent / ".hilum-cache", tick=tick)
        fitted, fits = recalibrate(
            folder, cache, out, data=chosen.data, point=acting, prevalences=elsewhere, tick=tick
        )
    print("label\tfilms\tpositive\tcorrection\tlog loss before\tafter\tslope\tintercept")
    for one in fits:
        losses = "\t".join(_loss(one.losses.get(way)) for way in ("unchanged", one.method))
        line = f"{one.calibration.slope:.3f}\t{one.calibration.intercept:+.3f}"
        print(f"{one.label}\t{one.films}\t{one.events}\t{one.method}\t{losses}\t{line}")
    if lost := card.sets.keys() - fitted.sets.keys():
        print(
            f"no prediction sets any more, too few patients here: {', '.join(sorted(lost))}", file=sys.stderr
        )
    print(f"checkpoint\t{out / 'checkpoint'}")
    raise typer.Exit(unreadable(cache.failures.values()))


def _loss(loss: float | None) -> str:
    """A cell of the table of losses."""
    return "too few patients" if loss is None or loss != loss else f"{loss:.4f}"
