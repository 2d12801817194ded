"""Checkpoints to and from the hub, over HTTP to a small hub of our own on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hilum import hub
from hilum.card import read_card
from hilum.errors import CheckpointError
from hilum.runtime import SHIPPED

SIX = SHIPPED / "hilum-six"
HILUM = "import sys; from hilum.cli import main; sys.exit(main())"

Files = dict[str, bytes]


class Hub(ThreadingHTTPServer):
    """As much of the hub as its client asks for: repositories, and large files beside them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.commits: dict[str, dict[str, Files]] = {}  # repository -> commit -> files
        self.branches: dict[str, dict[str, str]] = {}  # repository -> branch -> commit
        self.private: set[str] = set()
        self.large: Files = {}  # SHA-256 -> content
        self.sent: list[str] = []  # files that left, as repository/file

    def commit(self, repo: str, files: Files, branch: str = "main") -> str:
        oid = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()  # noqa: S324 - as git names commits
        self.commits.setdefault(repo, {})[oid] = files
        self.branches.setdefault(repo, {})[branch] = oid
        return oid


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        if found := re.fullmatch(r"/api/models/(\w+/\w+)(?:/(revision|tree)/([\w.-]+))?(?:\?.*)?", self.path):
            repo, what, revision = found[1], found[2], found[3] or "main"
            if repo not in self.server.commits:
                return self.answer(401, {}, {"X-Error-Code": "RepoNotFound"})
            oid = self.server.branches[repo].get(revision, revision)
            if oid not in self.server.commits[repo]:
                return self.answer(404, {}, {"X-Error-Code": "RevisionNotFound"})
            files = self.server.commits[repo][oid]
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.md5(data).hexdigest()}  # noqa: S324
                for name, data in files.items()
            ]
            return self.answer(200, tree if what == "tree" else {"id": repo, "sha": oid, "siblings": []})
        if found := re.fullmatch(r"/(\w+/\w+)/resolve/(\w+)/(.+)", self.path):
            data = self.server.commits[found[1]][found[2]][found[3]]
            if self.command == "GET":
                self.server.sent.append(f"{found[1]}/{found[3]}")
            tag = hashlib.sha256(data).hexdigest()
            return self.answer(200, data, {"ETag": f'"{tag}"', "X-Repo-Commit": found[2]})
        return self.answer(404, {})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.headers.get("Authorization") != "Bearer sesame":
            return self.answer(401, {})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            if asked.get("private") or asked.get("visibility") == "private":
                self.server.private.add(repo)
            if repo in self.server.commits:
                return self.answer(409, {"url": f"{self.server.url}/{repo}"})
            self.server.commit(repo, {})
            return self.answer(200, {"url": f"{self.server.url}/{repo}"})
        repo = re.sub(r"^/(?:api/models/)?(\w+/\w+)\b.*", r"\1", self.path)
        if "/preupload/" in self.path:
            names = [one["path"] for one in json.loads(body)["files"]]
            modes = [
                {
                    "path": name,
                    "uploadMode": "lfs" if name.startswith("model.") else "regular",
                    "shouldIgnore": False,
                }
                for name in names
            ]
            return self.answer(200, {"files": modes})
        if self.path.endswith("/objects/batch"):
            objects = [
                one | {"actions": {"upload": {"href": f"{self.server.url}/large/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        lines = [json.loads(line) for line in body.splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            if line["key"] == "file"
            else self.server.large[line["value"]["oid"]]
            for line in lines
            if line["key"] != "header"
        }
        oid = self.server.commit(repo, files)
        return self.answer(200, {"commitUrl": f"{self.server.url}/{repo}/commit/{oid}", "commitOid": oid})

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == f"/large/{hashlib.sha256(data).hexdigest()}"
        self.server.large[self.path.rpartition("/")[2]] = data
        self.answer(200, {})

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.05,))
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()


def run(server: Hub | None, home: Path, *arguments: str, token: str = "", code: str = HILUM) -> Any:
    """`hilum` in a process of its own, for the hub's client reads its settings once."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HF_") and "PROXY" not in name.upper()
    }
    environment |= {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment["HF_ENDPOINT"] = server.url if server else "http://127.0.0.1:9"  # a port where nobody listens
    if token:
        environment["HF_TOKEN"] = token
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def checkpoint() -> Files:
    return {name: (SIX / name).read_bytes() for name in ("card.json", "model.onnx", "model.safetensors")}


PICKLE = {
    "pytorch_model.bin": b"\x80\x04cos\nsystem\n",
    "hilum.py": b"raise SystemExit",
    "README.md": b"# Six",
}


def test_a_model_on_the_hub_is_loaded_and_nothing_but_a_checkpoint_is_fetched(
    server: Hub, tmp_path: Path
) -> None:
    oid = server.commit("acme/six", checkpoint() | PICKLE)
    code = f"""
import hilum
from hilum.data.phantom import draw
pipeline = hilum.load("hf://acme/six")
report = pipeline(draw(3, size=300).pixels)
print(report.cards["classify"].sha256, hilum.load("hf://acme/six@{oid}").labels == report.prediction.labels)
"""
    done = run(server, tmp_path, code=code)
    assert done.stdout.split() == [read_card(SIX).sha256, "True"], done.stderr
    assert sorted(server.sent) == [f"acme/six/{name}" for name in checkpoint()]  # and once each


def test_the_command_line_predicts_with_it_and_the_cache_serves_without_the_hub(
    server: Hub, tmp_path: Path
) -> None:
    from hilum.data.phantom import write

    write(tmp_path / "films", count=1, seed=5)
    server.commit("acme/six", checkpoint())
    asked = ["predict", str(tmp_path / "films/images"), "--out"]
    online = run(server, tmp_path / "home", *asked, str(tmp_path / "a"), "--model", "hf://acme/six")
    offline = run(None, tmp_path / "home", *asked, str(tmp_path / "b"), "--model", "hf://acme/six")
    assert online.returncode == offline.returncode == 0, offline.stderr
    assert (tmp_path / "a/predictions.csv").read_text() == (tmp_path / "b/predictions.csv").read_text()


def test_a_changed_graph_is_refused(server: Hub, tmp_path: Path) -> None:
    server.commit("acme/six", checkpoint() | {"model.onnx": b"another graph"})
    done = run(server, tmp_path, code="import hilum; hilum.load('hf://acme/six')")
    assert "model.onnx: SHA-256 differs from the card's" in done.stderr


def test_what_cannot_be_had_is_told_in_one_line(server: Hub, tmp_path: Path) -> None:
    expected = {
        "hf://acme/none": "no such model, or a private one; check the name",
        "hf://acme/six@v9": "no such revision",
        "hf://acme/other": "not a Hilum checkpoint, for it has no card.json",
        "hf://six": "write hf://owner/name",
        "hf://acme/si--x": "no name that the hub allows",
    }
    server.commit("acme/six", checkpoint())
    server.commit("acme/other", PICKLE)
    code = f"""
import hilum
for name in {list(expected)}:
    try:
        hilum.load(name)
    except hilum.HilumError as error:
        print(error)
"""
    done = run(server, tmp_path, code=code)
    for (name, why), line in zip(expected.items(), done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{name}: ")
        assert why in line


def test_without_a_connection_and_a_copy_the_remedy_is_told(tmp_path: Path) -> None:
    done = run(None, tmp_path, "models", "hf://acme/six")
    assert done.returncode == 2
    assert "the hub cannot be reached" in done.stderr


def test_without_the_client_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["huggingface_hub"] = None
sys.argv = ["hilum", "models", "hf://acme/six"]
from hilum.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'hilum[hub]'" in done.stderr


def test_a_push_brings_the_checkpoint_with_its_page_and_names_what_to_load(
    server: Hub, tmp_path: Path
) -> None:
    pushed = run(server, tmp_path, "push", "hilum-six", "acme/six", "--licence", "cc-by-4.0", token="sesame")
    assert pushed.returncode == 0, pushed.stderr
    (oid,) = [oid for oid, files in server.commits["acme/six"].items() if files]
    assert pushed.stdout == f"hf://acme/six@{oid}\n"
    files = server.commits["acme/six"][oid]
    page = files.pop("README.md").decode()
    assert files == checkpoint()
    assert page.startswith("---\nlicense: cc-by-4.0\nlibrary_name: hilum\n")
    assert "--model hf://acme/six" in page
    assert server.private == {"acme/six"}
    again = run(server, tmp_path, "models", pushed.stdout.strip(), token="sesame")
    assert json.loads(again.stdout)["name"] == "hilum-six"
    anew = run(server, tmp_path, "push", "hilum-six", "acme/six", token="sesame")
    assert anew.returncode == 0, anew.stderr
    assert b"license" not in server.commits["acme/six"][anew.stdout.strip().partition("@")[2]]["README.md"]


def test_public_is_public(server: Hub, tmp_path: Path) -> None:
    assert (
        run(server, tmp_path, "push", "hilum-gate", "acme/gate", "--public", token="sesame").returncode == 0
    )
    assert server.private == set()


def test_a_push_without_leave_says_so_and_no_secret(server: Hub, tmp_path: Path) -> None:
    done = run(server, tmp_path, "push", "hilum-gate", "acme/gate", token="guessed-4711")
    assert done.returncode == 2
    assert "hf auth login" in done.stderr
    assert "guessed-4711" not in done.stderr
    assert not server.commits


def test_a_damaged_checkpoint_is_not_pushed(server: Hub, tmp_path: Path) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    for name, data in checkpoint().items():
        (own / name).write_bytes(data)
    (own / "model.safetensors").write_bytes(b"cut")
    done = run(server, tmp_path, "push", str(own), "acme/six", token="sesame")
    assert done.returncode == 2
    assert "model.safetensors: SHA-256 differs from the card's" in done.stderr
    assert not server.commits


def test_places() -> None:
    assert hub.place("hf://acme/six") == ("acme/six", None)
    assert hub.place("acme/six@v1.0") == ("acme/six", "v1.0")
    assert hub.place("hf://acme/six@refs/pr/3") == ("acme/six", "refs/pr/3")
    for wrong in (
        "hf://",
        "hf://acme",
        "hf://acme/six@",
        "hf://acme/six/x",
        "hf://a/..",
        "hf://a/b@../x",
        "hf://a/b\n",
    ):
        with pytest.raises(CheckpointError, match="no model's name"):
            hub.place(wrong)
