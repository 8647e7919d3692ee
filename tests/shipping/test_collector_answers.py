"""The deployed Collector before a scripted sink: what it answers, and what it hands on."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest

from predictor.config.otel_env import Endpoint
from predictor.shipping.otlp_http import Accepted, Delivery, PostOutcome, Refused, Retry
from tests.support.deployed_collector import deployed
from tests.support.scripted_sink import Answer, Sink, serve
from tests.support.server import predictions, records
from tests.support.server import serve as serve_predictor
from tests.support.sink_protobuf import as_sent
from tests.support.stream_files import line, line_of_spans

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.deployed_collector import Deployed

SINKS = [("loki",), ("stdout", "loki")]
CLUSTER = {"key": "k8s.cluster.name", "value": {"stringValue": "here"}}


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """Run what stands for Loki and Tempo."""
    async with serve() as running:
        yield running


async def post(agent: Deployed, body: bytes, signal: str = "logs") -> PostOutcome:
    """Send one request as the server's shipper does."""
    delivery = Delivery(Endpoint(f"{agent.url}/v1/{signal}"))
    try:
        return await delivery.post(body)
    finally:
        await delivery.close()


@pytest.mark.parametrize("pieces", SINKS, ids=" ".join)
async def test_answers(sink: Sink, tmp_path: Path, pieces: tuple[str, ...]) -> None:
    """Only what the sink has is accepted and only what it refuses is refused, whether it is printed too or not."""
    with deployed(tmp_path, *pieces, LOKI_ENDPOINT=f"{sink.url}/otlp") as agent:
        assert await post(agent, line([1])) == Accepted()
        assert [request.path for request in sink.accepted] == ["/otlp/v1/logs"]
        sink.answers(Answer(400, b"entry too far behind"))
        refused = await post(agent, line([2]))
        assert isinstance(refused, Refused)
        assert refused.status == 400
        outcomes = {}
        for status in (401, 403, 404, 429, 500, 502, 503, 504):
            sink.answers(Answer(status))
            outcomes[status] = await post(agent, line([3]))
        sink.answers(Answer(reset=True))
        outcomes[0] = await post(agent, line([3]))
        statuses = {status: outcome.status for status, outcome in outcomes.items() if isinstance(outcome, Retry)}
        assert statuses.keys() == outcomes.keys()
        assert [statuses[status] for status in (401, 403, 404, 500)] == [401, 403, 404, 500]
        assert {statuses[status] for status in (0, 429, 502, 503, 504)} <= {429, 503}
    assert len(sink.accepted) == 1


async def test_slow_sink(sink: Sink, tmp_path: Path) -> None:
    """A sink that does not answer is given up before the server gives up, with a status that means: send it again."""
    sink.script = lambda _: Answer(silent=True)
    with deployed(tmp_path, "loki", LOKI_ENDPOINT=sink.url) as agent:
        assert await post(agent, line([1])) == Retry("503 Service Unavailable", 503)


async def test_gone_sink(tmp_path: Path) -> None:
    """A sink that is not there yet is no reason not to start, and never a reason to refuse."""
    with deployed(tmp_path, "stdout", "loki", LOKI_ENDPOINT="http://127.0.0.1:9/otlp") as agent:
        assert await post(agent, line([1])) == Retry("503 Service Unavailable", 503)


async def test_records_arrive_unaltered(sink: Sink, tmp_path: Path) -> None:
    """The sink gets what the server wrote and the cluster's name; after a Collector's restart again the very same."""
    async with serve_predictor(tmp_path / "outbox") as here:
        assert (await here.post("/predict", json={"data": [[6.7, 3.0, 5.2, 2.3]]})).status == 200
    assert len(predictions(tmp_path / "outbox")) == 1
    (segment,) = (tmp_path / "outbox").rglob("logs/*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    named = {"OTEL_RESOURCE_ATTRIBUTES": "k8s.cluster.name=here,service.name=collector"}
    for _ in range(2):
        with deployed(tmp_path, "stdout", "loki", LOKI_ENDPOINT=sink.url, **named) as agent:
            for text in lines:
                assert await post(agent, text) == Accepted()
    first, again = sink.accepted[: len(lines)], sink.accepted[len(lines) :]
    assert [request.body for request in first] == [request.body for request in again]
    for request, text in zip(first, lines, strict=True):
        sent = json.loads(text)
        sent["resourceLogs"][0]["resource"]["attributes"].append(CLUSTER)
        assert as_sent(request.body) == sent


async def test_printed(tmp_path: Path) -> None:
    """What was answered 200 is printed, each record on a line of its own with its attributes, however many come.

    Around the records of a request stand three lines of the exporter's own and an empty one, no more.
    """
    with deployed(tmp_path, "stdout") as agent:
        for first in range(0, 20_000, 2_000):
            body = line(range(first, first + 2_000), body="virginica 0.972")
            assert await post(agent, body) == Accepted()
        agent.kill()
        lines = agent.stdout.read_text().splitlines()
    printed = [text for text in lines if text.startswith("virginica 0.972 ")]
    assert [f"prediction.stream.sequence={number}" for number in range(20_000)] == [text.split()[2] for text in printed]
    others = [text.split("\t")[0].split(" #")[0] for text in lines if not text.startswith("virginica 0.972 ")]
    assert others == ["Logs", "ResourceLog", "ScopeLog", ""] * 10


async def test_printed_ids(tmp_path: Path) -> None:
    """A prediction's line is found by the answer's X-Trace-Id and by its job id, one line a row, with its span id."""
    async with serve_predictor(tmp_path / "outbox") as here:
        answer = await here.post("/predict/batch", json={"data": [[6.7, 3.0, 5.2, 2.3], [5.1, 3.5, 1.4, 0.2]]})
    logged = [record for record in records(tmp_path / "outbox") if record.get("traceId")]
    (segment,) = (tmp_path / "outbox").rglob("logs/*.jsonl")
    with deployed(tmp_path, "stdout") as agent:
        for text in segment.read_bytes().splitlines(keepends=True):
            assert await post(agent, text) == Accepted()
        agent.kill()
        lines = agent.stdout.read_text().splitlines()
    found = [text for text in lines if answer.headers["X-Trace-Id"] in text]
    assert found == [text for text in lines if f" prediction.job_id={answer.json['job_id']} " in text]
    assert [text.split(" prediction.", 1)[0] for text in found] == [record["body"]["stringValue"] for record in logged]
    assert [text.split()[-2:] for text in found] == [
        [f"trace_id={record['traceId']}", f"span_id={record['spanId']}"] for record in logged
    ]
    without = [text for text in lines if " event.name=prediction.stream." in text]
    assert without
    assert not [text for text in without if "trace_id=" in text or "span_id=" in text]


async def test_printed_line_breaks(tmp_path: Path) -> None:
    """A line break in a record is printed as two characters, so that nobody writes lines of his own into the log."""
    request = json.loads(line([1], body="one\nvirginica 0.972 forged=1"))
    (record,) = request["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    record["attributes"].append({"key": "prediction.said", "value": {"stringValue": "a\nb\n"}})
    with deployed(tmp_path, "stdout") as agent:
        assert await post(agent, json.dumps(request).encode()) == Accepted()
        agent.kill()
        printed = agent.stdout.read_text().split("\n")[3:]
    assert printed == [
        r"one\nvirginica 0.972 forged=1 prediction.stream.sequence=1 prediction.said=a\nb\n",
        "",  # the empty line
        "",  # what follows the last line break
    ]


async def test_signals(sink: Sink, tmp_path: Path) -> None:
    """Traces go to Tempo, with its answers; without its piece they are answered 404, as metrics always are."""
    with deployed(tmp_path, "stdout") as agent:
        assert await post(agent, line_of_spans([1]), "traces") == Retry("404 Not Found", 404)
    with deployed(tmp_path, "stdout", "tempo", TEMPO_ENDPOINT=sink.url) as agent:
        assert await post(agent, line_of_spans([1]), "traces") == Accepted()
        assert [request.path for request in sink.accepted] == ["/v1/traces"]
        sink.answers(Answer(503), Answer(400))
        assert await post(agent, line_of_spans([1]), "traces") == Retry("503 Service Unavailable", 503)
        assert isinstance(await post(agent, line_of_spans([1]), "traces"), Refused)
        assert await post(agent, b"{}", "metrics") == Retry("404 Not Found", 404)


async def test_its_own_ports(tmp_path: Path) -> None:
    """The Collector tells its health and its metrics, and listens for gRPC, where the environment says."""
    with deployed(tmp_path, "stdout") as agent:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{agent.health}/") as answer:
                assert answer.status == 200
            async with session.get(f"http://127.0.0.1:{agent.metrics}/metrics") as answer:
                assert "otelcol_process_memory_rss" in await answer.text()
        await asyncio.to_thread(socket.create_connection(("127.0.0.1", agent.grpc)).close)
