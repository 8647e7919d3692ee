from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider

from tests.support import model_folders, scripted_sink
from tests.support.server import ROW, model
from tests.support.traced_server import traced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.server import Here

_OURS = {
    "predictor.outbox.size",
    "predictor.outbox.backlog",
    "predictor.outbox.age",
    "predictor.log.records",
    "predictor.log.shipped",
    "predictor.log.retried",
    "predictor.log.refused",
    "predictor.log.lost",
    "predictor.model.queue",
}


@pytest.fixture
async def collector() -> AsyncIterator[scripted_sink.Sink]:
    """Run a sink that accepts everything."""
    async with scripted_sink.serve() as serving:
        yield serving


async def _some_calls(here: Here) -> None:
    for _ in range(3):
        await here.post("/predict", json={"data": [ROW]})
    await here.post("/predict", json={"data": [[1.0]]})
    await here.get("/nowhere")
    await here.get("/livez")


def _metrics(collector: scripted_sink.Sink) -> dict[str, Any]:
    """Return the metrics of the last export by name."""
    body = [request.body for request in collector.requests if request.path == "/v1/metrics"][-1]
    exported = ExportMetricsServiceRequest.FromString(body)
    (resource,) = exported.resource_metrics
    pairs = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert pairs["service.name"] == "predictor"
    return {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}


@pytest.mark.parametrize("asked", ["exporter", "endpoint"])
async def test_metrics_arrive_when_asked_for(
    collector: scripted_sink.Sink, outbox: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """With OTEL_METRICS_EXPORTER=otlp or an endpoint for metrics, the standard exporter sends ours and HTTP's."""
    wanted = {"OTEL_TRACES_EXPORTER": "none", "PREDICTOR_FLUSH": "5s"}
    if asked == "exporter":
        wanted |= {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    else:
        wanted |= {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{collector.url}/v1/metrics"}
    async with traced(monkeypatch, outbox, **wanted) as here:
        await _some_calls(here)
    metrics = _metrics(collector)
    assert set(metrics) >= _OURS | {"http.server.request.duration"}
    (records,) = metrics["predictor.log.records"].sum.data_points
    assert records.as_int == 7  # opened, the model, four predictions, closed
    assert metrics["predictor.log.records"].sum.is_monotonic
    assert metrics["predictor.outbox.size"].gauge.data_points[0].as_int > 0
    (queue,) = metrics["predictor.model.queue"].gauge.data_points
    named = {pair.key: pair.value.string_value for pair in queue.attributes}
    assert named == {"prediction.model.name": "iris", "prediction.model.version": model().description.version}


async def test_requests_are_measured_once(
    collector: scripted_sink.Sink, outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request is in the histogram once, traced or not, by method, route and status; probes are not."""
    wanted = {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{collector.url}/v1/metrics",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces",
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.5",
        "PREDICTOR_FLUSH": "5s",
    }
    async with traced(monkeypatch, outbox, model_folders.failing(tmp_path / "model"), **wanted) as here:
        for _ in range(20):
            await here.post("/predict", json={"data": [[1.0, 2.0]]})
        await here.post("/predict", json={"data": [[1.0]]})
        await here.post("/predict", json={"data": [[model_folders.FAILS_ABOVE * 2, 0.0]]})
        await here.get("/nowhere")
        await here.send("PROPFIND", "/nowhere")
        await here.get("/livez")
    histogram = _metrics(collector)["http.server.request.duration"]
    assert histogram.unit == "s"
    counts = {}
    for point in histogram.histogram.data_points:
        pairs = {pair.key: pair.value for pair in point.attributes}
        assert pairs["url.scheme"].string_value == "http"
        status = pairs["http.response.status_code"].int_value
        assert ("error.type" in pairs) == (status >= 500)
        route = pairs["http.route"].string_value if "http.route" in pairs else None
        counts[pairs["http.request.method"].string_value, route, status] = point.count
        assert list(point.explicit_bounds)[:3] == [0.005, 0.01, 0.025]
        assert 0 < point.sum < 60
    assert counts == {
        ("POST", "/predict", 200): 20,
        ("POST", "/predict", 422): 1,
        ("POST", "/predict", 500): 1,
        ("GET", None, 404): 1,
        ("_OTHER", None, 404): 1,
    }


async def test_too_many_rows_are_no_error_of_the_server(
    collector: scripted_sink.Sink, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 429 is measured by its status, and has no `error.type`, which is for errors of the server."""
    wanted = {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{collector.url}/v1/metrics",
        "PREDICTOR_ROWS_PER_SECOND": "1",
        "PREDICTOR_BATCH_ROWS": "1",
        "PREDICTOR_FLUSH": "5s",
    }
    async with traced(monkeypatch, outbox, **wanted) as here:
        for _ in range(2):
            await here.post("/predict", json={"data": [ROW]})
    points = _metrics(collector)["http.server.request.duration"].histogram.data_points
    found = {
        pairs["http.response.status_code"].int_value: "error.type" in pairs
        for point in points
        if (pairs := {pair.key: pair.value for pair in point.attributes})
    }
    assert found == {200: False, 429: False}


@pytest.mark.parametrize(
    "environment",
    [{}, {"OTEL_METRICS_EXPORTER": "none"}, {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}],
    ids=["unset", "none", "disabled"],
)
async def test_nothing_is_measured_unasked(
    collector: scripted_sink.Sink, outbox: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """An endpoint for everything does not ask for metrics: none are collected, none leave."""
    made: list[object] = []
    monkeypatch.setattr(MeterProvider, "__init__", lambda *given, **_: made.append(given))
    general = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ""}
    async with traced(monkeypatch, outbox, **(general | {"PREDICTOR_FLUSH": "5s"} | environment)) as here:
        await _some_calls(here)
    assert made == []
    assert "/v1/logs" in {request.path for request in collector.requests}
    assert "/v1/metrics" not in {request.path for request in collector.requests}


@pytest.mark.parametrize("flush", ["50ms", "0s"])
async def test_dead_sink_does_not_hold_the_end(
    collector: scripted_sink.Sink, outbox: Path, monkeypatch: pytest.MonkeyPatch, flush: str
) -> None:
    """A sink that refuses metrics costs metrics and nothing else: the server answers, logs and ends."""
    collector.script = lambda _: scripted_sink.Answer(status=503)
    wanted = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{collector.url}/v1/metrics", "PREDICTOR_FLUSH": flush}
    async with traced(monkeypatch, outbox, **wanted) as here:
        answer = await here.post("/predict", json={"data": [ROW]})
    assert answer.status == 200


async def test_metrics_and_log_flush_at_once(
    collector: scripted_sink.Sink, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end asks for one PREDICTOR_FLUSH, not for one after the other: a sink that is slow gets both together."""
    speak = asyncio.Event()
    wanted = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRICS_EXPORTER": "otlp", "PREDICTOR_FLUSH": "20s"}
    async with AsyncExitStack() as server, asyncio.timeout(15):  # less than one flush
        await server.enter_async_context(traced(monkeypatch, outbox, **wanted))
        await collector.until(lambda: "/v1/logs" in {request.path for request in collector.requests})
        before = len(collector.requests)
        collector.script = lambda _: scripted_sink.Answer(waits_for=speak)
        ending = asyncio.create_task(server.aclose())
        both = {"/v1/logs", "/v1/metrics"}
        await collector.until(lambda: {request.path for request in collector.requests[before:]} >= both)
        speak.set()
        await ending
