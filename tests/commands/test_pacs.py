"""The verb refuses what it cannot work with, tells how its place stands, and logs lines."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import hilum.pacs
from hilum.cli import app
from hilum.commands import pacs as cli_pacs
from hilum.errors import ConfigError
from hilum.pacs.place import Place
from hilum.pacs.records import Film, Settings

URL = "http://127.0.0.1:1/dicom-web"


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    logger, root = logging.getLogger("hilum.pacs"), logging.getLogger()
    before = logger.handlers[:], logger.propagate, root.handlers[:], logger.level
    yield
    logger.handlers, logger.propagate, root.handlers = before[0], before[1], before[2]
    logger.setLevel(before[3])


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the worker would have been started with."""
    told: dict[str, Any] = {}

    def run(settings: Settings, pipeline: object, path: Path, **options: Any) -> int:
        told.update(settings=settings, pipeline=pipeline, path=path, **options)
        return int(told.get("spoilt", 0))

    monkeypatch.setattr(hilum.pacs, "run", run)
    monkeypatch.setattr("hilum.pipeline.load", lambda *_, **__: "models")
    monkeypatch.setattr(cli_pacs, "_stopped", lambda: None)
    return told


def test_options_become_settings(given: dict[str, Any], tmp_path: Path) -> None:
    options = ["--url", URL + "/", "--as", "sr, seg,sr", "--days", "0", "--limit", "1", "--once"]
    done = CliRunner().invoke(
        app, ["pacs", *options, "--place", str(tmp_path / "p")], env={"HILUM_PACS_TOKEN": "t"}
    )
    assert done.exit_code == 0, done.output
    settings = given["settings"]
    assert (settings.url, settings.forms, settings.days, settings.limit) == (URL, ("sr", "seg"), 0, 2**20)
    assert settings.headers == {"Authorization": "Bearer t"}
    assert "Bearer" not in repr(settings)
    assert given["once"]
    assert given["path"] == tmp_path / "p"


@pytest.mark.parametrize(("once", "spoilt", "code"), [(True, 0, 0), (True, 2, 1), (False, 2, 0)])
def test_the_exit_code_tells_of_films_that_were_not_done(
    given: dict[str, Any], once: bool, spoilt: int, code: int
) -> None:
    given["spoilt"] = spoilt
    assert CliRunner().invoke(app, ["pacs", "--url", URL, *(["--once"] if once else [])]).exit_code == code


@pytest.mark.parametrize(
    "url", ["http://pacs.example/dicom-web", "https://me:secret@pacs.example/", "pacs.example", "https://:1/"]
)
def test_an_address_that_may_not_be_asked_stops_before_the_models_are_loaded(
    given: dict[str, Any], url: str
) -> None:
    done = CliRunner().invoke(app, ["pacs", "--url", url])
    assert isinstance(done.exception, ConfigError)
    assert "secret" not in str(done.exception)
    assert not given


def test_an_address_is_needed_and_credentials_are_no_option() -> None:
    assert CliRunner().invoke(app, ["pacs"]).exit_code == 2
    assert CliRunner().invoke(app, ["pacs", "--url", URL, "--password", "x"]).exit_code == 2


def test_the_status_is_told_without_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "place.sqlite"
    with Place(path, own=True) as place:
        place.offer([Film(study="1.2", series="1.3", sop="1.4", refusal="a hand")], {})
        done = CliRunner().invoke(app, ["pacs", "--status", "--place", str(path)])
    assert done.exit_code == 0
    assert done.stdout.startswith("queued\t0\ndone\t0")
    assert "a hand\t1.4" in done.stdout


@pytest.mark.parametrize("forms", ["sr,pdf", ""])
def test_a_form_that_is_none_is_told_before_models_are_loaded(
    forms: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.pipeline.load", lambda *_, **__: pytest.fail("models were loaded"))
    asked = ["pacs", "--url", URL, "--as", forms, "--place", str(tmp_path / "p"), "--once"]
    done = CliRunner().invoke(app, asked)
    assert isinstance(done.exception, ConfigError)
    wrong = "pdf" if forms else "''"
    assert str(done.exception) == f"--as {wrong}: not a form; choose from seg, sr, sc, gsps"


def test_an_archive_that_is_not_there_ends_with_one_line_and_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from hilum.cli import main; main()", "pacs", "--url", URL, "--once"]
    command += ["--attempts", "1", "--place", str(tmp_path / "place.sqlite")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "HILUM_PACS_TOKEN": "s3cret"}
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert lines[0].startswith("time=") and " level=INFO event=started " in lines[0]
    assert (
        lines[-1]
        == f"hilum: {URL}: the PACS does not answer (ConnectionError); check whether it runs, and --url"
    )
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr
