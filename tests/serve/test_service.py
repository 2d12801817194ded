"""What the service says of itself, its pages, and how films wait."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import exc

from hilum.errors import HilumError
from hilum.labels import SIX
from hilum.pipeline import Pipeline
from hilum.reading.guarded import Decoders
from hilum.serve import app as application
from hilum.serve.engine import Engine
from hilum.serve.results import Document
from hilum.types import Radiograph, Report

Film = Callable[..., bytes]


def test_it_tells_its_models_labels_and_limits(client: Any, pipeline: Pipeline) -> None:
    about = client.get("/v1/service").json()
    assert about["labels"] == list(SIX)
    assert about["models"]["segment"]["sha256"] == pipeline.segmenter.card.sha256
    assert set(about["models"]) == {"gate", "segment", "classify"}
    assert about["limits"] == {"bytes": 2**26, "pixels": 50_000_000, "films": 16}
    assert about["token_required"] is False
    assert about["disclaimer"] == "Research use only. Not a medical device."


def test_the_api_describes_itself_with_examples(client: Any) -> None:
    document = client.get("/openapi.json").json()
    predict = document["paths"]["/v1/predict"]["post"]
    assert "multipart/form-data" in predict["requestBody"]["content"]
    assert "application/dicom" in predict["requestBody"]["content"]
    assert predict["responses"]["200"]["content"]["application/json"]["example"]["prediction"]
    for path in (
        "/v1/results/{result}/seg.dcm",
        "/v1/jobs/{job}",
        "/v2/models/{model}/infer",
        "/infer/{model}",
    ):
        assert path in document["paths"]
    for path in ("/docs", "/redoc"):  # both would load scripts from elsewhere
        assert client.get(path).status_code == 404


def test_metrics_count_requests_by_route_and_films_by_status(serve: Callable[..., Any], png: Film) -> None:
    client = serve()
    client.predict(png())
    client.post("/v1/predict", content=b"GIF", headers={"Content-Type": "image/png"})
    client.get(f"/v1/results/{'0' * 32}")
    client.get("/v1/results/" + "x" * 500)
    client.get("/made-up/by/a/client")
    client.request("BREW", "/v1/results")
    text = client.get("/metrics").text
    for line in (
        'hilum_requests_total{method="POST",route="/v1/predict",status="200"} 1.0',
        'hilum_requests_total{method="POST",route="/v1/predict",status="400"} 1.0',
        'hilum_requests_total{method="GET",route="/v1/results/{result}",status="404"} 1.0',
        'hilum_films_total{status="ok"} 1.0',
        'hilum_films_total{status="error"} 1.0',
        "hilum_queue_films 0.0",
        "hilum_decoder_deaths 0.0",
    ):
        assert line in text, line
    assert 'hilum_request_seconds_bucket{le="+Inf",route="/v1/predict"} 2.0' in text
    assert "made-up" not in text and "BREW" not in text and "xxx" not in text


@pytest.mark.parametrize(
    "error",
    [
        exc.OperationalError("SELECT 1", {}, Exception("connection refused")),
        exc.TimeoutError("no connection was free"),
    ],
)
def test_without_its_database_it_lives_but_is_not_ready(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    client = serve()

    def lost(*_: object) -> None:
        raise error

    monkeypatch.setattr(client.service.database, "connect", lost)
    assert client.get("/healthz").status_code == 200
    for path in ("/readyz", "/v1/results"):
        answer = client.get(path)
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "database"
        assert answer.headers["retry-after"]
    assert client.get("/v2/health/ready").status_code == 503


def test_with_a_full_disk_it_lives_but_is_not_ready(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    assert client.get("/healthz").status_code == 200
    for path in ("/readyz", "/v2/health/ready"):
        assert client.get(path).status_code == 507, path
    assert client.get("/readyz").json()["error"]["code"] == "disk-full"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/", "/v1/results"])
def test_head_is_answered_like_get(client: Any, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert head.status_code == get.status_code == 200 and not head.content
    assert head.headers["content-length"] == get.headers["content-length"]


def test_the_method_of_a_request_is_told_from_its_page(client: Any) -> None:
    for method, path, allowed in (("GET", "/v1/predict", "POST"), ("POST", "/healthz", "GET")):
        answer = client.request(method, path)
        assert answer.status_code == 405 and answer.headers["allow"] == allowed, path
    assert client.head("/v1/predict").status_code == 405
    assert client.head("/no-such-page").status_code == 404
    client.head("/healthz")
    assert 'method="HEAD",route="/healthz",status="200"' in client.get("/metrics").text


def test_pages_are_open_and_everything_else_is_not(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = tmp_path / "static"
    (pages / "parts").mkdir(parents=True)
    (pages / "index.html").write_text("<!doctype html>")
    (pages / "parts" / "a.js").write_text("export {};")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setattr(application, "STATIC", pages)
    client = serve(tokens={"a": "a-token-that-is-long-enough"})
    assert client.get("/").text == "<!doctype html>"
    script = client.get("/parts/a.js")
    assert script.status_code == 200 and "javascript" in script.headers["content-type"]
    for path in (
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/parts/../../secret.txt",
        "/parts/..%2f..%2fsecret.txt",
    ):
        answer = client.get(path)
        assert answer.status_code in (401, 404) and "secret" not in answer.text.replace("/secret", "")
    assert client.post("/").status_code == 401


class Gated:
    """A pipeline that waits until it is let go on."""

    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate

    def analyse_apart(self, film: Radiograph) -> str:
        self.gate.wait(10)
        return film.origin.sha256


class Reading:
    """Decoders that make a film of as many pixels as the file's name says."""

    def __init__(self) -> None:
        self.read_so_far = 0

    def read(self, data: bytes, name: str) -> Any:
        import numpy as np

        from hilum.types import Origin

        self.read_so_far += 1
        pixels = np.broadcast_to(np.float32(0), (int(name), 1))
        return Radiograph(pixels=pixels, origin=Origin(path=name, sha256=data.decode(), format="PNG"))

    def close(self) -> None:
        """Nothing runs."""


def test_films_that_wait_are_bounded_in_memory(tmp_path: Path) -> None:
    gate = threading.Event()
    pipeline, decoders = Gated(gate), Reading()
    engine = Engine(pipeline, decoders, count=2, capacity=99)  # type: ignore[arg-type]
    sizes = [1000] * 9 + [30_000_000] * 6
    futures = []
    for number, size in enumerate(sizes):
        path = tmp_path / str(number)
        path.write_text(str(number))
        futures.append(engine.submit(path, str(size), lambda result: result, None))
    waiter = threading.Timer(1.0, gate.set)
    waiter.start()
    waiter.join()
    # Nothing was analysed yet: no more may be decoded than what is held, and a film for each decoder.
    assert decoders.read_so_far <= 9 + 2 + 2
    wait(futures, 20)
    assert [future.result() for future in futures] == [str(number) for number in range(len(sizes))]
    engine.close()


def test_films_are_analysed_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.serve.engine.cores", lambda: 3)
    three = threading.Barrier(3)

    class Meeting:
        """A pipeline whose films wait for one another."""

        def analyse_apart(self, film: Radiograph) -> str:
            three.wait(10)
            return film.origin.sha256

    engine = Engine(Meeting(), Reading(), count=2, capacity=99)  # type: ignore[arg-type]
    for number in range(3):
        (tmp_path / str(number)).write_text(str(number))
    futures = [engine.submit(tmp_path / str(i), "1000", lambda result: result, None) for i in range(3)]
    assert [future.result(20) for future in futures] == ["0", "1", "2"]
    engine.close()


def test_what_fails_while_it_is_finished_fails_alone_and_gives_its_place_back(
    pipeline: Pipeline, tmp_path: Path, png: Film
) -> None:
    engine = Engine(pipeline, Decoders(1), count=1, capacity=3)
    path = tmp_path / "film"
    path.write_bytes(png())

    def broken(_: Report | HilumError) -> None:
        raise RuntimeError("disk")

    with engine.places() as places:
        places.more(2)
        bad = engine.submit(path, "a", broken, places)
        good = engine.submit(path, "b", lambda result: result, places)
        gone = engine.submit(tmp_path / "none", "c", lambda result: result, places)
        with pytest.raises(HilumError, match="waiting"):
            engine.move(1)
        with pytest.raises(RuntimeError):
            bad.result(30)
        assert isinstance(good.result(30), Report)
        with pytest.raises(FileNotFoundError):  # nobody may take that for the film's own fault
            gone.result(30)
    assert engine.waiting == 0
    engine.close()


def test_a_film_whose_result_cannot_be_kept_leaves_nothing(
    serve: Callable[..., Any], png: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve()
    names: list[str] = []

    def full(document: Document) -> None:
        names.append(document["id"])
        raise exc.OperationalError("INSERT", {}, Exception("connection refused"))

    monkeypatch.setattr(client.service.results, "add", full)
    assert client.post("/v1/predict", files={"films": ("a.png", png())}).status_code == 503
    (name,) = names
    with pytest.raises(HilumError, match="no longer kept"):
        client.service.films.path(name)
    assert client.service.recent.get(name) is None


def test_closing_finishes_what_was_begun(pipeline: Pipeline, tmp_path: Path, png: Film) -> None:
    engine = Engine(pipeline, Decoders(1), count=1, capacity=9)
    path = tmp_path / "film"
    path.write_bytes(png())
    futures = [engine.submit(path, "a", lambda result: result, None) for _ in range(5)]
    engine.close()
    assert all(future.done() and isinstance(future.result(), Report) for future in futures)
