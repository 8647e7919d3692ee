"""The connection server: makes a protocol for each new connection, and ends all connections at shutdown."""

from __future__ import annotations

import asyncio
import logging
from heapq import nsmallest
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol, cast

from aiohttp import web

from predictor.core.operator_log import Throttle
from predictor.http.connection import Connection
from predictor.http.limits import most_connections
from predictor.http.lingering_close import LINGER
from predictor.http.request_faults import checked

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.core.memory_budget import MemoryBudget

_logger = logging.getLogger("predictor")
_throttle = Throttle()
_AT_ONCE = 100
"""At the bound a hundredth of all connections is closed at once: to look at each of them for one would take long."""
_HANDSHAKE = 60.0
"""Seconds in which TLS has begun, or has failed: asyncio's own bound. A protocol is not told of a failure."""
_FRESH = 2.0
"""Seconds, while the server ends, from the beginning of a connection until its first request must have come."""
_KEPT = 0.5
"""Seconds, from the moment that the server ends, for the next request of a connection that is kept."""
_TURNS = 5
"""Turns of the loop, in which everything that had come before them is read and its requests are begun."""
_LOOK = 0.005
"""Seconds between two looks at what is left, while the server ends."""


class LaneProtocol(Protocol):
    """A connection of the lane."""

    @property
    def asked(self) -> bool:
        """Whether a request has come, at least its head, that is not answered."""

    fresh: bool
    """Whether no request was answered yet."""
    connected: bool
    """Whether there is a transport: with TLS there is none before the handshake, and none at all if that fails."""

    def silent_since(self, *, bodies: bool = False) -> float | None:
        """Return since when it is idle, on the loop's clock, or with `bodies` waits for one; None if it does not."""

    def end(self) -> None:
        """Close once the caller has taken what was answered."""

    def abort(self) -> None:
        """Close without waiting for the caller to take what was answered."""


class Lane(Protocol):
    """What may stand in front of aiohttp's connections, and hands over to them."""

    def __call__(self, server: HttpServer) -> asyncio.BaseProtocol:
        """Return a new connection, which enters itself in `HttpServer.in_lane` while it is open."""


class HttpServer:
    """Stands where aiohttp's `Server` would: sites and gunicorn's worker call it for each connection."""

    def __init__(
        self, server: web.Server, lane: Lane | None, memory: MemoryBudget, *, idle: float, connections: int = 0
    ) -> None:
        """Take aiohttp's server, what stands in front of it, if anything, and the memory's budget.

        `idle` is seconds of silence, `connections` how many there may be, 0 for as many as files and memory allow.
        """
        self._server = server
        self._lane = lane
        self._loop = asyncio.get_running_loop()
        self._most = most_connections(connections)
        self.idle = idle
        self.memory = memory
        self.in_lane: set[LaneProtocol] = set()
        self._handlers: set[Connection] = set()
        self.answered_by_lane = 0
        self.leaving = False
        """Whether each answer ends its connection."""
        server.request_factory = checked(server.request_factory)

    def __call__(self) -> asyncio.BaseProtocol:
        """Return a new connection; at the bound those that have been idle longest are closed for it."""
        # Counted when it is made: many are accepted in one turn of the loop, before the first of them is connected.
        if len(self._handlers) + len(self.in_lane) >= self._most and not self._make_room():
            return _CutOff()
        return self._lane(self) if self._lane else self.aiohttp()

    def _every(self) -> list[Any]:
        """Return the connections of both doors; what is lent to aiohttp is the lane's."""
        return [*self.in_lane, *(each for each in self._handlers if not each.lent)]

    def _make_room(self) -> bool:
        """Close those that are idle longest, else those that wait for a body longest; False if there is no room."""
        now = self._loop.time()
        for each in self._every():
            if not each.connected and (each.silent_since() or now) < now - _HANDSHAKE:
                self._forget(each)
        every = self._every()
        if len(every) < self._most:  # what is lent was counted twice
            return True
        for bodies in (False, True):
            idle = [(since, each) for each in every if (since := each.silent_since(bodies=bodies) or now) < now]
            if not idle:
                continue
            if _throttle.due(bodies):
                _logger.warning(
                    "%d connections are open (PREDICTOR_CONNECTIONS), the longest idle are closed", self._most
                )
            for _, each in nsmallest(max(1, self._most // _AT_ONCE), idle, key=itemgetter(0)):
                each.abort()
                self._forget(each)
            return True
        if _throttle.due():
            _logger.error("%d connections are open and at work (PREDICTOR_CONNECTIONS), more are cut off", self._most)
        return False

    def _forget(self, connection: Any) -> None:  # noqa: ANN401 - of either door
        self.in_lane.discard(connection)
        self._handlers.discard(connection)

    def aiohttp(self) -> Connection:
        """Return a new connection of aiohttp."""
        connection = Connection(
            self._server,
            idle=self.idle,
            handlers=self._handlers,
            memory=self.memory,
            loop=self._loop,
            access_log=None,
            lingering_time=LINGER,
            logger=_server_log,
        )
        self._handlers.add(connection)
        return connection

    @property
    def requests_count(self) -> int:
        """How many requests have come."""
        return self._server.requests_count + self.answered_by_lane

    @property
    def connections(self) -> list[Any]:
        """Those that are open; one that the lane lends to aiohttp for a request is there twice."""
        return [*self.in_lane, *self._server.connections]

    def leave(self) -> None:
        """Let each answer from now on end its connection; new connections are still taken."""
        self.leaving = True

    async def answer_connected(self, seconds: float) -> None:
        """Wait, `seconds` at most, for the requests of who has connected, then close each connection that is idle.

        A connection without an answer so far has two seconds of its own, one that is kept half a second from now.
        """
        self.leave()
        begun = self._loop.time()
        while True:
            # Judged by a moment before the last turns: what lay in a socket by then was read in them, so that nobody
            # is closed over an unread request, however long this process stood still.
            now = self._loop.time()
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if now >= begun + seconds or not any(self._may_ask(each, begun, now) for each in self._every()):
                break
            await asyncio.sleep(_LOOK)
        self._end_idle()

    @staticmethod
    def _may_ask(connection: Any, begun: float, now: float) -> bool:  # noqa: ANN401 - of either door
        if connection.asked or (since := connection.silent_since()) is None:
            return False
        return bool(now < (since + _FRESH if connection.fresh else begun + _KEPT))

    def _end_idle(self) -> None:
        for each in self._every():
            if each.asked or each.silent_since() is None:
                continue
            if each.connected:
                each.end()
            else:
                self._forget(each)  # enters itself again should it be connected after all

    async def drain(self, busy: Callable[[], int], seconds: float) -> None:
        """Finish what is in flight within `seconds`; `busy` counts the requests that aiohttp's handlers work on."""
        until = self._loop.time() + seconds
        self.leave()
        self._end_idle()  # what was connected after all
        # aiohttp takes no more of a body once its connection has been told to close: first what is being handled.
        while self._loop.time() < until and (busy() or any(each.asked for each in self._handlers)):  # noqa: ASYNC110 - aiohttp tells nobody
            await asyncio.sleep(_LOOK)
        self._server.pre_shutdown()
        while self.connections and self._loop.time() < until:  # noqa: ASYNC110 - the same
            await asyncio.sleep(_LOOK)
        for connection in tuple(self.in_lane):
            connection.abort()


class _CutOff(asyncio.Protocol):
    """A connection that ends before it begins."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()


class _NoCallersFault(logging.Filter):
    """Keeps what is the caller's fault out of the log: the rest of a broken body, read after its answer."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], web.RequestPayloadError))


_server_log = logging.getLogger("predictor.http")
_server_log.addFilter(_NoCallersFault())
