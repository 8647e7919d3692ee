"""The application runner: aiohttp's, with our connection server in front and our order of shutdown."""

from __future__ import annotations

import asyncio

from aiohttp import web

from predictor.http.handlers import IN_FLIGHT, MEMORY, SERVER
from predictor.http.server import HttpServer, Lane

LANE: web.AppKey[Lane] = web.AppKey("LANE")
_INSTANT = 0.001
"""Seconds; to aiohttp a time-out of 0 is none at all."""


class ServerRunner(web.AppRunner):
    """Serves one application; `predictor.http.server.HttpServer` makes its connections."""

    __slots__ = ("_connections", "_drain", "_drained", "_http", "_idle")

    def __init__(self, app: web.Application, *, idle: float, drain: float, connections: int = 0) -> None:
        """Take seconds that a connection may be silent, and that requests in flight get at the end.

        `connections` is how many there may be, 0 for as many as files and memory allow.
        """
        # By the time that aiohttp closes its connections nothing is in flight any more, or nobody waits for it.
        super().__init__(app, access_log=None, shutdown_timeout=_INSTANT)
        self._idle = idle
        self._connections = connections
        self._drain = drain
        self._drained = False
        self._http: HttpServer | None = None

    async def setup(self) -> None:
        """Start the application and make the server of connections."""
        await super().setup()
        server = super().server
        assert server is not None  # noqa: S101 - tells mypy: it was just made
        lane, memory = self.app.get(LANE), self.app[MEMORY]
        self._http = HttpServer(server, lane, memory, idle=self._idle, connections=self._connections)
        self.app[SERVER].append(self._http)

    @property
    def server(self) -> HttpServer | None:  # type: ignore[override] # stands where aiohttp's would
        """What sites and gunicorn's worker make connections with, and whose requests they count."""
        return self._http

    def leave(self) -> None:
        """Let each answer from now on end its connection; new connections are still taken."""
        if self._http:
            self._http.leave()

    async def cleanup(self) -> None:
        """Stop listening, answer who has connected, finish what is in flight; then end the application."""
        for site in self.sites:
            await site.stop()
        if self._http:
            loop = asyncio.get_running_loop()
            until = loop.time() + self._drain
            await self._http.answer_connected(self._drain)
            await self.shutdown()
            await self._http.drain(self.app[IN_FLIGHT].count, until - loop.time())
        await super().cleanup()
        self._http = None

    async def shutdown(self) -> None:
        """Call the application's shutdown hooks, once."""
        if not self._drained:
            self._drained = True
            await super().shutdown()
