"""Bodies of more than 64 KiB: the fast lane takes them as aiohttp does, and decodes them while others are answered."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor.api.pattern.predict import PatternCodec
from predictor.core.memory_budget import MemoryBudget
from predictor.http import fast_lane
from predictor.http.handlers import MEMORY
from predictor.http.incoming_body import IncomingBody
from predictor.http.limits import FREE_BYTES
from predictor.server import app
from tests.http.test_fast_lane import DOORS, logged, seen
from tests.support.inference_protocol import LENGTH, binary_body, outputs
from tests.support.raw_connection import Caller
from tests.support.server import message, predictions, problem, serve, until

if TYPE_CHECKING:
    from pathlib import Path

    from predictor.api.slices import Slices
    from tests.support.server import Answer, Here

ROOM = {"PREDICTOR_BODY_BYTES": "1MB", "PREDICTOR_BUFFERED_BYTES": "2MB", "PREDICTOR_BATCH_ROWS": "4096"}
ROW = b'{"data":[[6.7,3.0,5.2,2.3]]}'
LARGE = ROW.ljust(300_000)
ROWS = b'{"data":[%b]}' % b",".join([b"[6.7,3.0,5.2,2.3]".ljust(40)] * 2000)
V1 = b'{"instances":' + ROWS.removeprefix(b'{"data":')
V2 = b'{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[%b]}]}'
TENSOR = np.tile(np.array([[6.7, 3.0, 5.2, 2.3]], np.float32), (4096, 1))
INFER = "/v2/models/iris/infer"
PREDICT_V1 = "/v1/models/iris:predict"
DOOR = pytest.mark.parametrize("door", ["lane", "aiohttp"], indirect=True)


def ask(body: bytes = LARGE, path: str = "/predict") -> bytes:
    """Return a request of JSON."""
    return message("POST", path, body, Content_Type="application/json")


def infer(**more: str) -> bytes:
    """Return a request with a large tensor behind its JSON."""
    body, headers = binary_body({"features": TENSOR}, parameters={"binary_data_output": True}, **more)
    return message("POST", INFER, body, Inference_Header_Content_Length=headers[LENGTH])


SMALL = ask(ROW)


def held(here: Here) -> int:
    """Return the bytes that the server holds for requests."""
    return here.app[MEMORY].used


def version(here: Here) -> Any:  # noqa: ANN401 - its inside
    """Return the version that is served."""
    return here.app[app.MODELS].catalog.meant()


class Decoding:
    """Holds up the decoding of large bodies of the calls below /predict until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hold up what begins from now on."""
        self.turns = 0
        self.goes_on = False
        decode = PatternCodec.decode_in_slices

        def held_up(codec: PatternCodec, *more: Any) -> Slices[Any]:  # noqa: ANN401 - handed on
            while not self.goes_on:
                self.turns += 1
                yield
            return (yield from decode(codec, *more))

        monkeypatch.setattr(PatternCodec, "decode_in_slices", held_up)


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> Decoding:
    """Return what holds up the decoding of large bodies."""
    return Decoding(monkeypatch)


def comparable(answer: Answer) -> Any:  # noqa: ANN401 - to be compared
    """Return what must be equal of an answer: all but its ids."""
    if LENGTH in answer.headers:
        return {name: part.tobytes() for name, part in outputs(answer).items()}
    return str(seen(answer)).replace(answer.headers.get("X-Job-Id", "no job"), "")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (ask(), 200),
        (ask(ROWS, "/predict/batch"), 200),
        (ask(LARGE.replace(b"6.7", b"x67")), 400),
        (ask(ROWS), 422),
        (ask(ROWS[:-20] + b",[1,2,3]]}", "/predict/batch"), 422),
        (ask(ROWS.replace(b"6.7", b"1e39"), "/predict/batch"), 422),
        (ask(b'{"data":[%b]}' % b",".join([b"[1,2,3,4]"] * 9000), "/predict/batch"), 413),
        (ask(LARGE.ljust(1_000_001)), 413),
        (ask(V1, PREDICT_V1), 200),
        (ask((V2 % b"6.7,3.0,5.2,2.3").ljust(99_999), INFER), 200),
        (ask((V2 % b"6.7,3.0").ljust(99_999), INFER), 400),
        (infer(), 200),
        (infer(id="mine"), 200),
        (infer().replace(b'"FP32"', b'"FP64"'), 400),
    ],
    ids=[
        *("row", "rows", "json", "many", "short", "infinite", "too-many", "limit"),
        *("v1", "v2", "v2-size", "binary", "binary-id", "binary-type"),
    ],
)
async def test_both_doors_are_equal(outbox: Path, sent: bytes, status: int) -> None:
    """Whatever a large body is, status, headers, body and records are the same by either way, and nothing is held."""
    results = []
    for door, setting in DOORS.items():
        place = outbox.with_name(door)
        async with serve(place, **ROOM, **setting) as here, Caller(here.port) as caller:
            for at in range(0, len(sent), 50_000):
                caller.writer.write(sent[at : at + 50_000])
                await asyncio.sleep(0.002)  # packets of their own
            answer = await caller.answer()
            assert here.server.answered_by_lane == (door == "lane" and len(sent) < 1_000_000)
            assert (await caller.asks(SMALL)).status == 200
            assert held(here) == 0
        results.append((answer.status, comparable(answer), logged(place)))
    assert results[0] == results[1]
    assert results[0][0] == status


@pytest.mark.parametrize("cut", [1, 200, 65_000, 66_000, 299_999, 350_000])
async def test_a_large_body_between_others(outbox: Path, cut: int) -> None:
    """Requests around a large body, in packets that end anywhere, are answered in their order by the lane."""
    sent = SMALL + ask() + SMALL + ask(b"x" * 100_000) + SMALL
    async with serve(outbox, **ROOM) as here, Caller(here.port) as caller:
        for part in (sent[:cut], sent[cut:]):
            caller.writer.write(part)
            await asyncio.sleep(0.002)
        assert [(await caller.answer()).status for _ in range(5)] == [200, 200, 200, 400, 200]
        assert here.server.answered_by_lane == 5
        assert held(here) == 0
    assert len(predictions(outbox)) == 5


@DOOR
async def test_others_are_answered_while_a_body_is_decoded(outbox: Path, decoding: Decoding) -> None:
    """While a large body is decoded others have their answers, and what its caller sends behind it waits."""
    async with serve(outbox, PREDICTOR_IDLE="200ms", **ROOM) as here, Caller(here.port) as caller:
        caller.writer.write(ask() + SMALL)
        await until(lambda: decoding.turns > 0)
        async with Caller(here.port) as other:
            assert (await other.asks(SMALL)).status == 200
        assert held(here) >= len(LARGE) - FREE_BYTES
        await asyncio.sleep(0.5)  # who waits for it is not silent
        decoding.goes_on = True
        assert [(await caller.answer()).status for _ in range(2)] == [200, 200]
    assert len(predictions(outbox)) == 3


@DOOR
async def test_a_caller_who_leaves_while_its_body_is_decoded(outbox: Path, decoding: Decoding) -> None:
    """A caller who has gone while its body is decoded has its record, by the version that is held until then."""
    async with serve(outbox, **ROOM) as here:
        async with Caller(here.port) as caller:
            caller.writer.write(ask())
            await until(lambda: decoding.turns > 0)
        turns = decoding.turns
        await until(lambda: decoding.turns > turns + 10)
        assert version(here).held == 1
        decoding.goes_on = True
        await until(lambda: bool(predictions(outbox)) and not here.server.connections)
        assert version(here).held == 0
        assert held(here) == 0
    assert [p.get("error.type") for p in predictions(outbox)] == [None]


async def test_a_server_that_ends_while_a_body_is_decoded(outbox: Path, decoding: Decoding) -> None:
    """What is still being decoded when PREDICTOR_DRAIN is over is recorded as refused, and decoded no further."""
    server = contextlib.AsyncExitStack()
    here = await server.enter_async_context(serve(outbox, PREDICTOR_DRAIN="50ms", **ROOM))
    served = version(here)
    async with Caller(here.port) as caller:
        caller.writer.write(ask())
        await until(lambda: decoding.turns > 0)
        await server.aclose()
        assert await caller.end() == b""
    turns = decoding.turns
    for _ in range(10):
        await asyncio.sleep(0)
    assert decoding.turns == turns
    assert served.held == 0
    assert [p["error.type"] for p in predictions(outbox)] == ["draining"]


@DOOR
async def test_a_decoding_that_fails(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of our own while a large body is decoded is answered as one, and the connection goes on."""

    def fail(*_: object) -> Slices[None]:
        yield
        raise ZeroDivisionError

    monkeypatch.setattr(PatternCodec, "decode_in_slices", fail)
    async with serve(outbox, **ROOM) as here, Caller(here.port) as caller:
        problem(await caller.asks(ask()), 500, "internal-error")
        assert (await caller.asks(SMALL)).status == 200
        assert held(here) == 0
        assert version(here).held == 0


@pytest.mark.parametrize(("room", "linger"), [(100_000, 60.0), (len(LARGE) - 1, 0.0)], ids=["rest", "whole"])
async def test_a_body_without_room(outbox: Path, monkeypatch: pytest.MonkeyPatch, room: int, linger: float) -> None:
    """A large body for which there is no room is a 503; its rest, if any, is dropped, and the connection goes on."""
    monkeypatch.setattr(fast_lane, "LINGER", linger)
    async with serve(outbox, **ROOM) as here, Caller(here.port) as caller:
        memory = here.app[MEMORY]
        taken = memory.most - (room - FREE_BYTES)
        assert memory.take(taken)
        assert "PREDICTOR_BUFFERED_BYTES" in problem(await caller.asks(ask()), 503, "bodies-full")
        memory.give(taken)
        assert held(here) == 0
        assert [(await caller.asks(sent)).status for sent in (SMALL, ask())] == [200, 200]
        assert here.server.answered_by_lane == 3


async def test_a_body_that_nobody_reads_is_not_awaited(outbox: Path) -> None:
    """A call without a body is answered before the large one that it is sent has come."""
    async with serve(outbox, PREDICTOR_DRAIN="0", **ROOM) as here, Caller(here.port) as caller:
        caller.writer.write(message("GET", "/predict/test", Content_Length="100000"))
        assert (await caller.answer()).status == 200


@pytest.mark.parametrize("size", [1, 2, 100, 4095, 4096, 5000])
def test_small_parts_hold_hardly_more_than_their_bytes(size: int) -> None:
    """A body that comes in tiny packets holds hardly more memory than its bytes, and is joined as it came."""
    body = IncomingBody(MemoryBudget(1 << 20).share())
    whole = bytes(number % 251 for number in range(200_000))
    for at in range(0, len(whole), size):
        body.add(whole[at : at + size])
    assert sum(map(sys.getsizeof, body._parts)) + sys.getsizeof(body._parts) < len(whole) * 5 // 4
    assert body.take() == whole
    assert body._parts == []
