"""One connection to a server, spoken to in bytes: what no HTTP client would send, or would hide."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tests.support.server import Answer, answers

if TYPE_CHECKING:
    from typing import Self

_PATIENCE = 60.0  # s; the machine may be busy


class Caller:
    """One connection to a server, as bytes; a context manager that drops it in the end."""

    def __init__(self, port: int) -> None:
        """Take where to connect to."""
        self._port = port

    async def __aenter__(self) -> Self:
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drop the connection."""
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def asks(self, sent: bytes) -> Answer:
        """Send a request and return the next answer."""
        self.writer.write(sent)
        return await self.answer()

    async def answer(self) -> Answer:
        """Return the next answer."""
        async with asyncio.timeout(_PATIENCE):
            (answer,) = answers(await self.reader.readuntil(b"\r\n\r\n"))
            length = int(answer.headers.get("Content-Length", 0))  # 100 Continue has none
            return Answer(answer.status, answer.headers, await self.reader.readexactly(length))

    async def end(self) -> bytes:
        """Return what comes until the server closes the connection."""
        async with asyncio.timeout(_PATIENCE):
            return await self.reader.read()
