"""Closes connections on which a client sends or reads too slowly: each of them takes a place."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD = 15.0  # seconds from the connection, or a request's first byte, to the end of its headers
TAKEN = 60.0  # seconds between two checks of how much of an answer was read
_RATE = 2**14  # lowest rate at which a client must read an answer, in bytes per second


class Impatient(H11Protocol):
    """uvicorn's HTTP/1.1 with deadlines. By itself it waits for ever for request headers (Slowloris), for the
    rest of a body that was already answered, and for a client to read an answer."""

    _deadline: asyncio.TimerHandle | None = None  # for what the client must send
    _look: asyncio.TimerHandle | None = None  # next check of what the client must read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """The client has sent bytes."""
        super().data_received(data)
        if not self._owed():
            self._relax()
        elif self._deadline is None:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._relax()
        self._look_away()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is written."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """The client has read nearly everything."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._look_away()

    def on_response_complete(self) -> None:
        """An answer was handed to the connection, which now ends or waits for the next request."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch()

    def timeout_keep_alive_handler(self) -> None:
        """No further request has arrived."""
        super().timeout_keep_alive_handler()
        self._watch()

    def _owed(self) -> bool:
        """Whether the client must send what no handler waits for (handlers have their own limits)."""
        answered = self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY
        return answered or self.conn.their_state is h11.IDLE

    def _expect(self) -> None:
        self._deadline = self.loop.call_later(HEAD, self._give_up)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self._owed():
            self.transport.close()
            self._watch()

    def _watch(self) -> None:
        if self._look is None:
            left = self.transport.get_write_buffer_size()
            self._look = self.loop.call_later(TAKEN, self._judge, left)

    def _judge(self, before: int) -> None:
        self._look = None
        if self.transport.get_write_buffer_size() > max(0, before - TAKEN * _RATE):
            self.transport.abort()
        else:
            self._watch()

    def _look_away(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
