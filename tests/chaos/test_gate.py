"""The gate of `make chaos` does to the servers what a Collector in trouble does, and says what it did."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from chaos import gate as gates
from chaos.gate import Gate
from chaos.plan import Fault
from tests.support.log_files import Stream, line
from tests.support.scripted_sink import Sink, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

UNREAD = {Fault.BUSY: 429, Fault.UNAVAILABLE: 503, Fault.ALL_REFUSED: 400, Fault.CUT: None}
STORED = [Fault.CUT_STORED, Fault.HALF]


@asynccontextmanager
async def way() -> AsyncIterator[tuple[Gate, Sink]]:
    """Open a gate before a sink in the Collector's place."""
    async with serve() as sink, Gate(sink.url).open() as gate:
        yield gate, sink


async def send(gate: Gate, body: bytes, path: str = "/v1/logs") -> int | None:
    """Send a request; return its status, None if there was no whole answer."""
    headers = {"Content-Type": "application/json"}
    try:
        async with aiohttp.ClientSession() as session, session.post(gate.url + path, data=body, headers=headers) as got:
            await got.read()
            return got.status
    except aiohttp.ClientError:
        return None


def some(stream: Stream, count: int) -> bytes:
    """Return a line with the next predictions of a stream."""
    return line(stream.id, stream.predictions(count))


async def test_lets_through_what_it_got() -> None:
    """Without a fault both directions pass as they are."""
    async with way() as (gate, sink):
        body = some(Stream(), 3)
        assert await send(gate, body) == 200
        assert [(got.path, got.body) for got in sink.requests] == [("/v1/logs", body)]
        assert gate.passed == 1


@pytest.mark.parametrize("fault", UNREAD, ids=lambda fault: fault.name)
async def test_trouble_before_it_is_read(fault: Fault) -> None:
    """Refused or cut unread: the Collector gets nothing until the fault is over."""
    async with way() as (gate, sink):
        gate.begin(fault)
        body = some(Stream(), 1)
        assert await send(gate, body) == UNREAD[fault]
        assert sink.requests == []
        assert (gate.met[fault], gate.passed) == (1, 0)
        gate.end()
        assert await send(gate, body) == 200


@pytest.mark.parametrize("fault", STORED, ids=lambda fault: fault.name)
async def test_trouble_after_it_is_stored(fault: Fault) -> None:
    """The Collector has it, and whoever sent it has no answer."""
    async with way() as (gate, sink):
        gate.begin(fault)
        assert await send(gate, some(Stream(), 1)) is None
        assert len(sink.accepted) == 1
        assert (gate.met[fault], gate.passed) == (1, 0)


@pytest.mark.parametrize(("fault", "passed"), [(Fault.SLOW, 1), (Fault.LATE, 0)], ids=["slow", "late"])
async def test_slow_answers(monkeypatch: pytest.MonkeyPatch, fault: Fault, passed: int) -> None:
    """A slow answer comes before the server's patience ends, a late one after it; the Collector has both."""
    assert gates._SLOW < gates.TIMEOUT < gates._LATE
    monkeypatch.setattr(gates, f"_{fault.name}", 0.0)
    async with way() as (gate, sink):
        gate.begin(fault)
        assert await send(gate, some(Stream(), 1)) == 200
        assert len(sink.accepted) == 1
        assert (gate.met[fault], gate.passed) == (1, passed)


async def test_one_record_is_refused_for_ever() -> None:
    """Of what comes next the newest prediction is refused, alone or among others, also when the fault is over."""
    async with way() as (gate, sink):
        stream = Stream()
        before, both, later = some(stream, 2), stream.predictions(2), some(stream, 1)
        assert await send(gate, before) == 200
        gate.begin(Fault.ONE_REFUSED)
        assert await send(gate, before) == 200  # the Collector has these: refusing them now would make no sense
        assert await send(gate, line(stream.id, both)) == 400
        assert gate.refused == {(stream.id, 4)}
        gate.end()
        assert await send(gate, line(stream.id, both[1:])) == 400
        assert await send(gate, line(stream.id, both[:1])) == 200
        assert await send(gate, later) == 200
        assert gate.met[Fault.ONE_REFUSED] == 1
        assert 4 not in sink.sequences


async def test_stream_events_are_never_refused() -> None:
    """Only predictions are chosen, since a refused closing record would leave its stream open."""
    async with way() as (gate, _):
        gate.begin(Fault.ONE_REFUSED)
        stream = Stream()
        assert await send(gate, line(stream.id, [stream.opened()])) == 200
        assert gate.refused == set()


async def test_a_collector_that_is_gone() -> None:
    """Where nobody listens behind the gate, nobody answers."""
    async with way() as (_, sink):
        url = sink.url
    async with Gate(url).open() as gate:
        assert await send(gate, some(Stream(), 1)) is None
        assert gate.passed == 0
