"""What clients send that they should not: too much, too many, too slow, malformed, or nothing at all."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from hilum.serve import bodies
from hilum.serve.faults import ServiceError
from hilum.serve.films import Films
from hilum.serve.settings import Limits

Film = Callable[..., bytes]
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
SMALL = Limits(bytes=100_000, films=2)


def left(client: Any) -> list[Path]:
    return list((client.service.settings.data / "incoming").iterdir())


def test_too_many_bytes_are_refused_wherever_it_shows(serve: Callable[..., Any]) -> None:
    client = serve(limits=SMALL)

    def endless() -> Any:
        for _ in range(50):
            yield bytes(10_000)

    raw = {"Content-Type": "application/dicom"}
    for answer in (
        client.post("/v1/predict", content=bytes(100_001), headers=raw),
        client.post("/v1/predict", content=endless(), headers=raw),  # chunked: no length beforehand
        client.post("/v1/predict", files={"files": ("a", bytes(100_001))}),
        client.post("/v1/predict", content=b"", headers=raw | {"Content-Length": "99999999999"}),
    ):
        assert answer.status_code == 413 and answer.json()["error"]["code"] == "too-large"
    assert left(client) == []


def test_what_is_no_film_is_bounded_too(serve: Callable[..., Any]) -> None:
    client = serve(limits=SMALL)

    def endless(start: bytes) -> Any:
        yield start
        for _ in range(300):
            yield b"a" * 10_000

    before = client.post("/v1/predict", content=endless(b""), headers=FORM)
    after = client.post("/v1/predict", content=endless(PART + b"x\r\n--x--\r\n"), headers=FORM)
    tensors = client.post("/v2/models/hilum/infer", content=endless(b"{"))
    assert [answer.status_code for answer in (before, after, tensors)] == [413, 413, 413]


def test_too_many_films_fields_and_pixels_are_refused(serve: Callable[..., Any], png: Film) -> None:
    client = serve(limits=Limits(bytes=100_000, films=2, pixels=1000))
    three = [("files", ("a", b"x"))] * 3
    answer = client.post("/v1/predict", files=three)
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "too-many"
    fields = {f"f{i}": (None, "x") for i in range(40)}
    assert client.post("/v1/predict", files=fields).status_code == 400
    assert client.post("/v1/predict", files=[("f", (None, "x"))] * 40).status_code == 400
    assert client.post("/v1/predict", files={"f": (None, "x" * 2**17)}).status_code == 413
    assert client.post("/v1/predict", files=[("f", (None, "x" * 2**15))] * 3).status_code == 413
    answer = client.post("/v1/predict", content=png(), headers={"Content-Type": "image/png"})
    assert answer.status_code == 400 and "pixel" in answer.json()["error"]["reason"]
    assert left(client) == []


PART = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"--x\r\n",
        PART + b"cut off",
        PART + b"data\r\n--x",
        b"--x\r\nContent-Disposition: form-data\r\n\r\ndata\r\n--y--\r\n",
        b"--x\r\n" + b"A: " + b"b" * 20_000 + b"\r\n\r\n\r\n--x--\r\n",
        b"--x\r\nno colon here\r\n\r\n\r\n--x--\r\n",
    ],
)
def test_malformed_forms_are_refused_and_leave_nothing(client: Any, content: bytes) -> None:
    answer = client.post("/v1/predict", content=content, headers=FORM)
    assert answer.status_code in (400, 422), answer.text
    assert set(answer.json()["error"]) == {"code", "reason", "remedy"}
    assert left(client) == []


@pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'b' * 71}"])
def test_forms_without_a_boundary_are_refused(client: Any, boundary: str) -> None:
    answer = client.post(
        "/v1/predict", content=PART, headers={"Content-Type": f"multipart/form-data{boundary}"}
    )
    assert answer.status_code == 400


def test_a_form_cut_into_single_bytes_is_read_all_the_same(client: Any, png: Film) -> None:
    film = png(3, 64)
    content = PART + film + b"\r\n--x--\r\n"

    def drops() -> Any:
        for i in range(0, len(content), 7):
            yield content[i : i + 7]

    answer = client.post("/v1/predict", content=drops(), headers=FORM)
    assert answer.json()["input"]["rows"] == 64


def test_names_of_files_lead_nowhere(client: Any, png: Film) -> None:
    for name in ("../../../etc/cron.d/x", "..\\..\\x", "/abs/olute", "con\x00trol\r\nX: y", "", "a" * 5000):
        part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\n\r\n' % name.encode()
        answer = client.post("/v1/predict", content=part + png(3, 64) + b"\r\n--x--\r\n", headers=FORM)
        if answer.status_code == 200:
            file = answer.json()["file"]
            assert "/" not in file and "\\" not in file and len(file) <= 255 and file.isprintable()


def slow(seconds: float, chunk: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        await asyncio.sleep(seconds)
        return {"type": "http.request", "body": chunk, "more_body": True}

    headers = [(b"content-type", b"application/dicom")]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@pytest.mark.parametrize(("pause", "chunk"), [(60.0, b"x"), (0.02, b"x")])
def test_bodies_that_trickle_or_stall_are_cut_off(
    pause: float, chunk: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_PATIENCE", 0.3)
    films = Films(tmp_path)

    async def take() -> None:
        async with bodies.received(slow(pause, chunk), films, Limits(), most=1):
            raise AssertionError("never whole")

    with pytest.raises(ServiceError) as caught:
        asyncio.run(asyncio.wait_for(take(), 5))
    assert caught.value.status == 408
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_client_that_goes_away_is_no_fault_of_the_service(
    serve: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = serve()
    came = iter([{"type": "http.request", "body": b"half", "more_body": True}])

    async def receive() -> Any:
        return next(came, {"type": "http.disconnect"})

    async def send(_: Any) -> None:
        pass

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"image/png")]
    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": headers, "query_string": b""}
    asyncio.run(client.app(scope, receive, send))
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert 'route="/v1/predict",status="400"' in client.get("/metrics").text
    assert left(client) == [] and client.service.engine.waiting == 0


def test_a_full_disk_is_said_before_anything_is_written(
    serve: Callable[..., Any], png: Film, monkeypatch: Any
) -> None:
    client = serve()
    monkeypatch.setattr("hilum.serve.films._SPARE", 2**62)
    answer = client.post("/v1/predict", content=png(), headers={"Content-Type": "image/png"})
    assert answer.status_code == 507 and answer.json()["error"]["code"] == "disk-full"


def test_a_full_queue_is_a_clean_503(serve: Callable[..., Any], png: Film) -> None:
    client = serve(limits=Limits(queue=2, films=2))
    client.service.engine.move(2)
    for answer in (
        client.post("/v1/predict", content=png(), headers={"Content-Type": "image/png"}),
        client.get("/readyz"),
        client.get("/v2/health/ready"),
    ):
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    client.service.engine.move(-1)
    two = client.post("/v1/predict", files=[("files", ("a", png())), ("files", ("b", png()))])
    assert two.status_code == 503  # there is room for one
    assert client.post("/v1/predict", content=png(), headers={"Content-Type": "image/png"}).status_code == 200
    client.service.engine.move(-1)
    assert client.service.engine.waiting == 0


def test_a_film_that_a_disk_takes_in_pieces_is_whole(tmp_path: Path) -> None:
    """An unbuffered file may take less than it is given."""

    class Piecewise(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:1000])

    async def written() -> None:
        writer = bodies._Writer(bodies.Upload("a", tmp_path / "a"), 10_000)
        writer.close()
        writer._file = Piecewise(tmp_path / "a", "wb")
        await writer.write(bytes(range(250)) * 30)
        await writer.flush()
        writer.close()

    asyncio.run(written())
    assert (tmp_path / "a").read_bytes() == bytes(range(250)) * 30
