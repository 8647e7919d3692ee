"""The connection server: makes a protocol for each new connection, and ends all connections at shutdown."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol, cast

from aiohttp import web

from predictor.core.operator_log import Throttle
from predictor.http.connection import Connection, checked
from predictor.http.limits import most_connections

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger("predictor")
_throttle = Throttle()
_LINGER = 2.0
"""Seconds for the rest of a body that was refused, before its connection is closed."""
_LOOK = 0.005
"""Seconds between two looks at what is left, while the server ends."""


class LaneProtocol(Protocol):
    """A connection of the lane."""

    def close_if_idle(self) -> None:
        """Close unless a request has begun."""

    def abort(self) -> None:
        """Close without waiting for the caller to take what was answered."""


class Lane(Protocol):
    """What may stand in front of aiohttp's connections, and hands over to them."""

    def __call__(self, server: HttpServer) -> asyncio.BaseProtocol:
        """Return a new connection, which enters itself in `HttpServer.in_lane` while it is open."""


class HttpServer:
    """Stands where aiohttp's `Server` would: sites and gunicorn's worker call it for each connection."""

    def __init__(self, server: web.Server, lane: Lane | None, *, idle: float) -> None:
        """Take aiohttp's server and what stands in front of it, if anything; `idle` is seconds of silence."""
        self._server = server
        self._lane = lane
        self._loop = asyncio.get_running_loop()
        self._most = most_connections()
        self.idle = idle
        self.in_lane: set[LaneProtocol] = set()
        self.answered_by_lane = 0
        self.leaving = False
        """Whether each answer ends its connection."""
        server.request_factory = checked(server.request_factory)

    def __call__(self) -> asyncio.BaseProtocol:
        """Return a new connection, unless there are so many that the log could not open its files."""
        if len(self._server.connections) + len(self.in_lane) >= self._most:
            if _throttle.due():
                _logger.error("%d connections are open (see ulimit -n), more are cut off", self._most)
            return _CutOff()
        return self._lane(self) if self._lane else self.aiohttp()

    def aiohttp(self) -> Connection:
        """Return a new connection of aiohttp."""
        return Connection(
            self._server, idle=self.idle, loop=self._loop, access_log=None, lingering_time=_LINGER, logger=_server_log
        )

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

    async def empty(self, seconds: float) -> None:
        """Wait until all connections have ended, each with its next answer; idle ones stay."""
        until = self._loop.time() + seconds
        while self.connections and self._loop.time() < until:  # noqa: ASYNC110 - aiohttp tells nobody
            await asyncio.sleep(_LOOK)

    async def drain(self, busy: Callable[[], int], seconds: float) -> None:
        """Finish what is in flight within `seconds`; `busy` counts the requests that aiohttp's handlers work on."""
        until = self._loop.time() + seconds
        self.leave()
        for connection in tuple(self.in_lane):
            connection.close_if_idle()
        # aiohttp takes no more of a body once its connection has been told to close: first what is being handled.
        while busy() and self._loop.time() < until:  # noqa: ASYNC110 - aiohttp tells nobody
            await asyncio.sleep(_LOOK)
        self._server.pre_shutdown()
        await self.empty(until - self._loop.time())
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
