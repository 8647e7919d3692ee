"""What callers may hold: how many connections, how long one that takes no answers, how long the shutdown waits."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
import sys
from typing import TYPE_CHECKING, Any, cast

from aiohttp.web_protocol import RequestHandler

from predictor.console import Throttle

if TYPE_CHECKING:
    import asyncio
    from asyncio.trsock import TransportSocket

_logger = logging.getLogger("predictor")
_throttle = Throttle()
_SPARE = 200
"""Descriptors for everything but connections: segments, cursors, the sink, a segment read for the page."""
_MOMENT = 0.1
"""Seconds for the last words of a request that the shutdown interrupts."""


def most_connections() -> int:
    """Return how many connections leave the log descriptors to open its files with."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(files // 2, files - _SPARE) if files != resource.RLIM_INFINITY else sys.maxsize


class BoundedConnection(RequestHandler):
    """aiohttp's connection with the bounds that it lacks; its time-out of silent callers is aiohttp's own."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are so many connections that the log could not open its files."""
        manager: Any = self._manager
        if not manager or len(manager.connections) < manager.most:
            super().connection_made(transport)
            _bound_unread(transport.get_extra_info("socket"), self._keepalive_timeout)
            return
        if _throttle.due("most"):
            _logger.error("%d connections are open (see ulimit -n), more are cut off", manager.most)
        self._manager = None  # it need not be told of the end
        cast("asyncio.Transport", transport).abort()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's
        """Finish what is in flight within `timeout` seconds; aiohttp would wait as long again for what did not."""
        task, handle = self._task_handler, None
        if task and timeout is not None:
            handle = self._loop.call_later(timeout + _MOMENT, task.cancel)
        try:
            await super().shutdown(timeout)
        finally:
            if handle:
                handle.cancel()


def _bound_unread(connected: TransportSocket | None, seconds: float) -> None:
    """Let the kernel end a connection whose caller has taken nothing of an answer for so long, or has vanished."""
    if connected is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; tcp(7)
        with contextlib.suppress(OSError):  # a Unix socket's, or gone already
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))
