"""The commands predict and segment."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from hilum.commands.shared import Models, Operating, Out, Threads, Thresholds, shares, shown, split_forms
from hilum.progress import AGAIN, progress

if TYPE_CHECKING:
    from hilum.bulk.batch import Outcome
    from hilum.pipeline import Pipeline

Paths = Annotated[
    list[str],
    typer.Argument(
        help="films (DICOM, PNG, JPEG, TIFF), folders, WebDataset shards (.tar), or URLs of these"
    ),
]
_PART = 256


def predict(
    paths: Paths,
    out: Out,
    forms: Annotated[
        str,
        typer.Option(
            "--as",
            help="what to write: any of csv, json, mask, png (mask and overlay), html; for DICOM films"
            " also seg (segmentation), sr (structured report), sc (secondary capture), gsps "
            "(presentation state)",
        ),
    ] = "csv,json,png",
    model: Models = None,
    specialist: Annotated[
        str | None,
        typer.Option(help="second classifier, used where the first abstains on a label that both have"),
    ] = None,
    point: Operating = "",
    threshold: Thresholds = None,
    explain: Annotated[
        str,
        typer.Option(
            help="heatmaps: evidence (by occlusion if the model has none), occlusion (slow, more "
            "faithful), none"
        ),
    ] = "evidence",
    threads: Threads = 0,
    engine: Annotated[
        str, typer.Option(help="local: this process; ray: workers on this machine or a Ray cluster")
    ] = "local",
    workers: Annotated[
        int,
        typer.Option(
            min=0, help="with ray: number of workers; 0: as many as fit. Each uses --threads (0 means 1)"
        ),
    ] = 0,
    gpus: Annotated[float, typer.Option(min=0, help="with ray: GPUs per worker; fractions are allowed")] = 0,
    part: Annotated[
        int,
        typer.Option(
            min=1, help="with ray: films per part, the unit that is repeated as a whole after a failure"
        ),
    ] = _PART,
) -> None:
    """Analyse films: segment, measure, classify.

    Writes OUT/predictions.csv with one row per film, and the other files chosen with --as beside it. If csv
    is among them, repeat the command to resume an interrupted run. Files in a folder whose names rule out a
    film (.csv, .txt, DICOMDIR, .mask.png of an earlier run, ...) are skipped and counted.

    Exit code 0: all films were analysed; 1: some could not be read or were rejected, the others are done.

    Example:
      hilum predict films/ --out results --as csv,json,png,html
      hilum predict study/ --out results --as csv,seg,sr
      hilum predict s3://bucket/films-{00000..00999}.tar --out results --as csv --engine ray
    """
    from functools import partial

    from hilum.pipeline import load
    from hilum.report_files import FORMS
    from hilum.types import Explain

    own = shares(threshold, "--threshold")
    if explain not in get_args(Explain):
        raise typer.BadParameter(f"choose from {', '.join(get_args(Explain))}", param_hint="--explain")
    if engine not in ("local", "ray"):
        raise typer.BadParameter("choose from local, ray", param_hint="--engine")
    for option, given in {"--workers": workers, "--gpus": gpus, "--part": part != _PART}.items():
        if given and engine != "ray":
            raise typer.BadParameter("needs --engine ray", param_hint=option)
    chosen = split_forms(forms, FORMS)
    # Tables and masks show no heatmap, and some heatmaps take long.
    unseen = {"json", "png", "html", "sc"}.isdisjoint(chosen)
    way = cast(Explain, "none" if unseen else explain)

    def make(each: int) -> Pipeline:
        return load(
            *(model or ()),
            specialist=specialist,
            point=point,
            thresholds=own,
            explain=way,
            threads=each,
        )

    def on_ray(*work: Any, **told: Any) -> bool:
        from hilum.bulk.ray_predict import Crew, run

        crew = Crew(workers=workers, threads=threads or 1, gpus=gpus)
        return run(partial(make, 1), *work, crew=crew, **told)

    _analyse(paths, out, chosen, make, threads, part=part, on_ray=on_ray if engine == "ray" else None)


def segment(
    paths: Paths,
    out: Out,
    model: Annotated[
        str, typer.Option(help="segmentation model: a shipped name, a checkpoint folder or hf://owner/name")
    ] = "",
    threads: Threads = 0,
) -> None:
    """Segment lungs and heart only.

    Writes OUT/segmentation.csv and a mask for each film. Resuming and exit codes are those of predict.
    """
    from hilum.pipeline import GATE, SEGMENTER, Pipeline
    from hilum.runtime import Runtime, find

    def make(each: int) -> Pipeline:
        segmenter, gate = (Runtime(find(name), threads=each) for name in (model or SEGMENTER, GATE))
        return Pipeline(segmenter, None, gate=gate)

    _analyse(paths, out, ("csv", "mask"), make, threads)


def _analyse(
    paths: list[str],
    out: Path,
    forms: Sequence[str],
    make: Callable[[int], Pipeline],  # number of threads for each network -> pipeline
    threads: int,
    *,
    part: int = _PART,
    on_ray: Callable[..., bool] | None = None,
) -> None:
    import cv2

    from hilum import dicom
    from hilum.bulk.batch import run
    from hilum.bulk.inputs import portions
    from hilum.reading.files import LINKED

    objects = [form for form in forms if form in dicom.FORMS]
    if objects:
        dicom.require()
    passed = Counter[str]()
    try:
        given = portions(paths, out, films=part, passed=lambda ending: passed.update([ending]))
    finally:
        if linked := passed.pop(LINKED, 0):
            print(f"not followed: links to folders, {linked}; give those folders themselves", file=sys.stderr)
        if passed:
            kinds = ", ".join(f"{n} {ending}" for ending, n in passed.most_common())
            print(f"skipped, not films by their names: {kinds}", file=sys.stderr)
    tally = _Tally()
    with progress("analysing", again=AGAIN if "csv" in forms else "") as tick:
        if on_ray:
            everything = on_ray(given, out, forms, tick=tick, done=tally.add)
        else:
            named = {name: film for one in given for name, film in one.named().items()}
            # Several films have one core each; the networks of a single film share all cores.
            several = len(named) > 1
            if several:
                cv2.setNumThreads(1)
            pipeline = make(threads or (1 if several else 0))

            def done(one: Outcome) -> None:
                tally.add(one)
                tick(tally.counts.total(), len(named), "")

            mark = "\n".join(one.mark for one in given)
            everything = run(pipeline, named, out, forms, mark=mark, done=done)
    tally.tell(objects, out)
    raise typer.Exit(0 if everything else 1)


class _Tally:
    """Counts of outcomes, and a printed line for each film that was not analysed."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.codes = {"rejected": Counter[str](), "flagged": Counter[str]()}
        self.pictures = 0  # films that were not DICOM files
        self.earlier = 0  # films of the interrupted run that this one resumes

    def add(self, one: Outcome) -> None:
        """Count one film."""
        self.counts[one.cells["status"]] += 1
        self.pictures += one.format not in ("DICOM", "")
        self.earlier += one.earlier
        self.codes["rejected"].update(one.reasons)
        self.codes["flagged"].update(one.flags)
        if one.message:
            print(shown(one.message), file=sys.stderr)

    def tell(self, objects: list[str], out: Path) -> None:
        """Print the counts; `objects` are the forms that only DICOM films have."""
        if self.earlier:
            print(f"{self.earlier} films were already done by an interrupted run", file=sys.stderr)
        for what, found in self.codes.items():
            if found:
                several = ", ".join(f"{n} {code}" for code, n in found.most_common())
                print(f"{what}: {several}", file=sys.stderr)
        if objects and self.pictures:
            print(f"no {', '.join(objects)}: {self.pictures} not DICOM", file=sys.stderr)
        counted = ", ".join(f"{self.counts[status]} {status}" for status in ("ok", "rejected", "error"))
        print(f"{self.counts.total()} films\t{counted}\t{out}")
