"""The commands that make models: train, study, tune and ensemble."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hilum.commands.shared import Out, shown, unreadable
from hilum.extras import installed
from hilum.progress import AGAIN, progress

if TYPE_CHECKING:
    from hilum.card import Card
    from hilum.errors import HilumError


def train(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG.toml] [key=value ...]", help="TOML file with settings, and single settings"
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="KIND:PATH", help="data set to train on; repeatable"),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="classify, segment, or pretrain (self-supervised, without labels)")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME|DIR",
            help="fine-tune this model: a shipped name, a checkpoint folder or hf://owner/name",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="folder of the run")] = None,
    devices: Annotated[int | None, typer.Option(help="GPUs (or CPU processes) per node")] = None,
    nodes: Annotated[
        int | None, typer.Option(help="number of machines; run the command on each, see docs/scale.md")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="continue an interrupted run; repeat its other arguments"),
    ] = False,
    show: Annotated[
        bool, typer.Option("--settings", help="list all settings with their defaults and exit")
    ] = False,
) -> None:
    """Train a model.

    Needs only films: settings that you do not give, in a TOML file or as key=value, have defaults. Writes
    history.csv, curve.png and checkpoint/ into the run's folder; use the folder as --model of predict or as
    model of evaluate.
    Exit code 1: done, except for films that could not be read (unreadable.csv).

    Examples:
      hilum train --data folder:films/ --task classify --out runs/mine
      hilum train --data csv:labels.csv --task classify --from hilum-six epochs=5 rate=1e-4
      hilum train configs/hilum-lungs.toml preparation.size=128
      hilum train --data folder:films/ --task pretrain --out runs/films
      hilum train --data csv:labels.csv --from runs/films/checkpoint --out runs/mine
    """
    from hilum.config import train_config
    from hilum.errors import ConfigError
    from hilum.toml_files import read_toml

    if show:
        _show_settings(task or "classify")
        return
    settings = settings or []
    config: dict[str, Any] = {}
    if settings and "=" not in settings[0]:
        if ":" in settings[0] and not Path(settings[0]).exists():
            raise ConfigError(f"{settings[0]}: no such file; name a data set as in --data {settings[0]}")
        config = read_toml(Path(settings.pop(0)))
    chosen = {"data": dataset, "task": task, "out": out, "devices": devices, "nodes": nodes}
    config |= {key: value for key, value in chosen.items() if value not in (None, [])}
    if start:
        config = _fine_tuned(start, config)
    complete = train_config(config, settings)
    _needs_training()
    from hilum.training.plan import not_read
    from hilum.training.train import train as run

    if resume and not complete.out.exists():
        print(f"{complete.out}: nothing to go on with; a new run begins", file=sys.stderr)
    with progress("training", again="--resume goes on from the last saved state") as tick:
        card = run(complete, resume=resume, tick=tick)
    _tell(card, complete.out)
    raise typer.Exit(unreadable(not_read(complete.out)))


def study(
    file: Annotated[
        Path, typer.Argument(metavar="STUDY.toml", help="file with the runs, their data and their tests")
    ],
    only: Annotated[list[str] | None, typer.Option(help="only this run; repeatable")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="run to compare the others with, instead of the study's own baseline")
    ] = None,
) -> None:
    """Train, score and compare many models.

    All runs use the same patient split and are scored on the same films. Finished runs are skipped, so
    repeat the command to resume. Each run is printed as it finishes, and added to NAME.csv (all figures)
    and NAME.md (table). At the end the differences to the baseline are added, and NAME.html shows
    everything with plots. Runs that fail are reported, and the others go on; the exit code is then 1. How
    to write the file, with an example to copy: docs/studies.md.

    Examples:
      hilum study configs/studies/classifiers.toml
      hilum study configs/studies/classifiers.toml --only vit --only densenet121
    """
    _needs_training()
    from hilum.studies.report import absent, line, write_report
    from hilum.studies.study import Entry, finished, read_study, run

    chosen = read_study(file)
    if baseline is not None:
        chosen = chosen.model_copy(update={"baseline": baseline})

    def tell(entry: Entry) -> None:
        print(line(chosen, entry), file=sys.stderr)
        write_report(chosen, finished(chosen), whole=False)

    faults: list[Path] = []

    def fault(folder: Path, error: HilumError) -> None:
        print(shown(f"{folder}: not done, {error}"), file=sys.stderr)
        faults.append(folder)

    with progress("study", again=AGAIN) as tick:
        done = run(chosen, only=only or (), tick=tick, tell=tell, fault=fault)
    if done:
        table = write_report(chosen, done)
        print(table.read_text(encoding="utf-8"), end="")
        print(f"page\t{table.with_suffix('.html')}", file=sys.stderr)
        for why in absent(chosen, done):
            print(why, file=sys.stderr)
    raise typer.Exit(1 if faults else 0)


def tune(
    file: Annotated[
        Path, typer.Argument(metavar="TUNE.toml", help="file with the base settings and the search space")
    ],
) -> None:
    """Search for better training settings.

    Trains many models; each takes settings chosen from the results so far. Repeat the command to resume.
    Writes trials.csv, and best.toml to train with.

    Example:
      hilum tune configs/tune/six.toml
    """
    _needs_training()
    from hilum.studies.tune import read_search
    from hilum.studies.tune import tune as run

    search = read_search(file)
    with progress("tuning", again=AGAIN) as tick:
        best = run(search, tick=tick)
    for name, value in best.items():
        print(f"{name}\t{value}")
    print(f"settings\t{search.out / 'best.toml'}")


def ensemble(
    members: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="classifiers: shipped names, checkpoint folders or hf://owner/name"
        ),
    ],
    split: Annotated[Path, typer.Option(help="patient split that all of them were trained with")],
    out: Out,
    name: Annotated[str, typer.Option(help="name of the new model")] = "ensemble",
    version: Annotated[str, typer.Option(help="version of the new model")] = "0.1.0",
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--data", metavar="KIND:PATH", help="data sets; default: those of the first model's training"
        ),
    ] = None,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="also average over the mirrored film")] = False,
) -> None:
    """Average several classifiers into one.

    Writes one checkpoint with the mean of their outputs. Its probabilities and thresholds are fitted on the
    fold that no member was trained on.

    Example:
      hilum ensemble runs/a runs/b --split split.csv --out runs/both
    """
    _needs_training()
    from hilum.training.ensemble import ensemble as run

    with progress("ensemble") as tick:
        card = run(
            members,
            split=split,
            out=out,
            name=name,
            version=version,
            data=dataset or (),
            mirrored=mirrored,
            tick=tick,
        )
    _tell(card, out)


def _tell(card: Card, out: Path) -> None:
    """Print a new checkpoint's figures, and its folder."""
    for metric in card.metrics:
        interval = "too few films" if metric.low is None else f"{metric.low:.3f} to {metric.high:.3f}"
        print(f"{metric.name}\t{metric.value:.3f} ({interval})\t{metric.part}, n={metric.n}")
    if not card.metrics and card.task != "pretrain":
        print("no figures: the tuning films show no label both ways; give more films", file=sys.stderr)
    print(f"checkpoint\t{out / 'checkpoint'}")


def _show_settings(task: str) -> None:
    from hilum.config import settings

    for name, default, meaning in settings(task):
        print(f"{name}\t{default}\t{meaning}")
    if all(map(installed, ("torch", "timm"))):
        from hilum.models import arguments

        for architecture, some in arguments(task).items():
            told = ", ".join(f"arguments.{one}" for one in some)
            print(f"architecture={architecture}\t\t{told or 'no arguments'}")


def _fine_tuned(start: str, config: dict[str, Any]) -> dict[str, Any]:
    """Settings that fit the checkpoint that the run starts from; the user's own come first."""
    from hilum.card import read_card
    from hilum.runtime import find

    card = read_card(find(start))
    theirs: dict[str, Any] = {
        # A pre-trained model is meant to learn labels.
        "task": "classify" if card.task == "pretrain" else card.task,
        "architecture": card.architecture,
        "arguments": card.arguments,
        "preparation": card.preparation.model_dump(),
    }
    own = config.get("preparation", {})  # if it is not a table, the check of all settings says so
    preparation = {**theirs["preparation"], **own} if isinstance(own, dict) else own
    return theirs | config | {"start": start, "preparation": preparation}


def _needs_training() -> None:
    """Raise MissingExtraError without the training extra; else quieten the logger of the training loop."""
    import hilum.needs_train  # noqa: F401

    import logging

    import lightning_fabric  # its import sets the level of its logger

    logging.getLogger(lightning_fabric.__name__).setLevel(logging.WARNING)  # it announces precision and ranks
