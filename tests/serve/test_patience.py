"""Connections that hold a place without asking or taking anything are ended; those that do are not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from hilum.serve import patience

WHOLE = 2**24  # bytes of the large answer: more than the system holds for a client that takes nothing


async def app(scope: Any, _: Any, send: Any) -> None:
    """Answers without reading what was sent; /large with more than a client may leave."""
    content = b"x" * WHOLE if scope["path"] == "/large" else b"no"
    length = b"%d" % len(content)
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": content})


def talk(client: Callable[[asyncio.StreamReader, asyncio.StreamWriter, ServerState], Awaitable[Any]]) -> Any:
    """What a client makes of a server that is there for it alone."""

    async def both() -> Any:
        config = uvicorn.Config(app, timeout_keep_alive=1, log_config=None, ws="none")
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: patience.Impatient(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2], limit=2**16)
        try:
            return await asyncio.wait_for(client(reader, writer, state), 20)
        finally:
            writer.transport.abort()
            server.close()

    return asyncio.run(both())


async def ended(state: ServerState, seconds: float) -> bool:
    """Whether the server lets go of its connection within so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while state.connections:
                await asyncio.sleep(0.02)
    return not state.connections


def test_the_rest_of_a_refused_body_may_not_trickle_in_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD", 0.5)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: ServerState) -> bool:
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        await reader.readuntil(b"no")
        trickling = asyncio.create_task(trickle(writer))
        over = await ended(state, 3)
        trickling.cancel()
        return over

    async def trickle(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.1)

    assert talk(client)


def test_a_refused_body_that_ends_soon_leaves_the_connection_open() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: ServerState) -> bytes:
        ask = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
        for _ in range(2):
            writer.write(ask)
            await reader.readuntil(b"no")
            writer.write(b"x" * 100000)
        writer.write(ask)
        return await reader.readuntil(b"no")

    assert talk(client).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("head", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("asks", [1, 2])
def test_an_answer_that_nobody_takes_off_is_given_up(
    monkeypatch: pytest.MonkeyPatch, head: bytes, asks: int
) -> None:
    monkeypatch.setattr(patience, "TAKEN", 0.5)

    async def client(_: asyncio.StreamReader, writer: asyncio.StreamWriter, state: ServerState) -> bool:
        writer.transport.pause_reading()
        writer.write(asks * (b"GET /large HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n"))
        return await ended(state, 4)

    assert talk(client)


def test_an_answer_that_is_taken_off_slowly_but_steadily_comes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "TAKEN", 0.5)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: ServerState) -> int:
        writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        came = 0
        while chunk := await reader.read(2**16):
            came += len(chunk)
            await asyncio.sleep(0.01)
        return came

    assert talk(client) > WHOLE
