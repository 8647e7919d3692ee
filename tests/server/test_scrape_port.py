"""Prometheus scrapes the server: a port of its own, names and values that its parsers read, and sentences otherwise."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from typing import TYPE_CHECKING

import aiohttp
import pytest
from opentelemetry.exporter import prometheus
from prometheus_client import parser as text_parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from predictor.api.protobuf import messages
from predictor.core.problems import Kind
from predictor.server import app, scrape_port
from predictor.server.metrics import instruments
from tests.support import model_folders, model_repository
from tests.support.grpc_client import ON, calling
from tests.support.gunicorn_server import Gunicorn
from tests.support.server import ROOT, ROW, Server, model, run
from tests.support.traced_server import traced, traced_models

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from prometheus_client.metrics_core import Metric

    from tests.support.server import Here

SCRAPED = {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": "0", "OTEL_TRACES_EXPORTER": "none"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def scraped(patch: pytest.MonkeyPatch, outbox: Path, *folder: Path, **more: str) -> AbstractAsyncContextManager[Here]:
    """Run a server that is scraped at a free port of loopback."""
    return traced(patch, outbox, *folder, OTEL_EXPORTER_PROMETHEUS_HOST="127.0.0.1", **(SCRAPED | more))


async def scrape(here: Here, accept: str = "text/plain") -> dict[str, Metric]:
    """Return what the port answers by the names of families, read by prometheus_client's parser for that form."""
    place = here.app[app.SCRAPED].place
    url = f"http://{place.host}:{place.port}/metrics"
    async with aiohttp.ClientSession() as client, client.get(url, headers={"Accept": accept}) as response:
        text = await response.text()
        assert response.status == 200, text
        assert response.headers["Content-Type"].startswith(accept.partition(";")[0])
    parser = openmetrics_parser if accept == OPENMETRICS else text_parser
    return {family.name: family for family in parser.text_string_to_metric_families(text)}


def values(family: Metric, *labels: str) -> dict[tuple[str, ...], float]:
    """Return the values of a family of counters or gauges by these labels."""
    samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in samples}


@pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])
async def test_what_prometheus_reads(outbox: Path, monkeypatch: pytest.MonkeyPatch, accept: str) -> None:
    """A scrape has requests, rows, batches, inference, queue, outbox, shipping and refusals, in either form."""
    async with scraped(monkeypatch, outbox) as here:
        for _ in range(3):
            await here.post("/predict", json={"data": [ROW]})
        await here.post("/predict/batch", json={"data": [ROW, ROW]})
        await here.post("/predict", json={"data": [[1.0]]})
        await here.get("/nowhere")
        found = await scrape(here, accept)
    version = ("prediction_model_name", "prediction_model_version")
    iris = ("iris", model().description.version)
    assert values(found["predictor_model_rows"], *version) == {iris: 5}
    assert values(found["predictor_model_batches"], *version) == {iris: 4}
    assert 0 < values(found["predictor_model_inference_time_seconds"], *version)[iris] < 60
    assert values(found["predictor_model_queue"], *version) == {iris: 0}
    refused = values(found["predictor_request_refused"], "error_type")
    assert refused == {(kind.word,): kind in {Kind.INVALID_DATA, Kind.NOT_FOUND} for kind in Kind}
    assert values(found["predictor_log_lost"]) == {(): 0}
    assert values(found["predictor_log_refused"]) == {(): 0}
    assert values(found["predictor_log_records"])[()] >= 7
    assert values(found["predictor_outbox_size_bytes"])[()] > 0
    assert values(found["predictor_outbox_limit_bytes"])[()] == 1 << 30
    requests = found["http_server_request_duration_seconds"]
    assert requests.type == "histogram"
    names = ("http_request_method", "http_route", "http_response_status_code")
    counts = {
        tuple(sample.labels[name] for name in names): sample.value
        for sample in requests.samples
        if sample.name.endswith("_count")
    }
    assert counts == {
        ("POST", "/predict", "200"): 3,
        ("POST", "/predict/batch", "200"): 1,
        ("POST", "/predict", "422"): 1,
        ("GET", "", "404"): 1,
    }
    (target,) = [family for family in found.values() if family.name.startswith("target")]
    assert target.samples[0].labels["service_name"] == "predictor"


async def test_calls_of_other_protocols_are_told_by_their_pattern(
    outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The protocols' calls have the patterns of their paths as routes, and rows the model and version that ran them."""
    for name, number in (("price", 1), ("price", 2), ("area", 1)):
        model_repository.version(tmp_path / "models", name, number, float(number))
    x = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": model_repository.ROW}]}
    port = SCRAPED | {"OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1"}
    async with traced_models(monkeypatch, outbox, tmp_path / "models", **port) as here:
        for path in ("price/infer", "area/infer", "price/versions/1/infer", "none/infer"):
            await here.post(f"/v2/models/{path}", json=x)
        await here.post("/v1/models/price:predict", json={"instances": [model_repository.ROW] * 2})
        await here.get("/v2/models/area")
        found = await scrape(here)
    names = ("http_request_method", "http_route", "http_response_status_code")
    counts = {
        tuple(sample.labels[name] for name in names): sample.value
        for sample in found["http_server_request_duration_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert counts == {
        ("POST", "/v2/models/{model}/infer", "200"): 2,
        ("POST", "/v2/models/{model}/infer", "404"): 1,
        ("POST", "/v2/models/{model}/versions/{version}/infer", "200"): 1,
        ("POST", "/v1/models/{model}:predict", "200"): 1,
        ("GET", "/v2/models/{model}", "200"): 1,
    }
    version = ("prediction_model_name", "prediction_model_version")
    assert values(found["predictor_model_rows"], *version) == {("price", "2"): 3, ("price", "1"): 1, ("area", "1"): 1}


async def test_failed_rows_are_counted(outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that the model fails on have run too, and their refusals have the model's failure as their reason."""
    async with scraped(monkeypatch, outbox, model_folders.failing(tmp_path / "model")) as here:
        await here.post("/predict", json={"data": [[model_folders.FAILS_ABOVE * 2, 0.0]]})
        found = await scrape(here)
    assert list(values(found["predictor_model_rows"]).values()) == [1]
    assert values(found["predictor_request_refused"], "error_type")["model-failed",] == 1


async def test_every_metric_is_documented(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/operations.md has every instrument by its name in OpenTelemetry and as Prometheus has it, and no other."""
    async with scraped(monkeypatch, outbox, **ON) as here, calling(here) as client:
        await here.get("/nowhere")
        await client.ask("ModelReady", messages.ModelReadyRequest(name="iris"))
        found = await scrape(here)
        book, catalog = here.app[app.LOG_SERVICE], here.app[app.MODELS].catalog
        ours = {each.name for each in instruments(book, catalog, {})}
        ours |= {"http.server.request.duration", "rpc.server.call.duration"}
    table = OPERATIONS[OPERATIONS.index("| OpenTelemetry | Prometheus |") :].split("\n\n", 1)[0]
    rows = re.findall(r"^\| `([a-z.]+)` \| `([a-z_]+)` \|", table, re.MULTILINE)
    assert {row[0] for row in rows} == ours
    names = {
        f"{name}_total" if family.type == "counter" and not name.endswith("_total") else name
        for name, family in found.items()
        if not name.startswith("target")
    }
    assert {row[1] for row in rows} == names


async def test_nothing_else_is_at_the_port(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port of metrics predicts nothing, and the port of predictions has no metrics."""
    async with scraped(monkeypatch, outbox) as here:
        place = here.app[app.SCRAPED].place
        url = f"http://{place.host}:{place.port}/predict"
        async with aiohttp.ClientSession() as client, client.post(url, json={"data": [ROW]}) as response:
            assert response.status == 404
            assert response.headers["Server"] == "predictor"
        assert (await here.get("/metrics")).status == 404


async def test_a_disk_that_hangs_costs_the_scrape_only(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapes that cannot be answered in time are refused, wait for one reading, and hold no prediction."""
    answers, readings = threading.Event(), []
    plain = prometheus.PrometheusMetricReader.collect

    def hang(self: prometheus.PrometheusMetricReader, timeout_millis: float = 10_000) -> None:
        readings.append(self)
        answers.wait(30)
        plain(self, timeout_millis)

    async with scraped(monkeypatch, outbox) as here:
        reader = here.app[app.SCRAPED].reader
        monkeypatch.setattr(reader._collector, "_callback", lambda: hang(reader))
        monkeypatch.setattr(scrape_port, "_LONGEST", 0.05)
        place = here.app[app.SCRAPED].place
        async with aiohttp.ClientSession() as client:

            async def status() -> int:
                async with client.get(f"http://{place.host}:{place.port}/metrics") as response:
                    return response.status

            assert await asyncio.gather(*(status() for _ in range(5))) == [503] * 5
        assert (await here.post("/predict", json={"data": [ROW]})).status == 200
        answers.set()
        monkeypatch.setattr(scrape_port, "_LONGEST", 30.0)
        assert "predictor_log_records" in await scrape(here)
    assert 1 <= len(readings) <= 2


def test_port_that_is_taken(outbox: Path) -> None:
    """A port for metrics that somebody has stops the start with a sentence, before a stream is begun."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = SCRAPED | {"OTEL_EXPORTER_PROMETHEUS_PORT": str(port), "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1"}
        done = run("serve", outbox=outbox, **settings)
    assert done.returncode == 2, done.stderr
    variables = "OTEL_EXPORTER_PROMETHEUS_HOST, OTEL_EXPORTER_PROMETHEUS_PORT"
    assert f"cannot listen on 127.0.0.1 port {port} for metrics ({variables}): Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [*outbox.glob("v1/*")]


def test_banner_says_where(outbox: Path) -> None:
    """The start says where metrics are scraped, and with a name of both families each address answers."""
    with Server(outbox, **SCRAPED) as server:
        said = server.wait_for(lambda line: "/metrics" in line)
    assert re.search(r"http://(127\.0\.0\.1|\[::1\]):\d+/metrics has metrics for Prometheus", said)


def test_no_metrics_without_a_log(outbox: Path) -> None:
    """Without a prediction log, as in benchmarks, nothing is measured, and who has asked for metrics is told so."""
    with Server(outbox, **SCRAPED, PREDICTOR_LOG="off") as server:
        pass
    assert any("no prediction is logged, and there are no metrics" in line for line in server.stderr_lines)
    assert not any("/metrics" in line for line in server.stderr_lines)


def test_gunicorn_is_refused(outbox: Path) -> None:
    """Of several processes at one port a scrape would tell of any: their start is refused with a sentence."""
    pytest.importorskip("gunicorn", reason="gunicorn is an extra: pip install '.[gunicorn]'")
    with Gunicorn(outbox, **SCRAPED) as master:
        said = master.wait_for(lambda line: "OTEL_METRICS_EXPORTER" in line)
    assert "OTEL_METRICS_EXPORTER is 'prometheus', wanted otlp or none under gunicorn" in said
