"""The verbs that take films and give results, predict and segment: thin, as in `hilum.cli`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from hilum.cli_data import Operating, Out, Thresholds, shares
from hilum.errors import HilumError
from hilum.progress import progress

if TYPE_CHECKING:
    from hilum.pipeline import Pipeline
    from hilum.types import Report

Paths = Annotated[list[Path], typer.Argument(help="films or folders of films: DICOM, PNG, JPEG, TIFF")]
Threads = Annotated[int, typer.Option(help="threads for each network; 0: one for each core")]


def predict(
    paths: Paths,
    out: Out,
    forms: Annotated[
        str,
        typer.Option(
            "--as",
            help="what to write: any of csv, json, mask, png (mask and overlay), html; of DICOM films "
            "also seg (segmentation), sr (structured report), sc (secondary capture), gsps (presentation "
            "state)",
        ),
    ] = "csv,json,png",
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="a shipped model's name or your own checkpoint's folder; one classifier, one segmenter"
        ),
    ] = None,
    specialist: Annotated[
        str | None,
        typer.Option(
            help="name or folder of a second classifier, asked where the first leaves a label of it open"
        ),
    ] = None,
    point: Operating = "",
    threshold: Thresholds = None,
    explain: Annotated[
        str,
        typer.Option(
            help="heatmaps: evidence (occlusion of a model that gives none), occlusion (slow, truer), none"
        ),
    ] = "evidence",
    threads: Threads = 0,
) -> None:
    """Outline and score films; write predictions.csv and, beside it, files for each film.

    Exit code 0: all were analysed; 1: some could not be read or were rejected, the others are done.

    Example:
      hilum predict films/ --out results --as csv,json,png,html
      hilum predict study/ --out results --as csv,seg,sr
    """
    from hilum.pipeline import load
    from hilum.types import Explain

    own = shares(threshold, "--threshold")
    if explain not in get_args(Explain):
        raise typer.BadParameter(f"choose from {', '.join(get_args(Explain))}", param_hint="--explain")
    # Neither the table nor a mask shows a heatmap, and some take long.
    unseen = {"json", "png", "html", "sc"}.isdisjoint(_chosen(forms))
    way = cast(Explain, "none" if unseen else explain)

    def make() -> Pipeline:
        return load(
            *(model or ()), specialist=specialist, point=point, thresholds=own, explain=way, threads=threads
        )

    _analyse(paths, out, forms, make)


def segment(
    paths: Paths,
    out: Out,
    model: Annotated[
        str, typer.Option(help="a shipped segmenter's name or your own checkpoint's folder")
    ] = "",
    threads: Threads = 0,
) -> None:
    """Outline lungs and heart only; write segmentation.csv and a mask for each film."""
    from hilum.pipeline import GATE, SEGMENTER, Pipeline
    from hilum.runtime import Runtime, find

    def make() -> Pipeline:
        segmenter, gate = (Runtime(find(name), threads=threads) for name in (model or SEGMENTER, GATE))
        return Pipeline(segmenter, None, gate=gate)

    _analyse(paths, out, "csv,mask", make)


def _analyse(paths: list[Path], out: Path, forms: str, make: Callable[[], Pipeline]) -> None:
    from hilum import dicom
    from hilum.batch import run
    from hilum.errors import ConfigError
    from hilum.files import inputs
    from hilum.report_files import FORMS

    chosen = _chosen(forms)
    if not chosen or (unknown := [form for form in chosen if form not in FORMS]):
        wrong = unknown[0] if chosen else "''"
        raise ConfigError(f"--as {wrong}: not a form; choose from {', '.join(FORMS)}")
    objects = [form for form in chosen if form in dicom.FORMS]
    if objects:
        dicom.require()
    named = inputs(paths, out)
    pipeline = make()
    tally = _Tally()
    with progress("analysing") as tick:

        def done(name: str, result: Report | HilumError) -> None:
            tally.add(name, result)
            tick(tally.counts.total(), len(named), "")

        everything = run(pipeline, named, out, chosen, done=done)
    for what, found in tally.codes.items():
        if found:
            print(f"{what}: " + ", ".join(f"{n} {code}" for code, n in found.most_common()), file=sys.stderr)
    if objects and tally.pictures:
        print(f"no {', '.join(objects)}: {tally.pictures} not DICOM", file=sys.stderr)
    counted = ", ".join(f"{tally.counts[status]} {status}" for status in ("ok", "rejected", "error"))
    print(f"{len(named)} films\t{counted}\t{out}")
    raise typer.Exit(0 if everything else 1)


class _Tally:
    """How many films came to what, and the line for each that was not analysed."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.codes = {"rejected": Counter[str](), "flagged": Counter[str]()}
        self.pictures = 0  # films that were no DICOM files

    def add(self, name: str, result: Report | HilumError) -> None:
        """Count one film."""
        if isinstance(result, HilumError):
            self.counts["error"] += 1
            print(f"error: {result}", file=sys.stderr)
            return
        self.counts[result.status] += 1
        self.pictures += result.radiograph.origin.format != "DICOM"
        self.codes["rejected"].update(sorted({reason.code for reason in result.reasons}))
        self.codes["flagged"].update(sorted({flag.code for flag in result.flags}))
        if result.status == "rejected":
            why = "; ".join(reason.sentence for reason in result.reasons)
            print(f"rejected: {name}: {why}", file=sys.stderr)


def _chosen(forms: str) -> list[str]:
    return [form.strip() for form in forms.split(",") if form.strip()]
