"""The command line: thin verbs that parse, call and print. Results to stdout, everything else to stderr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hilum import __version__
from hilum.cli_data import Names, Out, data
from hilum.cli_predict import predict, segment
from hilum.errors import HilumError
from hilum.progress import progress

if TYPE_CHECKING:
    from hilum.card import Card

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


@app.command(epilog=EPILOG)
def train(
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG.toml] [key=value ...]", help="a TOML file, and settings"),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="KIND:PATH", help="films to train on; may be repeated"),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="classify, segment, or pretrain (on films without labels)")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME|DIR", help="fine-tune this shipped or trained checkpoint"),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="folder of the run")] = None,
    devices: Annotated[int | None, typer.Option(help="devices (GPUs, or processes on a CPU)")] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="go on where an interrupted run stopped; repeat its other arguments"),
    ] = False,
    show: Annotated[
        bool, typer.Option("--settings", help="list all settings with their defaults, and leave")
    ] = False,
) -> None:
    """Train a model from a TOML file, or with good defaults from nothing but films.

    Writes into the run's folder: history.csv, curve.png, and checkpoint/, which predict and evaluate take.

    Examples:
      hilum train --data folder:films/ --task classify --out runs/mine
      hilum train --data csv:labels.csv --task classify --from hilum-six epochs=5 rate=1e-4
      hilum train configs/hilum-lungs.toml preparation.size=128
      hilum train --data folder:films/ --task pretrain --out runs/films
      hilum train --data csv:labels.csv --from runs/films/checkpoint --out runs/mine
    """
    from hilum.config import read_toml, train_config

    if show:
        _show_settings(task or "classify")
        return
    settings = settings or []
    config: dict[str, Any] = {}
    if settings and "=" not in settings[0]:
        config = read_toml(Path(settings.pop(0)))
    chosen = {"data": dataset, "task": task, "out": out, "devices": devices}
    config |= {key: value for key, value in chosen.items() if value}
    if start:
        config = _fine_tuned(start, config)
    complete = train_config(config, settings)
    _needs_training()
    from hilum.train import train as run

    with progress("training") as tick:
        card = run(complete, resume=resume, tick=tick)
    _tell(card, complete.out)


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
    stress: Annotated[
        bool, typer.Option("--stress", help="outlines also on turned, dark, noisy, mirrored, ... films")
    ] = False,
) -> None:
    """Score a model on labelled or outlined films, each figure with its 95 % interval over patients.

    Writes evaluation.json and figures.csv; for outlines also outlines.csv and ratios.csv, film by film, and
    pictures of the worst films and of the ratio's errors.
    """
    from hilum.data import join, open_data, short
    from hilum.data.cache import cached
    from hilum.data.split import read_split, select
    from hilum.evaluate import evaluate as run
    from hilum.evaluate import film_size
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
        cache = cached(samples, film_size(runtime.card), out.parent / ".hilum-cache", tick=tick)
        evaluation = run(runtime, cache, specialist=second, stress=stress, seed=seed, tick=tick)
    about |= {"unreadable": cache.failures, **provenance(now())}
    write(evaluation, about, out)
    write_pictures(runtime, cache, evaluation, out, seed=seed)
    for figure in evaluation.figures:
        positives = "" if figure.positives is None else f", {figure.positives} positive"
        interval = f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
        under = f", {figure.condition}" if figure.condition else ""
        print(f"{figure.subject}\t{figure.measure}{under}\t{interval}\tn={figure.films}{positives}")


@app.command(epilog=EPILOG)
def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="its runs, sources and tests")],
    only: Annotated[list[str] | None, typer.Option(help="this run alone; may be repeated")] = None,
) -> None:
    """Train many models on one split, score each on the same films, and compare them.

    What is trained or scored already is not done again. Each run's line is told as it is done; at the end
    NAME.csv has all figures, NAME.md the table and the differences, NAME.html both, and pictures.

    Examples:
      hilum study configs/studies/classifiers.toml
      hilum study configs/studies/classifiers.toml --only vit --only densenet121
    """
    _needs_training()
    from hilum.study import Entry, read_study, run
    from hilum.study_report import line, write_report

    chosen = read_study(file)

    def tell(entry: Entry) -> None:
        print(line(chosen, entry), file=sys.stderr)

    with progress("study") as tick:
        done = run(chosen, only=only or (), tick=tick, tell=tell)
    table = write_report(chosen, done)
    print(table.read_text(encoding="utf-8"), end="")
    print(f"page\t{table.with_suffix('.html')}", file=sys.stderr)


@app.command(epilog=EPILOG)
def tune(
    file: Annotated[Path, typer.Argument(metavar="TUNE.toml", help="its base, and the space to search")],
) -> None:
    """Search for better settings: many trainings, each drawn in the light of those before.

    Interrupted, it goes on where it stood when called again. Writes trials.csv, and best.toml for train.

    Example:
      hilum tune configs/tune/six.toml
    """
    _needs_training()
    from hilum.tune import read_search
    from hilum.tune import tune as run

    search = read_search(file)
    with progress("tuning") as tick:
        best = run(search, tick=tick)
    for name, value in best.items():
        print(f"{name}\t{value}")
    print(f"settings\t{search.out / 'best.toml'}")


@app.command(epilog=EPILOG)
def ensemble(
    members: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="classifiers: shipped names or checkpoint folders")
    ],
    split: Annotated[Path, typer.Option(help="the patient split that they were all trained by")],
    out: Out,
    name: Annotated[str, typer.Option(help="of the new model")] = "ensemble",
    version: Annotated[str, typer.Option(help="of the new model")] = "0.1.0",
    dataset: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="KIND:PATH", help="by default what the first was trained on"),
    ] = None,
) -> None:
    """Make one checkpoint of several classifiers: the mean of what they say, calibrated anew.

    Its probabilities and thresholds come from the fold that none of the members learned from.

    Example:
      hilum ensemble runs/a runs/b --split split.csv --out runs/both
    """
    _needs_training()
    from hilum.ensemble import ensemble as run

    with progress("ensemble") as tick:
        card = run(members, split=split, out=out, name=name, version=version, data=dataset or (), tick=tick)
    _tell(card, out)


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


def _tell(card: Card, out: Path) -> None:
    """A new checkpoint's figures, and where it stands."""
    for metric in card.metrics:
        interval = "" if metric.low is None else f" ({metric.low:.3f} to {metric.high:.3f})"
        print(f"{metric.name}\t{metric.value:.3f}{interval}\t{metric.part}, n={metric.n}")
    print(f"checkpoint\t{out / 'checkpoint'}")


def _show_settings(task: str) -> None:
    from hilum.config import settings

    for name, default, meaning in settings(task):
        print(f"{name}\t{default}\t{meaning}")


def _fine_tuned(start: str, config: dict[str, Any]) -> dict[str, Any]:
    """Settings that make the run fit the checkpoint it starts from; what the user said comes first."""
    from hilum.card import read_card
    from hilum.runtime import find

    card = read_card(find(start))
    theirs = {
        # What was pre-trained is meant to learn labels.
        "task": "classify" if card.task == "pretrain" else card.task,
        "architecture": card.architecture,
        "arguments": card.arguments,
        "preparation": card.preparation.model_dump(),
    }
    return theirs | config | {"start": start}


def _needs_training() -> None:
    """Fail with the remedy, not a traceback, where the training extra is missing; hush its loop otherwise."""
    import logging
    from importlib.util import find_spec

    from hilum.errors import MissingExtraError

    if find_spec("torch") is None:
        raise MissingExtraError("training", "train")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces precision and ranks
