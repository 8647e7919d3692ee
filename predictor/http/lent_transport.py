"""A transport that is lent to an aiohttp handler for one request, and then returned with the connection still open."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from predictor.http.relay_transport import RelayTransport

if TYPE_CHECKING:
    from predictor.http.connection import Connection


class _Returned(Protocol):
    def __call__(self, rest: bytes, *, goes_on: bool) -> None:
        """Take the connection back: bytes behind the request, and whether requests may follow."""


class LentTransport(RelayTransport):
    """Hands on what the handler writes; its `close` closes nothing, but returns the connection."""

    def __init__(self, transport: asyncio.Transport, handler: Connection, length: int, returned: _Returned) -> None:
        """Take the transport, who answers, how many bytes the request has, and whom to return the connection to."""
        super().__init__(transport)
        self.handler = handler
        self._missing = length
        self.rest = b""
        """What has come behind the request."""
        self._returned = returned
        self._paused = False

    # What the lane calls
    def begin(self) -> None:
        """Let the handler answer what it is fed."""
        self.handler.lent = True
        self.handler.connection_made(self)

    def feed(self, data: bytes) -> None:
        """Give the handler what is of its request, keep the rest, and read no further then."""
        part = data[: self._missing]
        if len(part) < len(data):
            self.rest += data[len(part) :]
            self._transport.pause_reading()
        if part and not self._closing:
            self._missing -= len(part)
            self.handler.data_received(part)
            if not self._missing:
                self.handler.fed = True
                if self.handler.answered:
                    self.handler.close()

    def lost(self, exc: Exception | None) -> None:
        """Tell the handler that the caller has gone."""
        if not self._closing:
            self._closing = True
            self.handler.connection_lost(exc)

    # What the handler calls
    def close(self) -> None:
        """Return the connection, once the handler has come to its end."""
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._return)

    def _return(self) -> None:
        goes_on = self.handler.persists and not self._missing and not self._transport.is_closing()
        self.handler.connection_lost(None)
        self._returned(self.rest, goes_on=goes_on)

    def is_reading(self) -> bool:
        """Tell whether the request's body is being read."""
        return not self._paused

    def pause_reading(self) -> None:
        """Read no more for a while."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._paused = False
        if not self.rest:
            self._transport.resume_reading()
