"""The command export."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from hilum.commands.films import choose
from hilum.commands.shared import Fold, Model, Names, Out, Tuning, unreadable
from hilum.progress import progress

if TYPE_CHECKING:
    from hilum.adapting.export import Target


def export(
    model: Model,
    dataset: Names,
    out: Out,
    to: Annotated[str, typer.Option(help="onnx, or openvino (faster on Intel and AMD processors)")] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="use 8-bit integers (without it openvino uses bf16)")
    ] = False,
    split: Tuning = None,
    fold: Fold = 0,
) -> None:
    """Add a faster build to a copy of a model.

    The build is written only if it loses at most 0.003 of mean AUROC, or 0.002 of mean Dice, on your
    labelled films. A few hundred films are enough; --int8 also takes its value ranges from them. The build
    runs where the machine supports it (int8: VNNI, or the equivalent on ARM; otherwise bf16), and so must
    the machine that exports. Elsewhere the original graph runs; results name which one did.
    Exit code 1: done, except for films that could not be read.

    Examples:
      hilum export hilum-six csv:ours.csv --int8 --out runs/six-int8
      hilum export hilum-lungs masks:ours --to openvino --out runs/lungs-openvino
      hilum predict films/ --out results --model runs/six-int8 --model runs/lungs-openvino
    """
    from hilum.adapting.export import Target, planned
    from hilum.adapting.export import export as run
    from hilum.card import read_card, refuse_overwrite
    from hilum.evaluation.evaluate import films_for
    from hilum.runtime import find

    if to not in get_args(Target):
        raise typer.BadParameter(f"choose from {', '.join(get_args(Target))}", param_hint="--to")
    folder = find(model)
    card = read_card(folder)
    planned(card, to=cast("Target", to), int8=int8)  # raises for a wrong request before films are read
    refuse_overwrite(out)
    chosen = choose(dataset, [card], split=split, part="tune" if split else None, fold=fold)
    with progress("exporting") as tick:
        cache = films_for([card], chosen.samples, out.parent / ".hilum-cache", tick=tick)
        made = run(folder, cache, out, to=cast("Target", to), int8=int8, data=chosen.data, tick=tick)
    build = made.build
    print(f"{build.measure}\t{build.after:.4f} for {build.before:.4f}\tn={build.films}")
    print(
        f"milliseconds a film\t{made.after_ms:.1f} for {made.before_ms:.1f}"
        f"\t{made.before_ms / made.after_ms:.1f} x as fast here"
    )
    if made.after_ms >= made.before_ms:
        print("it is no faster on this machine; leave it, unless another one is meant", file=sys.stderr)
    print(f"checkpoint\t{out / 'checkpoint'}")
    raise typer.Exit(unreadable(cache.failures.values()))
