"""The bounds of one connection of the fast lane: silence, and memory for what waits for its turn or for the caller."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from predictor.http.limits import FREE_BYTES, bound_unread
from predictor.http.request_head import more_than_one

if TYPE_CHECKING:
    from predictor.http.connection import Connection
    from predictor.http.lent_transport import LentTransport
    from predictor.http.server import HttpServer


class BoundedConnection(asyncio.Protocol):
    """A connection with what is counted of it; its subclass takes and answers the requests."""

    def __init__(self, server: HttpServer) -> None:
        """Be without a transport yet."""
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.transport = cast("asyncio.Transport", None)
        self.connected = False
        """Whether there is a transport: with TLS there is none before the handshake, and none if that fails."""
        self.fresh = True
        """Whether no request was answered yet."""
        self.early = b""
        """What has come and is not looked at yet: the beginning of a head, or what came during a request."""
        self.lent: LentTransport | None = None
        self.busy = False
        """Whether a request waits for its predictions."""
        self.paused = False
        """Whether the caller does not take its answers."""
        self.missing = 0
        """Bytes of the body that have not come."""
        self.unwanted = 0
        """Bytes of a refused body that have not come."""
        self.last = False
        """Whether the answer that was given says that it is the last one."""
        self.closed = False
        self._since = self.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._share = server.memory.share(FREE_BYTES)
        server.in_lane.add(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        self.connected = True
        self.server.in_lane.add(self)  # given up while TLS had not begun, and there after all
        bound_unread(transport, self.server.idle)
        self._timer = self.loop.call_later(self.server.idle, self._look_for_silence)

    def leave(self) -> None:
        """Be none of the lane's connections any more."""
        self.closed, self.early = True, b""
        self.server.in_lane.discard(self)
        self._share.resize(0)
        if self._timer:
            self._timer.cancel()

    # Memory
    def put_aside(self, data: bytes) -> None:
        """Keep what it is not the turn of yet, in place of what was kept before."""
        before, self.early = self.early, data
        if max(len(before), len(data)) > FREE_BYTES:
            self.charge()

    def charge(self) -> None:
        """Have the memory's budget hold what is put aside and what the caller does not take; end if it cannot."""
        waits = self.lent.rest if self.lent else self.early
        unread = self.transport.get_write_buffer_size() if self.paused else 0
        if not self._share.fit(len(waits) + unread):
            self.transport.abort()

    # Silence
    def be_idle(self) -> None:
        """Be idle from now on."""
        self.fresh = False
        self._since = self.loop.time()

    @property
    def asked(self) -> bool:
        """Whether a request has come, at least its head, that is not answered, or of which a refused body comes."""
        return self.busy or bool(self.missing or self.unwanted or self.lent)

    def silent_since(self, *, bodies: bool = False) -> float | None:
        """Return since when it is idle, or with `bodies` waits for one; None if it does not."""
        if self.lent:
            return self.lent.handler.silent_since(bodies=True) if bodies else None
        return None if self.busy or (self.missing and not bodies) else self._since

    def _look_for_silence(self) -> None:
        now = self.loop.time()
        since = self.silent_since() or now
        if since + self.server.idle <= now:
            self.end()
        else:
            self._timer = self.loop.call_at(since + self.server.idle, self._look_for_silence)

    # The end
    def abort(self) -> None:
        """Close without waiting for the caller to take what was answered."""
        self.end()
        if self.connected and self.transport.get_write_buffer_size():
            self.transport.abort()

    def end(self) -> None:
        """Close once the caller has taken what was answered."""
        if self.connected and not self.closed:
            self.closed = True
            self.transport.close()

    def hand_over(self, data: bytes) -> None:
        """Give the connection to aiohttp, for good; its next answer ends it unless more was asked behind it already."""
        handler: Connection = self.server.aiohttp()
        handler.last_answer = not more_than_one(data)
        self.leave()
        self.transport.set_protocol(handler)
        handler.connection_made(self.transport)
        handler.data_received(data)
