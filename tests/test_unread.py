"""Callers who take no answers: they hold neither a connection for ever nor the shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
from aiohttp import web_protocol
from caller import Caller
from server import message, predictions, serve, until

if TYPE_CHECKING:
    from pathlib import Path

    from server import Here

_BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'
WAYS = pytest.mark.parametrize(
    "asked",
    [message("POST", "/predict", _BODY), message("POST", "/predict", _BODY, Content_Type="Application/JSON")],
    ids=["express", "aiohttp"],
)


async def unread(here: Here, caller: Caller, asked: bytes) -> None:
    """Ask without reading until a request waits for its answer to be taken, or the connection has ended."""
    caller.reader._transport.pause_reading()  # type: ignore[attr-defined]
    await until(lambda: bool(here.server.connections))
    (connection,) = here.server.connections
    for transport, option in ((connection.transport, socket.SO_SNDBUF), (caller.writer.transport, socket.SO_RCVBUF)):
        assert transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 4096)  # full soon
    while connection.transport and not connection._paused:
        if not caller.writer.transport.get_write_buffer_size():
            caller.writer.write(asked * 20)
        await asyncio.sleep(0)


@WAYS
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="a time-out of Linux")
async def test_who_never_reads_is_cut_off(outbox: Path, asked: bytes) -> None:
    """Who takes no answer for PREDICTOR_IDLE loses the connection; what was asked is in the log."""
    async with serve(outbox, PREDICTOR_IDLE="300ms") as here, Caller(here.port) as caller:
        await unread(here, caller, asked)
        await until(lambda: here.server.connections == [])
    assert len(predictions(outbox)) > 100


@WAYS
async def test_a_shutdown_waits_once(outbox: Path, asked: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shutdown waits PREDICTOR_DRAIN for answers that nobody takes, and not a second time."""
    waits: list[float | None] = []

    def once(delay: float | None) -> asyncio.Timeout:
        waits.append(delay)
        return asyncio.timeout(delay if len(waits) == 1 else None)  # aiohttp's next one would never be over

    server = contextlib.AsyncExitStack()
    here = await server.enter_async_context(serve(outbox, PREDICTOR_DRAIN="50ms"))
    async with Caller(here.port) as caller:
        await unread(here, caller, asked)
        monkeypatch.setattr(web_protocol, "ceil_timeout", once)
        async with asyncio.timeout(20):
            await server.aclose()
    assert waits[0] == 0.05
