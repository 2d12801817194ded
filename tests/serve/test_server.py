"""The verb and the process around the application: tokens, the folder's lock, logs, the audit's verdict."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hilum.cli import app
from hilum.commands import serve as cli_serve
from hilum.errors import ConfigError
from hilum.serve.audit import Audit
from hilum.serve.server import Lines, alone
from hilum.serve.settings import Settings

TOKEN = "a-token-that-is-long-enough"


def test_one_folder_has_one_service(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    with alone(settings), pytest.raises(ConfigError, match="another service"), alone(settings):
        pass
    with alone(settings):
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_tokens_come_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HILUM_TOKEN", raising=False)
    assert cli_serve.tokens(None) == {}
    monkeypatch.setenv("HILUM_TOKEN", f" {TOKEN}\n")
    assert cli_serve.tokens(None) == {"token": TOKEN}
    file = tmp_path / "tokens"
    file.write_text(f"\nward {TOKEN}\n\nclinic {TOKEN}2\n")
    assert cli_serve.tokens(file) == {"ward": TOKEN, "clinic": f"{TOKEN}2"}
    file.write_text(TOKEN)
    assert cli_serve.tokens(file) == {"token": TOKEN}
    file.write_bytes(b"\xef\xbb\xbf" + TOKEN.encode())  # as Windows writes text
    assert cli_serve.tokens(file) == {"token": TOKEN}
    file.write_bytes(b"\xff\xfe" + TOKEN.encode("utf-16-le"))
    with pytest.raises(ConfigError, match="ASCII"):
        Settings(data=tmp_path, tokens=cli_serve.tokens(file))
    for text, why in (("", "no token"), ("a b c", "line 1"), (f"a {TOKEN}\na {TOKEN}", "second token")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=why):
            cli_serve.tokens(file)


def test_the_verb_refuses_to_serve_others_without_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HILUM_TOKEN", raising=False)
    done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path / "d"), "--host", "192.168.0.5"])
    assert isinstance(done.exception, ConfigError)
    assert "HILUM_TOKEN" in str(done.exception)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("days", ["-1", "1e6"])
def test_the_verb_refuses_days_that_no_calendar_has(tmp_path: Path, days: str) -> None:
    done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path / "d"), "--keep-days", days])
    assert done.exit_code == 2 and not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("verb", "package", "extra"),
    [("serve", "fastapi", "serve"), ("pacs --url http://localhost", "requests", "pacs")],
)
def test_the_verb_names_the_extra_that_is_missing(verb: str, package: str, extra: str) -> None:
    script = f"import sys; sys.modules[{package!r}] = None; from hilum.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script, *verb.split()], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().endswith(
        f"pip install 'hilum[{extra}]' (in a clone: pip install '.[{extra}]')"
    )
    assert "Traceback" not in done.stderr


def test_the_verb_checks_an_audit_log(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    audit = Audit(log)
    audit.append("started")
    audit.append("stopped")
    audit.close()
    done = CliRunner().invoke(app, ["serve", "--verify-audit", str(log)])
    assert done.exit_code == 0 and "2 lines are sound" in done.output
    log.write_bytes(log.read_bytes().replace(b"started", b"Started"))
    done = CliRunner().invoke(app, ["serve", "--verify-audit", str(log)])
    assert done.exit_code == 1 and "line 2 is broken" in done.output


def record(name: str, message: str, *arguments: Any, error: Exception | None = None) -> dict[str, Any]:
    info = (type(error), error, None) if error else None
    made = logging.LogRecord(name, logging.ERROR, __file__, 1, message, arguments, info)
    line = Lines().format(made)
    assert "\n" not in line
    document: dict[str, Any] = json.loads(line)
    return document


def test_logs_are_lines_of_json_that_quote_no_exception() -> None:
    own = record("hilum.serve", json.dumps({"route": "/v1/results", "ms": 1.5}))
    assert own["route"] == "/v1/results" and own["level"] == "error" and own["time"]
    others = record("uvicorn.error", "Started %s", "x\ny", error=ValueError("Kunigunde"))
    assert others["message"] == "Started x\ny" and others["exception"] == "ValueError"
    assert "Kunigunde" not in json.dumps(others)


def test_what_asyncio_says_of_an_error_is_left_out() -> None:
    text = "Task exception was never retrieved\nfuture: <Task exception=ReadError('Kunigunde.dcm')>"
    said = record("asyncio", text, error=ValueError("Kunigunde"))
    assert said["from"] == "asyncio" and said["exception"] == "ValueError"
    assert "Kunigunde" not in json.dumps(said)
