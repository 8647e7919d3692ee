"""From the shipper through a real Collector to a scripted sink: the outcomes survive the way."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from predictor.config.otel_env import Endpoint
from predictor.shipping.otlp_http import Accepted, Delivery, Refused, Retry
from predictor.shipping.rejected import Rejected
from predictor.shipping.shipper import Shipper
from predictor.shipping.status import Counters
from tests.support import collector
from tests.support.scripted_sink import OK, Answer, Sink, sequences, serve
from tests.support.shipper_rig import kept
from tests.support.stream_files import line, line_of_spans, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from predictor.outbox.layout import Signal, StreamFiles


class Chain:
    """A Collector in front of a scripted sink, and a shipper towards it that does not wait between tries."""

    def __init__(self, sink: Sink, agent: collector.Collector) -> None:
        """Count what is shipped."""
        self.sink = sink
        self.agent = agent
        self.counters = Counters()

    async def ship(self, files: StreamFiles, signal: Signal = "logs") -> int:
        """Ship a stream to its end."""
        endpoint = Endpoint(f"{self.agent.url}/v1/{signal}")
        shipper = Shipper(
            signal,
            endpoint,
            counters=self.counters,
            reject=Rejected().keep,
            sleep=lambda _: asyncio.sleep(0.01),  # between tries towards another process
        )
        shipper.add(files)
        try:
            return await shipper.drain(30)
        finally:
            await shipper.close()


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[Chain]:
    """Start a sink and a Collector towards it."""
    collector.binary()
    port = collector.free_port()
    async with serve() as sink:
        agent = await asyncio.to_thread(collector.start, collector.to_sink(port, sink.url), tmp_path, port)
        try:
            yield Chain(sink, agent)
        finally:
            await asyncio.to_thread(agent.stop)


async def test_outcomes_pass_through(chain: Chain) -> None:
    """What the sink answers ends as the outcome table says, though a Collector stands between."""
    delivery = Delivery(Endpoint(f"{chain.agent.url}/v1/logs"))
    outcomes = {}
    for status in (200, 503, 429, 502, 400, 401, 403, 404, 500, 301):
        chain.sink.script = lambda _, status=status: Answer(status, b"{}")  # type: ignore[misc]
        outcomes[status] = await delivery.post(line([1]))
    chain.sink.script = lambda _: Answer(reset=True)
    outcomes[0] = await delivery.post(line([1]))
    await delivery.close()
    assert outcomes.pop(200) == Accepted()
    refused = outcomes.pop(400)
    assert isinstance(refused, Refused)
    assert refused.status == 400
    assert "400" in refused.words
    assert {status: type(outcome) for status, outcome in outcomes.items()} == dict.fromkeys(outcomes, Retry)
    named = {status: outcome.status for status, outcome in outcomes.items() if isinstance(outcome, Retry)}
    assert {named[503], named[429]} <= {503, 429}
    assert [named[status] for status in (401, 403, 404, 500)] == [401, 403, 404, 500]


async def test_what_the_collector_hides(chain: Chain) -> None:
    """Known limits: the Collector goes by the status line, so a sink behind it must not rely on more than that.

    Half an answer, a partial success and a page behind a redirect reach us as 200; 413 and 422 as 500.
    When this fails, a newer Collector does better and the documentation may say so.
    """
    partial = b'{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}'
    moved = Answer(301, headers={"Location": "/moved"})
    delivery = Delivery(Endpoint(f"{chain.agent.url}/v1/logs"))
    for answer in (Answer(half=True), Answer(200, partial), moved):
        chain.sink.answers(answer)
        assert await delivery.post(line([1])) == Accepted()
    for status in (413, 422):
        chain.sink.answers(Answer(status))
        assert await delivery.post(line([1])) == Retry("500 Internal Server Error", 500)
    await delivery.close()


async def test_everything_arrives_after_an_outage(chain: Chain, tmp_path: Path) -> None:
    """A sink that fails in every way delays the records and loses none; the Collector keeps nothing back."""
    ways = [Answer(503), Answer(429), Answer(reset=True), Answer(401), Answer(404), Answer(500)]
    chain.sink.answers(*ways * 3)
    files = make(tmp_path / "outbox", b"".join(line([n]) for n in range(1, 200)))
    assert await chain.ship(files) == 0
    assert set(chain.sink.sequences) == set(range(1, 200))
    assert chain.counters.refused == 0
    assert chain.counters.retried >= len(ways)


@pytest.mark.parametrize("status", [400, 500])
async def test_poison_record(chain: Chain, tmp_path: Path, status: int) -> None:
    """One record that the sink does not want ends in `rejected/`, all others at the sink."""
    bad = Answer(status, b"{}")
    chain.sink.script = lambda request: bad if 33 in request.sequences else OK
    files = make(tmp_path / "outbox", b"".join(line(range(n, n + 10)) for n in range(1, 100, 10)))
    assert await chain.ship(files) == 0
    assert kept(files) == {"logs-33.json": [33]}
    assert set(chain.sink.sequences) == set(range(1, 101)) - {33}


async def test_spans_too(chain: Chain, tmp_path: Path) -> None:
    """Spans go the same way."""
    files = make(tmp_path / "outbox", line_of_spans([1, 2]) + line_of_spans([3]), signal="traces")
    assert await chain.ship(files, "traces") == 0
    assert chain.counters.shipped == 3
    body = json.dumps([request.parsed for request in chain.sink.accepted])
    assert all(f'"{number:032x}"' in body for number in (1, 2, 3))


async def test_killed_collector(tmp_path: Path) -> None:
    """A Collector that is killed and comes back finds everything sent again that it had not acknowledged."""
    collector.binary()
    port = collector.free_port()
    logs = tmp_path / "logs.jsonl"
    config = collector.to_files(port, logs, tmp_path / "traces.jsonl")
    agent = await asyncio.to_thread(collector.start, config, tmp_path, port)
    try:
        files = make(tmp_path / "outbox", line([1]))
        async with serve() as unused:
            chain = Chain(unused, agent)
            assert await chain.ship(files) == 0
            agent.kill()
            with files.signal("logs").segment(1).open("ab") as file:
                file.write(line([2]))
            shipping = asyncio.create_task(chain.ship(files))
            await asyncio.to_thread(agent.start)
            assert await shipping == 0
    finally:
        await asyncio.to_thread(agent.stop)
    stored = [number for text in logs.read_text().splitlines() for number in sequences(json.loads(text))]
    assert stored == [1, 2]
