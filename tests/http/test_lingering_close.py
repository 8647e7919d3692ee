"""Who is refused while still sending reads why: the connection is not reset under the answer."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from predictor.http import lingering_close
from predictor.server import app
from tests.support.server import answers, message, problem, records, serve, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.server import Here

MANY = 8_000_000
"""Bytes: more than the kernel takes for a server that does not read."""
HEADERS = message("GET", "/livez").removesuffix(b"\r\n") + b"".join(
    b"X-%d: %b\r\n" % (n, b"x" * 8000) for n in range(1000)
)


def send_all(port: int, sent: bytes) -> bytes:
    """Send everything, then read everything; raises OSError if the connection is reset meanwhile."""
    with socket.create_connection(("127.0.0.1", port), 20) as caller:
        caller.sendall(sent)
        parts = []
        while part := caller.recv(1 << 16):
            parts.append(part)
        return b"".join(parts)


async def send_for_ever(writer: asyncio.StreamWriter) -> None:
    """Send until the connection ends."""
    async with asyncio.timeout(20):
        while True:
            writer.write(b"x" * 1000)
            await writer.drain()
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("sent", "status", "word"),
    [
        (HEADERS, 431, "headers-too-large"),
        (b"GET /" + b"x" * MANY, 414, "uri-too-long"),
        (b"\0" * MANY, 400, "bad-request"),
        (
            message("POST", "/predict", Content_Length=str(MANY), Connection="close") + b"x" * MANY,
            413,
            "content-too-large",
        ),
        (
            message("POST", "/predict", Content_Length=str(MANY), Version="x", Transfer_Encoding="") + b"x" * MANY,
            400,
            "bad-request",
        ),
    ],
    ids=["headers", "path", "garbage", "body", "coding"],
)
async def test_a_caller_who_still_sends(here: Here, sent: bytes, status: int, word: str) -> None:
    """A caller who sends all of what is too much, and reads only then, has the answer."""
    (answer,) = answers(await asyncio.to_thread(send_all, here.port, sent))
    problem(answer, status, word)


async def test_a_caller_who_never_ends(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind a refusal is dropped for a while, and then the connection is cut off."""
    monkeypatch.setattr(lingering_close, "LINGER", 0.1)
    async with serve(outbox) as here:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(HEADERS)
        with pytest.raises(ConnectionError):
            await send_for_ever(writer)
        writer.transport.abort()
        await until(lambda: not here.server.connections)
    assert len(records(outbox)) == 2


def send_the_rest(port: int, first: bytes, rest: Sequence[bytes]) -> bytes:
    """Send a request's beginning, the rest of it once the answer has come, and read then; raises OSError if reset."""
    with socket.create_connection(("127.0.0.1", port), 60) as caller:
        caller.sendall(first)
        assert caller.recv(1, socket.MSG_PEEK)
        for part in rest:
            caller.sendall(part)
        parts = []
        while part := caller.recv(1 << 16):
            parts.append(part)
        return b"".join(parts)


async def test_a_caller_who_still_sends_at_the_end(here: Here) -> None:
    """While the server ends, too, a caller who is refused before all of its body has come may send the rest first."""
    here.server.leave()
    here.app[app.MODELS].drain()
    parts = [b"x" * 10_000] * 6
    sent = message("POST", "/predict", parts[0], Content_Length="60000", Content_Type="application/json")
    (answer,) = answers(await asyncio.to_thread(send_the_rest, here.port, sent, parts[1:]))
    problem(answer, 503, "draining")
    assert answer.headers["Connection"] == "close"
    await until(lambda: not here.server.connections)
