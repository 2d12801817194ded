"""What is installed is what was chosen: versions, hashes, licences, and types that reach the user."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINS = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
OWN_BUILD = {"torch", "torchvision"}  # of which many machines have a build of their own


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(text: str) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in PINS.findall(text)}


def test_the_lock_holds_the_versions_of_the_constraints_and_a_hash_for_each() -> None:
    chosen, locked = pins((ROOT / "constraints.txt").read_text()), pins(LOCK)
    assert {name: locked.get(name) for name in chosen if name not in OWN_BUILD} == {
        name: version for name, version in chosen.items() if name not in OWN_BUILD
    }, "run: make lock"
    assert not OWN_BUILD & locked.keys()
    for entry in re.split(r"\n(?=\w)", LOCK.partition("make lock\n")[2].strip()):
        assert "--hash=sha256:" in entry, entry


def test_the_lock_holds_all_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [*project["project"]["dependencies"]]
    asked += [one for extra in project["project"]["optional-dependencies"].values() for one in extra]
    asked += [one for group in project["dependency-groups"].values() for one in group]
    locked = pins(LOCK)
    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        if name != "hilum" and name not in OWN_BUILD:
            assert name in locked, f"{name}: run: make lock"
            assert requirement.specifier.contains(locked[name]), name


@pytest.mark.parametrize(
    ("told", "fine"),
    [
        ("MIT", True),
        ("BSD License", True),
        ("Apache-2.0 AND MIT", True),
        ("Mozilla Public License 2.0 (MPL 2.0)", True),
        ("GPL-2.0-or-later OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("LGPL-2.1", False),
        ("GNU Affero General Public License v3", False),
        ("Apache License; GPLv3", False),
        ("Commercial, BSD-like", False),
        ("unknown", False),
        ("Copyright of somebody", False),
    ],
)
def test_licences_are_told_apart(told: str, fine: bool) -> None:
    assert tool("licences").allowed(told) is fine


def test_every_package_that_hilum_needs_here_is_permissive() -> None:
    licences = tool("licences")
    found = licences.needed("hilum")
    assert {"numpy", "jinja2", "markupsafe", "onnxruntime"} <= found.keys()  # also what its packages need
    assert "" in found["markupsafe"] and "" not in found.get("torch", {"train"})
    assert licences.main() == 0


def test_a_hole_is_a_failure_and_a_skip_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    audit = tool("audit")
    hole = [{"name": "x", "version": "1", "vulns": [{"id": "CVE-1"}]}]
    clean = [{"name": "x", "version": "1", "vulns": []}]
    skipped = [{"name": "x", "skip_reason": "not found"}]
    for known, lock, code in (
        (hole, clean, 0),
        (hole, hole, 1),
        (skipped, hole, 0),
        ([], hole, 0),
        (hole, [], 1),
    ):
        answers = {True: lock, False: known}
        monkeypatch.setattr(audit, "audit", lambda path, answers=answers: answers[path == audit.LOCK])
        assert audit.main() == code


def test_types_reach_a_users_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(tool("release").PROGRAM, encoding="utf-8")

    def checked(text: str) -> str:
        program.write_text(text, encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file",
            "",
            "--follow-imports",
            "silent",
        ]
        done = subprocess.run(
            [*command, "--cache-dir", str(tmp_path / "cache"), str(program)],
            env={"MYPYPATH": str(ROOT / "src"), "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    sound = checked(tool("release").PROGRAM)
    assert "Success" in sound, sound
    assert "float | None" in sound and "ndarray" in sound
    assert "error" in checked("import hilum\n\nhilum.load().nothing\n")
    assert "error" in checked("import hilum\n\nhilum.load(threads='two')\n")
