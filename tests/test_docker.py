"""The container files keep their promises, as far as can be told without building an image."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from hilum.cli import app

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PAGE = (ROOT / "docs" / "docker.md").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def commands() -> list[list[str]]:
    """Every `hilum ...` that the container files and their page run."""
    image = [yaml.safe_load(rest) for word, rest in instructions() if word == "CMD"]
    composed = [service["command"] for service in SERVICES.values() if "command" in service]
    told = re.findall(r"hilum:local (\w[^\n]*)|exec worker hilum ([^`]+)`", PAGE.replace("\\\n", " "))
    return image + composed + [shlex.split(one or other) for one, other in told]


def test_the_image_runs_as_nobody_in_particular() -> None:
    users = [rest for word, rest in instructions() if word == "USER"]
    assert users == ["10001:10001"]
    assert [word for word, _ in instructions()].index("ENTRYPOINT") > [w for w, _ in instructions()].index(
        "USER"
    )


def test_nothing_goes_through_a_shell() -> None:
    for word, rest in instructions():
        if word in ("RUN", "CMD", "ENTRYPOINT"):
            assert isinstance(yaml.safe_load(rest), list), rest
        if word == "HEALTHCHECK":
            assert re.search(r'CMD \["python", "-c", ".*127\.0\.0\.1:8000/healthz', rest)


def test_the_build_sees_no_film_and_no_secret() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    copied = [
        name
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for name in rest.split()[:-1]
    ]
    assert {rule[1:] for rule in rules if rule.startswith("!")} == set(copied)
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] and service["pids_limit"] and service["mem_limit"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert not service.get("privileged")
    if "build" not in service:
        assert re.search(r":\d[\w.]*$", service["image"]), "an image without a version"


def test_secrets_are_files_and_the_page_makes_each() -> None:
    used = {one if isinstance(one, str) else one["source"] for s in SERVICES.values() for one in s["secrets"]}
    assert used == COMPOSE["secrets"].keys()
    for secret in COMPOSE["secrets"].values():
        assert f"> {secret['file'].removeprefix('./')}\n" in PAGE
    for service in SERVICES.values():
        for name in re.findall(r"/run/secrets/([\w.-]+)", str(service.get("command"))):
            assert name in service["secrets"]
        assert not any(
            re.search("token|password|secret", key, re.I) for key in service.get("environment", {})
        )
    assert "secrets" in (ROOT / ".gitignore").read_text()


def test_the_worker_cannot_reach_the_world() -> None:
    assert SERVICES["worker"]["networks"] == ["archive"]
    assert COMPOSE["networks"]["archive"] == {"internal": True}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_are_those_of_the_command_line(words: list[str]) -> None:
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    assert words[0] in verbs
    parser = verbs[words[0]]
    parser.make_context(words[0], words[1:])


@pytest.mark.parametrize(
    "linter",
    [["hadolint", "Dockerfile"], ["docker-compose", "--file", "compose.yaml", "config", "--quiet"]],
    ids=lambda linter: linter[0],
)
def test_they_lint(linter: list[str]) -> None:
    program = shutil.which(linter[0], path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip(f"{linter[0]} is not installed: make images")
    done = subprocess.run([program, *linter[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
