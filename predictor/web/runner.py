"""The HTTP server below the application: connections and their time-outs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from aiohttp import web

from predictor.web.bounded import most_connections
from predictor.web.connection import Connection
from predictor.web.express import Express

if TYPE_CHECKING:
    from aiohttp.web_server import Server

EXPRESS = web.AppKey("EXPRESS", Express)
_NEW = 0.5
"""Seconds, before PREDICTOR_DRAIN, for the requests of connections that have just come."""
_LINGER = 2.0
"""Seconds for the rest of a body that was refused, before its connection is closed."""
_INSTANT = 0.001
"""Seconds; to aiohttp a time-out of 0 is none at all."""


class Runner(web.AppRunner):
    """aiohttp's runner with our limits and our connections."""

    def __init__(self, app: web.Application, *, idle: float, drain: float) -> None:
        """Take seconds that a connection may be silent, and that requests in flight get at the end."""
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=idle,
            lingering_time=_LINGER,
            shutdown_timeout=max(drain, _INSTANT),
        )
        self._leaving = asyncio.Event()
        self._patience = min(_NEW, drain)

    def leave(self) -> None:
        """Let each answer from now on end its connection; new connections are still taken."""
        self._leaving.set()

    async def cleanup(self) -> None:
        """Stop listening, answer who has just connected, finish what is in flight; then end the application.

        aiohttp closes each connection of which it has not read a request yet, whatever lies in its socket.
        """
        for site in self.sites:
            await site.stop()
        self.leave()
        end = time.monotonic() + self._patience
        # Each goes with its next answer; idle ones stay.
        while self.server and self.server.connections and time.monotonic() < end:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        await super().cleanup()

    async def _make_server(self) -> Server:
        server = await super()._make_server()
        # aiohttp has no hook for the class that it makes connections of.
        server.__class__ = _Server
        server.app = self.app  # type: ignore[attr-defined]
        server.leaving = self._leaving  # type: ignore[attr-defined]
        server.most = most_connections()  # type: ignore[attr-defined]
        return server


class _Server(web.Server):
    app: web.Application
    leaving: asyncio.Event
    most: int

    def __call__(self) -> Connection:
        return Connection(self, self.app, self.app.get(EXPRESS), self.leaving, loop=self._loop, **self._kwargs)
