"""Connections on which nothing comes, or nothing is taken off: they are ended, for each takes a place."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD = 15.0  # seconds from a connection, or a request's first byte, to the end of the request's head
TAKEN = 300.0  # seconds for an answer to be taken off once the connection is to close


class Impatient(H11Protocol):
    """uvicorn's HTTP/1.1, which by itself waits for a request's head for ever (Slowloris)."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._relax()
        elif self._deadline is None:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._relax()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """No further request has come."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(TAKEN, self.transport.abort)

    def _expect(self) -> None:
        self._deadline = self.loop.call_later(HEAD, self._give_up)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.conn.their_state is h11.IDLE:
            self.transport.close()
