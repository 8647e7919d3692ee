"""Where Prometheus scrapes this process: `GET /metrics` on a port of its own, made by OpenTelemetry's exporter.

What is answered is made in a thread that serves nothing else. The age of the backlog is read from the disk, and a disk
that does not answer must neither hold the loop nor take the threads that the log needs.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from predictor.config.otel_prometheus import HOST, PORT
from predictor.core import thread_pools
from predictor.http.listener import Listener
from predictor.http.responses import name_server

if TYPE_CHECKING:
    from predictor.config.otel_prometheus import ScrapeAddress
    from predictor.http.listener import Place

_LONGEST = 10.0
"""Seconds for one answer; as long as Prometheus waits by default."""
_LAST_ANSWERS = 1.0
"""Seconds for answers under way at the end."""


class ScrapePort:
    """Answers scrapes from `open` to `close`, also while the server drains."""

    def __init__(self) -> None:
        """Have nothing to tell until a meter provider has the reader."""
        self._registry = CollectorRegistry()
        self.reader = PrometheusMetricReader(registry=self._registry)
        self._listener = Listener()
        self._under_way: dict[str, asyncio.Future[bytes]] = {}
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.on_response_prepare.append(name_server)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_LAST_ANSWERS)

    async def open(self, address: ScrapeAddress) -> None:
        """Listen; raises OSError with a sentence."""
        self._pool = thread_pools.pool(1, "metrics")
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101 - tells mypy: it was just made
        try:
            self.place: Place = await self._listener.open(server, address.host, address.port)
        except (OSError, UnicodeError) as error:  # the latter: no host name at all
            await self.close()
            code = (isinstance(error, OSError) and error.errno) or 0
            reason = os.strerror(code) if code > 0 else (isinstance(error, OSError) and error.strerror) or str(error)
            msg = f"cannot listen on {address.host} port {address.port} for metrics ({HOST}, {PORT}): {reason}"
            raise OSError(code, msg) from error

    async def close(self) -> None:
        """Answer no more."""
        await self._listener.close()
        await self._runner.cleanup()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # One at a time of each form: scrapes that come while the disk does not answer must not queue up.
        making = self._under_way.get(content_type)
        if making is None:
            making = asyncio.get_running_loop().run_in_executor(self._pool, encode, self._registry)
            self._under_way[content_type] = making
            making.add_done_callback(partial(self._made, content_type))
        try:
            async with asyncio.timeout(_LONGEST):
                body = await asyncio.shield(making)
        except TimeoutError:
            return web.Response(status=503, text="the metrics cannot be read in time\n")
        return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    def _made(self, content_type: str, made: asyncio.Future[bytes]) -> None:
        del self._under_way[content_type]
        if not made.cancelled():
            made.exception()  # if nobody waits any more
