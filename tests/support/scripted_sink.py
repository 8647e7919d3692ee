"""A real OTLP/HTTP sink on loopback whose every answer a test scripts."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping

_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Request:
    """What arrived: the path, the headers, the body as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def parsed(self) -> Any:  # noqa: ANN401 - parsed JSON
        """The body parsed; None if it is no JSON."""
        return _parsed(self.body)

    @property
    def sequences(self) -> list[int]:
        """The stream numbers of the log records in it, in order."""
        return sequences(self.parsed)


@dataclass(frozen=True)
class Answer:
    """What to answer: status, body, headers; or to wait, to stay silent, to reset the connection, to send half."""

    status: int = 200
    body: bytes = b'{"partialSuccess":{}}'
    headers: Mapping[str, str] = field(default_factory=dict)
    waits_for: asyncio.Event | None = None
    silent: bool = False
    reset: bool = False
    half: bool = False


OK = Answer()


class Sink:
    """Keeps what arrived; `script` decides over each request, and what it answers with `OK` counts as stored."""

    def __init__(self) -> None:
        """Accept everything until told otherwise."""
        self.url = ""
        self.requests: list[Request] = []
        self.accepted: list[Request] = []
        self.script: Callable[[Request], Answer] = lambda _: OK
        self._news = asyncio.Condition()

    def answers(self, *answers: Answer) -> None:
        """Give these answers in turn, then accept."""
        left = list(answers)
        self.script = lambda _: left.pop(0) if left else OK

    @property
    def sequences(self) -> list[int]:
        """The stream numbers of all accepted log records, in order of arrival, copies included."""
        return [number for request in self.accepted for number in request.sequences]

    async def until(self, fact: Callable[[], bool], seconds: float = 120.0) -> None:
        """Wait until `fact` holds; it is looked at after every request that was judged."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(fact)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request as the script says."""
        body = await request.read()
        received = Request(request.path, dict(request.headers), body)
        self.requests.append(received)
        answer = self.script(received)
        if _accepts(answer):
            self.accepted.append(received)
        async with self._news:
            self._news.notify_all()
        if answer.waits_for:
            await answer.waits_for.wait()
        if answer.silent:
            await asyncio.Event().wait()  # ended by the handler's cancellation
        if answer.reset or answer.half:
            _cut(request, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{" if answer.half else b"")
        headers = {"Content-Type": "application/json"} | dict(answer.headers)
        return web.Response(status=answer.status, body=answer.body, headers=headers)


@asynccontextmanager
async def serve(*, context: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Sink]:
    """Run a sink on a port of loopback, a free one by default; `url` is its base."""
    sink = Sink()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", sink.handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    sink.url = f"{'https' if context else 'http'}://127.0.0.1:{port}"
    try:
        yield sink
    finally:
        await runner.cleanup()


def sequences(data: Any) -> list[int]:  # noqa: ANN401 - parsed JSON
    """Return the stream numbers of the log records in a parsed LogsData object."""
    return [
        int(attribute["value"]["intValue"])
        for resource in data["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
        for attribute in record["attributes"]
        if attribute["key"] == "prediction.stream.sequence"
    ]


def _parsed(body: bytes) -> Any:  # noqa: ANN401 - parsed JSON
    try:
        return json.loads(body)
    except ValueError:
        return None


def _accepts(answer: Answer) -> bool:
    """Tell whether an answer acknowledges, by the letter of OTLP/HTTP and not by the server's own code."""
    if answer.status != 200 or answer.silent or answer.reset or answer.half:
        return False
    said = _parsed(answer.body or b"{}")
    partial = said.get("partialSuccess") or {} if isinstance(said, dict) else {"rejectedSpans": "?"}
    return all(str(partial.get(name, 0)) == "0" for name in ("rejectedLogRecords", "rejectedSpans"))


def _cut(request: web.Request, beginning: bytes) -> None:
    """Send `beginning` and end the connection: with a reset if nothing was sent."""
    transport = request.transport
    assert transport is not None
    if beginning:
        transport.write(beginning)
        transport.close()
    else:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
