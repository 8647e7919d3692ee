"""A close that lets the caller read its answer: what it still sends is read and dropped for a while.

A socket that is closed while bytes lie in it unread resets the connection, and a caller that is still sending sees
that in place of the answer that says what is wrong (RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio

from predictor.http.relay_transport import RelayTransport

LINGER = 2.0
"""Seconds for what is left of a request that was refused, before its connection is closed."""


class LingeringTransport(RelayTransport):
    """Hands on what its protocol writes; its `close` ends the connection from this side, and then reads to its end."""

    def __init__(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Take a transport, and whom to tell of its end."""
        super().__init__(transport)
        self._protocol = protocol

    def close(self) -> None:
        """Send what is written and the end of it, and close when the caller has done so, or time is up."""
        if self._closing:
            return
        self._closing = True
        if not self._transport.can_write_eof():  # TLS
            self._transport.close()
            return
        self._transport.write_eof()
        timer = asyncio.get_running_loop().call_later(LINGER, self._transport.abort)
        self._transport.set_protocol(_Dropping(self._protocol, timer))
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        """Tell whether anything is read."""
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        """Read no more for a while."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._transport.resume_reading()


class _Dropping(asyncio.Protocol):
    """Drops what comes."""

    def __init__(self, protocol: asyncio.Protocol, timer: asyncio.TimerHandle) -> None:
        self._protocol = protocol
        self._timer = timer

    def data_received(self, data: bytes) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._protocol.connection_lost(exc)
