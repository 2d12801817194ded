"""The command pacs."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from hilum.commands.shared import Models, Threads, split_forms


def pacs(
    url: Annotated[
        str, typer.Option(help="DICOMweb address of the PACS, such as https://pacs.example/dicom-web")
    ] = "",
    forms: Annotated[
        str, typer.Option("--as", help="what to store for each film: any of seg, sr, sc, gsps")
    ] = "seg,sr,sc",
    place: Annotated[
        Path, typer.Option(help="SQLite file with the state of the worker; one for each PACS")
    ] = Path("hilum-pacs.sqlite"),
    once: Annotated[bool, typer.Option("--once", help="process what the PACS has now, then exit")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="print the state of all films, and why some failed")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="queue films again that were given up")] = False,
    days: Annotated[
        int, typer.Option(min=0, help="ignore studies older than this many days; 0: any age")
    ] = 3,
    every: Annotated[float, typer.Option(min=0.1, help="seconds between two queries")] = 10.0,
    orthanc: Annotated[
        str,
        typer.Option(
            help="address of Orthanc's REST API, for its list of changes; auto: detect; no: use QIDO only"
        ),
    ] = "auto",
    attempts: Annotated[int, typer.Option(min=1, help="attempts per film before it is given up")] = 5,
    limit: Annotated[int, typer.Option(min=1, max=2000, help="largest film to fetch, in MiB")] = 128,
    timeout: Annotated[float, typer.Option(min=0.1, help="seconds to wait for the PACS to answer")] = 30.0,
    credentials: Annotated[
        Path | None,
        typer.Option(
            help="file with user = and password =, or token =; else environment variables: "
            "HILUM_PACS_USER, ..."
        ),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="CA certificates (PEM) to trust instead of certifi's")
    ] = None,
    plain_http: Annotated[
        bool,
        typer.Option("--plain-http", help="allow http to another machine; films then travel unencrypted"),
    ] = False,
    model: Models = None,
    threads: Threads = 0,
) -> None:
    """Analyse new films of a PACS.

    Fetches CR and DX images over DICOMweb (QIDO, WADO) and stores SEG, SR and secondary captures in their
    studies (STOW). Its state is kept in the --place file: after a restart it continues there, and stores
    nothing twice. Runs until SIGTERM.
    Exit code of --once: 0 if all films were analysed; 1 if some were rejected or given up, see --status.

    Example:
      hilum pacs --url http://127.0.0.1:8042/dicom-web --as seg,sr
    """
    import hilum.pacs

    if status:
        print(hilum.pacs.status(place))
        return
    if not url:
        raise typer.BadParameter("give the archive's DICOMweb address", param_hint="--url")
    from hilum.dicom import FORMS
    from hilum.pacs.credentials import credentials as who
    from hilum.pacs.door import origin
    from hilum.pacs.records import Settings
    from hilum.pipeline import load

    settings = Settings(
        url=url.rstrip("/"),
        forms=split_forms(forms, FORMS),
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
    origin(settings.url, plain_http=plain_http)  # raises for a wrong address before the models are loaded
    _log_to_stderr()
    pipeline = load(*(model or ()), threads=threads)
    spoilt = hilum.pacs.run(settings, pipeline, place, once=once, stop=_stopped(), retry=retry)
    raise typer.Exit(1 if once and spoilt else 0)


def _stopped() -> threading.Event:
    """An event set by SIGTERM or Ctrl-C; a second signal ends the process at once."""
    stop = threading.Event()

    def end(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return stop


def _log_to_stderr() -> None:
    """Log Hilum's events to stderr, and drop the logs of other packages, which quote addresses with UIDs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("time=%(asctime)s level=%(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    )
    logger = logging.getLogger("hilum.pacs")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger().addHandler(logging.NullHandler())
