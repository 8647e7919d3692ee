"""The bodies on their way, what is read ahead and what nobody takes, of all connections together: they are bounded."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from typing import TYPE_CHECKING

import pytest

from predictor.http.handlers import MEMORY
from tests.http.test_unread import paused
from tests.support.gated_model import pipeline
from tests.support.raw_connection import Caller
from tests.support.server import ROW, message, predictions, problem, serve, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gated_model import Gate
    from tests.support.server import Here

BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'
LARGE = BODY.ljust(1_000_000)
JSON = {"Content-Type": "application/json"}
GZIP = JSON | {"Content-Encoding": "gzip"}
ROOM = {"PREDICTOR_BODY_BYTES": "1MB", "PREDICTOR_BUFFERED_BYTES": "2MB", "PREDICTOR_DRAIN": "0"}
"""For two of the large bodies."""
HELD = 900_000
"""Bytes of a body that does not come whole."""


def held(here: Here) -> int:
    """Return the bytes that the server holds for requests."""
    return here.app[MEMORY].used


def still_open(here: Here) -> int:
    """Return how many connections are open; aiohttp names one until its handler ends, too."""
    return sum(bool(each.transport) and not each.transport.is_closing() for each in here.server.connections)


def connected(here: Here) -> socket.socket:
    """Return a connection on which sending waits for nobody."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    caller.connect(("127.0.0.1", here.port))
    caller.settimeout(0)
    return caller


async def half(stack: contextlib.AsyncExitStack, here: Here) -> Caller:
    """Send most of a large body, and wait until it has come."""
    before = held(here)
    caller = await stack.enter_async_context(Caller(here.port))
    caller.writer.write(message("POST", "/predict", Content_Length=str(len(LARGE))) + LARGE[:HELD])
    await until(lambda: held(here) > before + HELD * 9 // 10)
    return caller


async def test_bodies_on_their_way(outbox: Path) -> None:
    """Where the bodies of all connections together hold too much, a large one is a 503, a small one is not."""
    async with contextlib.AsyncExitStack() as stack, serve(outbox, **ROOM) as here:
        halves = [await half(stack, here) for _ in range(2)]
        answer = await here.post("/predict", data=LARGE, headers=JSON)
        assert "PREDICTOR_BUFFERED_BYTES" in problem(answer, 503, "bodies-full")
        assert answer.headers["Retry-After"] == "1"
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
        assert (await here.post("/predict", data=BODY.ljust(60_000), headers=JSON)).status == 200
        assert (await halves[0].asks(LARGE[HELD:])).status == 200
        assert (await here.post("/predict", data=LARGE, headers=JSON)).status == 200
        halves[1].writer.transport.abort()
        await until(lambda: held(here) == 0)
    words = [p.get("error.type") for p in predictions(outbox)]
    assert words == ["bodies-full", None, None, None, None, "bad-request"]


async def test_chunked_bodies_on_their_way(outbox: Path) -> None:
    """A body in chunks, which declares no size, counts as it comes."""
    async with contextlib.AsyncExitStack() as stack, serve(outbox, **ROOM) as here:
        for _ in range(2):
            await half(stack, here)
        caller = await stack.enter_async_context(Caller(here.port))
        head = message(
            "POST", "/predict", Transfer_Encoding="chunked", Content_Length=None, Content_Type=JSON["Content-Type"]
        )
        answer = await caller.asks(head + b"%x\r\n%b\r\n" % (len(LARGE), LARGE))
        problem(answer, 503, "bodies-full")


async def test_what_is_made_of_a_compressed_body(outbox: Path, gate: Gate) -> None:
    """What a small compressed body becomes is held until its answer, too, and bounded in sum."""
    compressed = gzip.compress(LARGE)
    assert len(compressed) < 5_000
    async with serve(outbox, PREDICTOR_THREADS="1", **ROOM) as here, asyncio.TaskGroup() as group:
        pipeline(here, gate)
        first = [group.create_task(here.post("/predict", data=compressed, headers=GZIP)) for _ in range(2)]
        await until(lambda: held(here) > 2 * HELD and bool(gate.batches))
        problem(await here.post("/predict", data=compressed, headers=GZIP), 503, "bodies-full")
        assert (await asyncio.gather(group.create_task(here.get("/livez"))))[0].status == 200
        gate.open()
        assert [(await each).status for each in first] == [200, 200]
        await until(lambda: held(here) == 0)
        assert (await here.post("/predict", data=compressed, headers=GZIP)).status == 200
        assert held(here) == 0


async def test_what_is_made_of_rows(outbox: Path, gate: Gate) -> None:
    """Rows that wait count by what their values hold, which may be many times their body."""
    body = b'{"data":[%b]}' % b",".join([b"[1,2,3,4]".ljust(20)] * 4000)
    settings = ROOM | {"PREDICTOR_BATCH_ROWS": "4096", "PREDICTOR_THREADS": "1"}
    async with serve(outbox, **settings) as here, asyncio.TaskGroup() as group:
        pipeline(here, gate)
        answer = group.create_task(here.post("/predict/batch", data=body, headers=JSON))
        await until(lambda: bool(gate.batches))
        assert held(here) > 5 * len(body)
        gate.open()
        assert (await answer).status == 200
        assert held(here) == 0


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (LARGE, JSON, 200),
        (LARGE[:-1], JSON, 200),
        (b"x" + LARGE[1:], JSON, 400),
        (b'{"data":[[1,2,3]]}'.ljust(1_000_000), JSON, 422),
        (LARGE + b" ", JSON, 413),
        (gzip.compress(LARGE), GZIP, 200),
        (gzip.compress(LARGE + b" "), GZIP, 413),
        (gzip.compress(LARGE)[:-5], GZIP, 400),
    ],
)
async def test_nothing_is_held_behind_an_answer(
    outbox: Path, body: bytes, headers: dict[str, str], status: int
) -> None:
    """Whatever becomes of a large body, what it held is free again with its answer."""
    async with serve(outbox, **ROOM) as here:
        for _ in range(3):
            assert (await here.post("/predict", data=body, headers=headers)).status == status
            assert held(here) == 0


async def test_a_body_that_is_not_read_is_not_kept(outbox: Path) -> None:
    """A call that reads no body keeps nothing of one, however long it is."""
    size = 50_000_000
    async with serve(outbox, **ROOM) as here, Caller(here.port) as caller:
        caller.writer.write(message("GET", "/predict/test", Content_Length=str(size)))
        assert (await caller.answer()).status == 200
        assert held(here) == 0


async def test_what_is_read_ahead(outbox: Path, gate: Gate) -> None:
    """Requests that are sent ahead of their turn count, and where there is no room for them the connection ends."""
    ahead = message("GET", "/livez", X_Long="x" * 4000) * 60
    settings = ROOM | {"PREDICTOR_BODY_BYTES": "100kB", "PREDICTOR_BUFFERED_BYTES": "500kB"}
    async with contextlib.AsyncExitStack() as stack, serve(outbox, PREDICTOR_THREADS="1", **settings) as here:
        pipeline(here, gate)
        callers = [stack.enter_context(connected(here)) for _ in range(6)]
        for caller in callers:
            caller.send(message("POST", "/predict", BODY, Content_Type="application/json"))
        await until(lambda: len(here.server.connections) == len(callers) and bool(gate.batches))
        for connection in here.server.connections:
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        for caller in callers:  # all of it is in the kernel before the server reads any
            assert caller.send(ahead) == len(ahead)
        await until(lambda: 0 < still_open(here) < len(callers))
        assert 0 < held(here) <= 500_000
        gate.open()
        await until(lambda: held(here) == 0)
        assert (await here.get("/livez")).status == 200


async def test_answers_that_nobody_takes(outbox: Path) -> None:
    """Answers that callers do not take count as bodies do, and where there is no room for them the connection ends."""
    rows = b'{"data":[%b]}' % b",".join([b"[1,2,3,4]"] * 4096)
    asked = message("POST", "/predict/batch", rows, Content_Type="application/json")
    settings = {
        "PREDICTOR_BATCH_ROWS": "4096",
        "PREDICTOR_BODY_BYTES": "100kB",
        "PREDICTOR_BUFFERED_BYTES": "600kB",
        "PREDICTOR_DRAIN": "0",
    }
    async with contextlib.AsyncExitStack() as stack, serve(outbox, **settings) as here:
        for _ in range(3):
            caller = stack.enter_context(connected(here))
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            before = {*here.server.connections}
            assert caller.send(asked) == len(asked)
            await until(lambda before=before: len({*here.server.connections} - before) > 0)  # type: ignore[misc]
            (connection,) = {*here.server.connections} - before
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await until(lambda each=connection: paused(each) or each not in here.server.connections)  # type: ignore[misc]
        await until(lambda: 0 < still_open(here) < 3)
        assert 0 < held(here) <= 600_000
    await until(lambda: held(here) == 0)
