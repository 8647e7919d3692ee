"""Stands between the servers and the Collector and answers as a Collector in trouble does.

What it lets through is the real Collector's, question and answer byte by byte.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from chaos.plan import Fault
from tests.support.ledger import records_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from chaos.judge import Number
    from tests.support.ledger import Record

TIMEOUT = 3.0
"""Seconds that the servers are set to wait for an answer."""

_SLOW = TIMEOUT / 2
_LATE = TIMEOUT + 1.0
_PATIENCE = 60.0  # s, for an answer of the Collector's, which may be stopped
_NO_LINGER = struct.pack("ii", 1, 0)
_UNREAD = {Fault.BUSY, Fault.UNAVAILABLE, Fault.ALL_REFUSED, Fault.CUT}
_HALF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"


class Gate:
    """What it does is decided by `fault`; None lets everything through."""

    def __init__(self, upstream: str) -> None:
        """Take the Collector's URL."""
        self.url = ""
        self.fault: Fault | None = None
        self.met: Counter[Fault] = Counter()
        self.passed = 0
        """Log requests to which the Collector's 200 went back."""
        self.refused: set[Number] = set()
        """What was answered 400, and is as long as it comes."""
        self._upstream = upstream
        self._highest: dict[str, int] = {}  # of each stream, what may have reached the Collector already
        self._choosing = False
        self._news = asyncio.Condition()

    async def until(self, fact: Callable[[], bool], seconds: float = _PATIENCE) -> None:
        """Wait until a fact holds; it is looked at after every request."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(fact)

    def begin(self, fault: Fault) -> None:
        """Be in trouble."""
        self.fault = fault
        self._choosing = fault is Fault.ONE_REFUSED

    def end(self) -> None:
        """Let everything through, but for the records that were refused once."""
        self.fault = None
        self._choosing = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._answer(request, await request.read())
        finally:
            async with self._news:
                self._news.notify_all()

    async def _answer(self, request: web.Request, body: bytes) -> web.StreamResponse:
        fault = self.fault
        records = list(records_of(json.loads(body))) if request.path == "/v1/logs" else []
        if self._choosing:
            self._choose(records)
        if any((record.stream, record.sequence) in self.refused for record in records):
            return web.json_response({"message": "one of these records cannot be stored"}, status=400)
        if fault and fault is not Fault.ONE_REFUSED:
            self.met[fault] += 1
        if fault and fault in _UNREAD:
            return _unread(request, fault)
        if fault is Fault.SLOW:
            await asyncio.sleep(_SLOW)
        for record in records:
            self._highest[record.stream] = max(record.sequence, self._highest.get(record.stream, 0))
        return await self._pass(request, body, fault, logs=bool(records))

    async def _pass(self, request: web.Request, body: bytes, fault: Fault | None, *, logs: bool) -> web.StreamResponse:
        try:
            status, answer = await self._forward(request, body)
        except (aiohttp.ClientError, TimeoutError):
            return _cut(request)  # a Collector that is gone answers nothing
        if fault is Fault.LATE:
            await asyncio.sleep(_LATE)
        if fault in {Fault.CUT_STORED, Fault.HALF}:
            return _cut(request, _HALF if fault is Fault.HALF else b"")
        self.passed += logs and status == 200 and fault is not Fault.LATE
        return web.Response(status=status, body=answer, content_type="application/json")

    def _choose(self, records: list[Record]) -> None:
        """Refuse the newest prediction from now on, if the Collector cannot have it already."""
        for record in reversed(records):
            new = record.sequence > self._highest.get(record.stream, 0)
            if new and record.attributes["event.name"] == "prediction":
                self.refused.add((record.stream, record.sequence))
                self.met[Fault.ONE_REFUSED] += 1
                self._choosing = False
                return

    async def _forward(self, request: web.Request, body: bytes) -> tuple[int, bytes]:
        async with self._session.post(
            self._upstream + request.path, data=body, headers={"Content-Type": request.content_type}
        ) as answer:
            return answer.status, await answer.read()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Gate]:
        """Listen on a free port of loopback."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE)) as self._session:
                yield self
        finally:
            await runner.cleanup()


def _unread(request: web.Request, fault: Fault) -> web.StreamResponse:
    if fault is Fault.CUT:
        return _cut(request)
    if fault is Fault.BUSY:
        return web.json_response({}, status=429, headers={"Retry-After": "1"})
    if fault is Fault.ALL_REFUSED:  # as a TLS listener does with plain HTTP
        return web.Response(status=400, text="Client sent an HTTP request to an HTTPS server.")
    return web.json_response({}, status=503)


def _cut(request: web.Request, beginning: bytes = b"") -> web.StreamResponse:
    """End the connection, with a reset if nothing was sent."""
    transport = request.transport
    if transport is None:  # whoever asked has gone already
        return web.Response()
    if beginning:
        transport.write(beginning)
        transport.close()
    else:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
    return web.Response()
