"""Connections on which nothing comes, or nothing is taken off: they are ended, for each takes a place."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD = 15.0  # seconds from a connection, or a request's first byte, to the end of the request's head
TAKEN = 60.0  # seconds between two looks at how much of an answer was taken off
_RATE = 2**14  # bytes a second that an answer must be taken off with


class Impatient(H11Protocol):
    """uvicorn's HTTP/1.1, which by itself waits for ever: for a request's head (Slowloris), for the rest of a
    body that was answered already, and for answers to be taken off."""

    _deadline: asyncio.TimerHandle | None = None  # for what is to come
    _look: asyncio.TimerHandle | None = None  # at what is to be taken off

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
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
        """The client does not take off as fast as it is answered."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """It has taken nearly everything."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._look_away()

    def on_response_complete(self) -> None:
        """An answer is on its way, and the connection ends with it or goes on."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch()

    def timeout_keep_alive_handler(self) -> None:
        """No further request has come."""
        super().timeout_keep_alive_handler()
        self._watch()

    def _owed(self) -> bool:
        """Whether the client is to send what no handler waits for: those have limits of their own."""
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
