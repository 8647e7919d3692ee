"""A pod of 512 MiB, as a control group of the kernel's: whatever callers send, it is not killed for its memory."""

from __future__ import annotations

import contextlib
import gzip
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.memory_group import memory_group
from tests.support.raw_connection import Caller
from tests.support.server import Server, message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.memory_group import MemoryGroup

POD = 512 << 20
BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'
ORDINARY = message("POST", "/predict", BODY)
MIB = 1 << 20
HEADS = 275
HEAD = message("POST", "/predict").removesuffix(b"\r\n") + b"".join(
    b"X-%d: %b\r\n" % (n, b"x" * 8000) for n in range(125)
)
BOMB = message("POST", "/predict", gzip.compress(BODY.ljust(MIB)), Content_Encoding="gzip")
BODIES = 450


@pytest.fixture
def pod() -> Iterator[MemoryGroup]:
    """Return a control group of a pod's memory."""
    with memory_group(POD) as group:
        yield group


def unfinished(kind: str) -> bytes:
    """Return what begins a request that needs much memory and never ends."""
    if kind == "heads":
        return HEAD
    if kind == "bodies":
        return message("POST", "/predict", Content_Length=str(MIB)) + BODY.ljust(MIB - 1)
    chunk = BODY.ljust(MIB - 1)
    head = message("POST", "/predict", Transfer_Encoding="chunked", Content_Length=None)
    return head + b"%x\r\n%b" % (len(chunk), chunk)


@pytest.mark.parametrize("lane", ["on", "off"])
@pytest.mark.parametrize(("kind", "number"), [("heads", HEADS), ("bodies", BODIES), ("chunks", BODIES)])
async def test_requests_that_never_end(pod: MemoryGroup, outbox: Path, kind: str, number: int, lane: str) -> None:
    """Hundreds of connections with all that is taken of a request that never ends kill no pod and lock nobody out."""
    sent = unfinished(kind)
    settings = {
        "PREDICTOR_FAST_LANE": lane,
        "PREDICTOR_IDLE": "10m",
        "PREDICTOR_DEADLINE": "10m",
        "PREDICTOR_DRAIN": "0",
    }
    with contextlib.ExitStack() as stack, Server(outbox, command=pod.command(), **settings) as server:
        for _ in range(number):
            caller = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            with contextlib.suppress(ConnectionError, TimeoutError):
                caller.sendall(sent)
        async with Caller(server.port) as good:
            assert (await good.asks(ORDINARY)).status == 200
        assert server.process.poll() is None
    assert server.process.returncode == 0
    assert pod.peak() < POD * 9 // 10


async def test_compressed_bodies(pod: MemoryGroup, outbox: Path) -> None:
    """Hundreds of connections whose small bodies become large ones at once kill no pod, and each has its answer."""
    with contextlib.ExitStack() as stack, Server(outbox, command=pod.command()) as server:
        callers = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 60)) for _ in range(BODIES)]
        for caller in callers:
            caller.sendall(BOMB)
        seen = {caller.recv(15) for caller in callers}
    assert seen <= {b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Se"}
    assert server.process.returncode == 0
    assert pod.peak() < POD * 9 // 10
