"""The verb that works beside an archive: thin, as in `hilum.cli`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from hilum.commands.predict import Models, Threads


def pacs(
    url: Annotated[
        str, typer.Option(help="the archive's DICOMweb address, such as https://pacs.example/dicom-web")
    ] = "",
    forms: Annotated[
        str, typer.Option("--as", help="what to store for each film: any of seg, sr, sc, gsps")
    ] = "seg,sr,sc",
    place: Annotated[
        Path, typer.Option(help="SQLite file in which the worker keeps its place; one for each archive")
    ] = Path("hilum-pacs.sqlite"),
    once: Annotated[bool, typer.Option("--once", help="settle what the archive has, then leave")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="print how the films stand, and why some were not done")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="queue the films that were given up again")] = False,
    days: Annotated[int, typer.Option(min=0, help="how many days old a study may be; 0: any age")] = 3,
    every: Annotated[float, typer.Option(min=0.1, help="seconds between two looks at the archive")] = 10.0,
    orthanc: Annotated[
        str,
        typer.Option(
            help="an Orthanc's own address, for its list of changes; auto: asked for; no: search alone"
        ),
    ] = "auto",
    attempts: Annotated[int, typer.Option(min=1, help="attempts before a film is given up")] = 5,
    limit: Annotated[int, typer.Option(min=1, max=2000, help="MiB of the largest film")] = 128,
    timeout: Annotated[float, typer.Option(min=0.1, help="seconds that the archive may be silent")] = 30.0,
    credentials: Annotated[
        Path | None,
        typer.Option(help="file with user = and password =, or token =; else HILUM_PACS_USER and so on"),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="certificates (PEM) to trust in place of the system's")
    ] = None,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="allow http to another machine: films travel readable")
    ] = False,
    model: Models = None,
    threads: Threads = 0,
) -> None:
    """Watch an archive for new chest films, analyse them and store the results back.

    Takes CR and DX images over DICOMweb (QIDO, WADO, STOW) and stores SEG, SR and secondary captures beside
    them. What is done stands in --place; a worker that was killed goes on where it stood. Runs until SIGTERM.
    Exit code of --once: 0 all were analysed; 1: some were refused or given up, see --status.

    Example:
      hilum pacs --url http://127.0.0.1:8042/dicom-web --as seg,sr
    """
    import hilum.pacs

    if status:
        print(hilum.pacs.status(place))
        return
    if not url:
        raise typer.BadParameter("give the archive's DICOMweb address", param_hint="--url")
    from hilum.pacs.credentials import credentials as who
    from hilum.pacs.door import origin
    from hilum.pacs.records import Settings
    from hilum.pipeline import load

    settings = Settings(
        url=url.rstrip("/"),
        forms=tuple(dict.fromkeys(form.strip() for form in forms.split(",") if form.strip())),
        orthanc=orthanc,
        days=days,
        every=every,
        attempts=attempts,
        timeout=timeout,
        limit=limit * 2**20,
        plain_http=plain_http,
        ca=ca,
        headers=who(credentials),
    )
    origin(settings.url, plain_http=plain_http)  # wrong addresses are told before the models are loaded
    _log_to_stderr()
    pipeline = load(*(model or ()), threads=threads)
    spoilt = hilum.pacs.run(settings, pipeline, place, once=once, stop=_stopped(), retry=retry)
    raise typer.Exit(1 if once and spoilt else 0)


def _stopped() -> threading.Event:
    """Set by SIGTERM or Ctrl-C, which at the second time end the process at once."""
    stop = threading.Event()

    def end(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return stop


def _log_to_stderr() -> None:
    """Hilum's events as lines on stderr; other packages' lines, which quote addresses with UIDs, nowhere."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("time=%(asctime)s level=%(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    )
    logger = logging.getLogger("hilum.pacs")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger().addHandler(logging.NullHandler())
