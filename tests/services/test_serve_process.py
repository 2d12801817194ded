"""``hilum serve`` as a process: killed, told to end, kept waiting by slow clients, its log read."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import pytest

from hilum.data.phantom import draw
from hilum.serve.audit import verify

MAIN = "import sys; sys.argv[0] = 'hilum'; from hilum.cli import main; main()"
FILMS = [cv2.imencode(".png", draw(seed, size=512).pixels)[1].tobytes() for seed in range(3, 7)]


class Server:
    """A running service and its log."""

    def __init__(self, data: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data.parent / f"log-{self.port}"
        command = [
            sys.executable,
            "-c",
            MAIN,
            "serve",
            "--data",
            str(data),
            "--port",
            str(self.port),
            *options,
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log)

    def wait(self) -> None:
        """Until it takes films."""
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            try:
                self.ask("/readyz")
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(self.log.read_text())

    def ask(self, path: str, content: bytes | None = None, **headers: str) -> Any:
        request = urllib.request.Request(self.url + path, content, headers)  # noqa: S310 - a URL of our own
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.loads(answer.read())

    def predict(self, film: bytes) -> str:
        id_: str = self.ask("/v1/predict", film, **{"Content-Type": "image/png"})["id"]
        return id_

    def job(self, films: list[bytes]) -> str:
        parts = [
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="%d.png"\r\n\r\n%b\r\n'
            % (i, film)
            for i, film in enumerate(films)
        ]
        content = b"".join(parts) + b"--x--\r\n"
        id_: str = self.ask("/v1/jobs", content, **{"Content-Type": "multipart/form-data; boundary=x"})["id"]
        return id_

    def finished(self, job: str) -> Any:
        until = time.monotonic() + 120
        while (document := self.ask(f"/v1/jobs/{job}"))["status"] not in ("done", "cancelled"):
            assert time.monotonic() < until, document
            time.sleep(0.1)
        return document


@contextmanager
def running(data: Path, *options: str) -> Iterator[Server]:
    server = Server(data, *options)
    try:
        server.wait()
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def children(process: int) -> list[int]:
    found = [path.read_text().split() for path in Path(f"/proc/{process}/task").glob("*/children")]
    return [int(one) for some in found for one in some]


def lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_kill_under_load_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    data = tmp_path / "data"
    answered: list[str] = []
    with running(data) as server:
        job = server.job([FILMS[i % 4] for i in range(30)])

        def load() -> None:
            for number in range(100):
                try:
                    answered.append(server.predict(FILMS[number % 4]))
                except (OSError, http.client.HTTPException):
                    return

        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        while server.ask(f"/v1/jobs/{job}")["done"] < 5:
            time.sleep(0.02)
        decoders = children(server.process.pid)
        assert decoders
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        for thread in threads:
            thread.join()
    assert len(answered) >= 2
    with running(data) as server:
        until = time.monotonic() + 20
        while any(map(lives, decoders)) and time.monotonic() < until:
            time.sleep(0.1)
        assert not any(map(lives, decoders))
        done = server.finished(job)
        assert [one["status"] for one in done["results"]] == ["ok"] * 30
        ids = [one["id"] for one in done["results"]]
        assert len(set(ids)) == 30
        listed = [one["id"] for one in server.ask("/v1/results?limit=500")["results"]]
        assert len(listed) == len(set(listed))
        assert set(ids) | set(answered) <= set(listed)
        # Of the requests that the kill cut off, at most one for each client was done without its answer.
        assert len(listed) <= 30 + len(answered) + 2
        for id_ in [*ids, *answered]:
            assert (data / "films" / id_).read_bytes() in FILMS
        assert list((data / "incoming").iterdir()) == []
    assert verify(data / "audit.jsonl").broken is None


def test_told_to_end_it_answers_what_it_has_begun(tmp_path: Path) -> None:
    data = tmp_path / "data"
    answered: list[str] = []
    broken: list[str] = []
    with running(data) as server:
        job = server.job([FILMS[i % 4] for i in range(20)])

        def load() -> None:
            while True:
                try:
                    answered.append(server.predict(FILMS[0]))
                except urllib.error.HTTPError as error:
                    broken.append(f"{error.code}")
                    return
                except urllib.error.URLError:  # no connection any more
                    return
                except (OSError, http.client.HTTPException) as error:
                    broken.append(type(error).__name__)
                    return

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(answered) < 4:
            time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(60)
        for thread in threads:
            thread.join()
    assert code in (0, -signal.SIGTERM)
    assert broken == []
    with running(data) as server:
        assert server.finished(job)["done"] == 20
        listed = [one["id"] for one in server.ask("/v1/results?limit=500")["results"]]
        assert set(answered) <= set(listed)
        assert len(listed) == len(answered) + 20
    what = [json.loads(line)["what"] for line in (data / "audit.jsonl").read_text().splitlines()]
    assert "stopped" in what
    assert verify(data / "audit.jsonl").broken is None


def test_clients_that_say_nothing_or_half_a_head_are_cut_off(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        address = "127.0.0.1", server.port
        silent = [socket.create_connection(address) for _ in range(20)]
        halves = [socket.create_connection(address) for _ in range(20)]
        for one in halves:
            one.sendall(b"GET /v1/results HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ")
        began = time.monotonic()
        assert server.predict(FILMS[0])
        while time.monotonic() - began < 12:
            for one in halves:
                one.sendall(b"a")  # a byte now and then keeps nobody in
            time.sleep(1)
        for one in (*silent, *halves):
            one.settimeout(15)
            with suppress(ConnectionResetError):
                assert one.recv(100) == b""
            one.close()
        assert time.monotonic() - began < 30


def test_requests_are_answered_while_films_are_worked_on(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        server.job([FILMS[i % 4] for i in range(24)])
        slowest = 0.0
        for _ in range(20):
            began = time.monotonic()
            server.ask("/healthz")
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.02)
    assert slowest < 1.0


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /v1/results HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /v1/results HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET http://evil.example/v1/results HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ],
)
def test_requests_that_are_no_sound_http_are_refused(shared: Server, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", shared.port), timeout=30) as client:
        client.sendall(head)
        answer = client.recv(1000)
    assert answer.split(b" ")[1][:1] == b"4", answer
    assert shared.ask("/healthz") == {"status": "ok"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("shared") / "data") as server:
        yield server


def test_the_log_is_json_and_tells_no_path_as_it_came(shared: Server) -> None:
    with pytest.raises(urllib.error.HTTPError):
        shared.ask("/Kunigunde?name=Zwetschgenberg")
    shared.ask("/v1/results?search=Zwetschgenberg")
    until = time.monotonic() + 10  # a line is written after its answer has gone out
    while '"/v1/results"' not in (text := shared.log.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    entries = [json.loads(line) for line in text.splitlines()]
    assert any(entry.get("route") == "/v1/results" for entry in entries)
    assert "Kunigunde" not in text and "Zwetschgenberg" not in text


def test_a_second_service_on_the_same_folder_is_refused(shared: Server, tmp_path: Path) -> None:
    data = next(path for path in shared.log.parent.iterdir() if path.is_dir())
    for options, why in (
        (("--data", str(data), "--port", "0"), "another service"),
        (("--data", str(tmp_path), "--host", "0.0.0.0"), "HILUM_TOKEN"),  # noqa: S104
    ):
        environment = {name: value for name, value in os.environ.items() if name != "HILUM_TOKEN"}
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "serve", *options],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 2 and why in done.stderr and "Traceback" not in done.stderr
