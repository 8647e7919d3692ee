"""Callers who take no answers: they hold neither a connection for ever nor the shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from predictor.http.fast_lane import LaneConnection
from tests.support.raw_connection import Caller
from tests.support.server import message, predictions, serve, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Here

_BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'
_ASK = message("POST", "/predict", _BODY)


def paused(connection: Any) -> bool:  # noqa: ANN401 - of either door
    """Tell whether a connection waits until answers are taken."""
    return bool(connection.paused if isinstance(connection, LaneConnection) else connection._paused)


async def unread(here: Here, caller: Caller) -> None:
    """Ask without reading until a request waits for its answer to be taken, or the connection has ended."""
    caller.reader._transport.pause_reading()  # type: ignore[attr-defined]
    await until(lambda: bool(here.server.connections))
    (connection,) = here.server.connections
    for transport, option in ((connection.transport, socket.SO_SNDBUF), (caller.writer.transport, socket.SO_RCVBUF)):
        assert transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 4096)  # full soon
    while connection.transport and not paused(connection):
        if not caller.writer.transport.get_write_buffer_size():
            caller.writer.write(_ASK * 20)
        await asyncio.sleep(0)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="a time-out of Linux")
async def test_who_never_reads_is_cut_off(outbox: Path) -> None:
    """Who takes no answer for PREDICTOR_IDLE loses the connection; what was asked is in the log."""
    async with serve(outbox, PREDICTOR_IDLE="300ms") as here, Caller(here.port) as caller:
        await unread(here, caller)
        await until(lambda: here.server.connections == [])
    assert len(predictions(outbox)) > 100


async def test_a_shutdown_waits_once(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shutdown waits PREDICTOR_DRAIN for answers that nobody takes, and not a second time."""
    server = contextlib.AsyncExitStack()
    here = await server.enter_async_context(serve(outbox, PREDICTOR_DRAIN="1h"))
    looks = 0

    class Hasty:
        """A clock on which the hour is over after sixty looks."""

        def time(self) -> float:
            nonlocal looks
            looks += 1
            return 60.0 * looks

    async with Caller(here.port) as caller:
        await unread(here, caller)
        monkeypatch.setattr(here.server, "_loop", Hasty())
        async with asyncio.timeout(20):  # another hour would not be over
            await server.aclose()
    assert looks >= 60
