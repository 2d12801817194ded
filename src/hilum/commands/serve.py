"""The command serve."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hilum.commands.shared import Models
from hilum.errors import ConfigError


def serve(
    data: Annotated[Path, typer.Option(help="folder for films, database and audit log")] = Path("hilum-data"),
    host: Annotated[str, typer.Option(help="address to listen on; any but loopback needs a token")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="port to listen on; 0: any free port")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="another host name that clients may use; repeatable"),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="file with one token, or with lines of NAME TOKEN; alternative: environment variable "
            "HILUM_TOKEN"
        ),
    ] = None,
    database: Annotated[
        str,
        typer.Option(
            envvar="HILUM_DATABASE", help="postgresql://USER:PASSWORD@HOST/NAME instead of a SQLite file"
        ),
    ] = "",
    keep_days: Annotated[
        float, typer.Option(min=0, max=36_500, help="delete films after this many days; results stay")
    ] = 30.0,
    model: Models = None,
    threads: Annotated[int, typer.Option(min=0, help="threads per network; 0: one per core")] = 0,
    decoders: Annotated[int, typer.Option(min=1, help="number of processes that decode films")] = 2,
    max_bytes: Annotated[int, typer.Option(min=1, help="largest film file, in bytes")] = 2**26,
    max_pixels: Annotated[int, typer.Option(min=1, help="largest film, in pixels")] = 50_000_000,
    max_films: Annotated[int, typer.Option(min=1, help="most films in one request; jobs take more")] = 16,
    queue: Annotated[int, typer.Option(min=1, help="most films waiting; further ones get status 503")] = 64,
    verify_audit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="verify the hash chain of this audit log and exit")
    ] = None,
) -> None:
    """Run the HTTP service and its viewer.

    Takes films over HTTP, keeps results in a worklist, and shows both in a viewer at /.

    Example:
      hilum serve --data /var/lib/hilum
    """
    if verify_audit is not None:
        raise typer.Exit(_verified(verify_audit))
    from hilum.pipeline import load
    from hilum.serve.server import run
    from hilum.serve.settings import Limits, Settings

    if max_films > queue:
        raise ConfigError(f"--max-films {max_films}: more than may wait; raise --queue {queue}")

    settings = Settings(
        data=data,
        database=database,
        host=host,
        port=port,
        hosts=tuple(allow_host or ()),
        tokens=tokens(token_file),
        keep_days=keep_days,
        decoders=decoders,
        limits=Limits(bytes=max_bytes, pixels=max_pixels, films=max_films, queue=queue),
    )
    run(settings, load(*(model or ()), threads=threads))


def _verified(file: Path) -> int:
    """Print the result of verifying an audit log; returns the exit code."""
    from hilum.serve.audit import verify

    verdict = verify(file)
    print(f"{verdict.lines} lines are sound, the last has SHA-256 {verdict.last}")
    if verdict.broken is None:
        return 0
    print(f"line {verdict.broken} is broken: {verdict.why}")
    return 1


def tokens(file: Path | None) -> dict[str, str]:
    """Name -> token, from the file or the environment."""
    if file is None:
        token = os.environ.get("HILUM_TOKEN", "").strip()
        return {"token": token} if token else {}
    found: dict[str, str] = {}
    # Bytes that are not UTF-8 are replaced by a character that no token may contain.
    for number, line in enumerate(file.read_text("utf-8-sig", "replace").splitlines(), 1):
        match line.split():
            case []:
                continue
            case [token]:
                name = "token"
            case [name, token]:
                pass
            case _:
                raise ConfigError(f"{file}, line {number}: neither a token nor NAME TOKEN; mend the line")
        if name in found:
            raise ConfigError(f"{file}, line {number}: a second token named {name}; give another name")
        found[name] = token
    if not found:
        raise ConfigError(f"{file}: holds no token; make one with: openssl rand -hex 32")
    return found
