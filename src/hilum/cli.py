"""The command line: thin verbs that parse, call and print. Results to stdout, everything else to stderr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hilum import __version__
from hilum.cli_data import Names, Out, data
from hilum.cli_predict import predict, segment
from hilum.cli_train import ensemble, study, train, tune
from hilum.errors import HilumError
from hilum.progress import progress

EPILOG = "Research use only. Not a medical device."

app = typer.Typer(
    name="hilum",
    help="Frontal chest radiographs: read, outline, classify, explain; train the models that do it.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data, name="data")


def main() -> None:
    """Run the command line; a Hilum error is one line on stderr and exit code 2."""
    try:
        app()
    except HilumError as error:
        print(f"hilum: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        print(
            f"hilum: {error.filename or 'output'}: {error.strerror}; check the path and the disk",
            file=sys.stderr,
        )
        raise SystemExit(2) from None


def _version(show: bool) -> None:
    if show:
        print(f"hilum {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and leave")
    ] = False,
) -> None:
    del version


app.command(epilog=EPILOG)(predict)
app.command(epilog=EPILOG)(segment)
for verb in (train, ensemble, study, tune):
    app.command(epilog=EPILOG)(verb)


@app.command(epilog=EPILOG)
def evaluate(
    model: Annotated[str, typer.Argument(help="a shipped model's name or a checkpoint's folder")],
    dataset: Names,
    out: Out,
    split: Annotated[Path | None, typer.Option(help="patient split; without it all films are used")] = None,
    part: Annotated[str, typer.Option(help="part of the split: test, tune or train")] = "test",
    fold: Annotated[int, typer.Option(help="the split's fold that is 'tune'")] = 0,
    seed: Annotated[int, typer.Option(help="of the bootstrap")] = 0,
    specialist: Annotated[
        Path | None, typer.Option(help="a second classifier, as for predict; of the same size")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            help="another classifier: write differences.csv, AUROC of the one less that of the other"
        ),
    ] = None,
    stress: Annotated[
        bool, typer.Option("--stress", help="outlines also on turned, dark, noisy, mirrored, ... films")
    ] = False,
) -> None:
    """Score a model on labelled or outlined films, each figure with its 95 % interval over patients.

    Writes evaluation.json and figures.csv; for labels also films.csv, what was said and what is true of each
    film, and with --compare differences.csv, paired by film; for outlines outlines.csv and ratios.csv, film
    by film, and pictures of the worst films and of the ratio's errors.
    """
    from hilum.data import join, open_data, short
    from hilum.data.split import read_split, select
    from hilum.evaluate import evaluate as run
    from hilum.evaluate import films_for, judge
    from hilum.evaluate_pictures import write_pictures
    from hilum.figures import write
    from hilum.report import identity, provenance
    from hilum.runtime import Runtime, find
    from hilum.types import now

    runtime = Runtime(find(model))
    samples = join([open_data(name) for name in dataset])
    about: dict[str, object] = {"model": identity(runtime.card), "seed": seed}
    second = None if specialist is None else Runtime(find(specialist))
    if second is not None:
        about["specialist"] = identity(second.card)
    about["data"] = [short(name) for name in dataset]
    if split is None:
        print("no --split: films that the model learned from may be among these", file=sys.stderr)
    else:
        if part not in ("train", "tune", "test"):
            raise typer.BadParameter("must be test, tune or train", param_hint="--part")
        parts = read_split(split)
        about |= {"part": part, "split_sha256": parts.sha256}
        samples = select(samples, parts, part, fold=fold)  # type: ignore[arg-type]
    with progress("evaluating") as tick:
        cards = [one.card for one in (runtime, second) if one]
        cache = films_for(cards, samples, out.parent / ".hilum-cache", tick=tick)
        theirs = None
        if compare is not None:
            other = Runtime(find(compare))
            about["compared"] = identity(other.card)
            films = films_for([other.card], samples, out.parent / ".hilum-cache", tick=tick)
            theirs = judge(other, films, tick=tick)
        evaluation = run(
            runtime, cache, specialist=second, against=theirs, stress=stress, seed=seed, tick=tick
        )
    about |= {"unreadable": cache.failures, **provenance(now())}
    write(evaluation, about, out)
    write_pictures(runtime, cache, evaluation, out, seed=seed)
    for figure in evaluation.figures:
        positives = "" if figure.positives is None else f", {figure.positives} positive"
        interval = f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
        under = f", {figure.condition}" if figure.condition else ""
        print(f"{figure.subject}\t{figure.measure}{under}\t{interval}\tn={figure.films}{positives}")
    for row in evaluation.tables.get("differences", []):
        interval = f"{row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        print(f"{row['subject']}\tAUROC more than {compare}\t{interval}\tP={row['p']:.3f}")


@app.command(epilog=EPILOG)
def models(name: Annotated[str | None, typer.Argument(help="show this model's whole card")] = None) -> None:
    """List the shipped models, or show one model's card."""
    from hilum.card import card_json, read_card
    from hilum.runtime import find, shipped_names

    if name:
        print(card_json(read_card(find(name))), end="")
        return
    for shipped in shipped_names():
        card = read_card(find(shipped))
        size = card.preparation.size
        print(f"{card.name}\t{card.version}\t{card.task}\t{size} x {size}\t{', '.join(card.labels)}")
