from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource

from predictor.core.rate_limit import TokenBucket
from predictor.server import app
from predictor.tracing.tracer import Tracer
from tests.support import model_folders
from tests.support.server import records
from tests.support.traced_server import INTERNAL, OUTLIER, SERVER, USUAL, servers, spans, told, traced, tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Answer, Here


_TRACE, _PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
_SAMPLED, _UNSAMPLED = f"00-{_TRACE}-{_PARENT}-01", f"00-{_TRACE}-{_PARENT}-00"
_OFF = {"OTEL_TRACES_SAMPLER": "always_off"}
_REMOTE = 0x300


async def _predict(here: Here, row: list[float] = USUAL, **headers: str) -> Answer:
    return await here.post("/predict", json={"data": [row]}, headers=headers)


def _tracing(here: Here) -> Tracer:
    pipeline = here.app[app.MODELS].catalog.meant().pipeline
    tracing: Tracer = pipeline._traces  # type: ignore[assignment]
    return tracing


# What a trace looks like
async def test_request_is_one_trace(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record, answer and server span share their ids; under the server span stands the prediction with its parts."""
    async with traced(monkeypatch, outbox) as here:
        answer = await _predict(here)
    (record,) = told(outbox)
    named = tree(outbox)
    assert set(named) == {"server", "predict", "queue", "inference"}
    server, predict = named["server"], named["predict"]
    assert answer.headers["X-Trace-Id"] == server["traceId"] == record["traceId"]
    assert record["spanId"] == server["spanId"]
    assert record["attributes"]["prediction.kept"] == "head"
    assert "parentSpanId" not in server
    assert predict["parentSpanId"] == server["spanId"]
    assert named["queue"]["parentSpanId"] == named["inference"]["parentSpanId"] == predict["spanId"]
    assert {span["kind"] for name, span in named.items() if name != "server"} == {INTERNAL}
    assert len({span["spanId"] for span in named.values()}) == 4


async def test_spans_have_the_records_times(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server span begins with the arrival, the parts follow each other and take as long as the record says."""
    async with traced(monkeypatch, outbox) as here:
        await _predict(here)
    (record,) = told(outbox)
    took = record["attributes"]
    times = {
        name: (int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])) for name, span in tree(outbox).items()
    }
    begin = int(record["timeUnixNano"])
    assert begin == times["server"][0] == times["predict"][0] == times["queue"][0]
    assert times["queue"][1] == times["inference"][0]
    for name, duration in (("queue", "queue"), ("inference", "inference"), ("predict", "total")):
        start, end = times[name]
        assert end - start == pytest.approx(took[f"prediction.duration.{duration}"] * 1e9, abs=1)
    assert times["inference"][1] <= times["predict"][1]
    assert times["predict"][1] <= times["server"][1]


async def test_predict_span_tells_of_the_prediction(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The span has what one searches traces by, and never the features."""
    async with traced(monkeypatch, outbox) as here:
        answer = await _predict(here, OUTLIER)
    (record,) = told(outbox)
    predict = tree(outbox)["predict"]
    assert predict["attributes"] == {
        "prediction.job_id": answer.json["job_id"],
        "prediction.model": f"iris@{record['scope']['attributes']['prediction.model.version']}",
        "prediction.rows": 1,
        "prediction.batch.size": 1,
        "prediction.kept": "head",
        "prediction.outlier": True,
        "prediction.label": record["attributes"]["prediction.label"],
        "prediction.confidence": record["attributes"]["prediction.confidence"],
    }
    assert "status" not in predict
    assert "prediction.input" not in json.dumps(spans(outbox))


async def test_batch_is_one_predict_span(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request of many rows has one span for them, an outlier among them makes it one."""
    async with traced(monkeypatch, outbox) as here:
        await here.post("/predict/batch", json={"data": [USUAL, OUTLIER, USUAL]})
    assert len(told(outbox)) == 3
    pairs = tree(outbox)["predict"]["attributes"]
    assert (pairs["prediction.rows"], pairs["prediction.outlier"]) == (3, True)
    assert "prediction.label" not in pairs


async def test_server_span_is_the_official_one(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server span comes from the official instrumentation, in today's names of OpenTelemetry."""
    async with traced(monkeypatch, outbox) as here:
        await here.post("/predict?name=secret", json={"data": [USUAL]}, headers={"User-Agent": "test/1"})
    server = tree(outbox)["server"]
    assert (server["name"], server["kind"]) == ("POST /predict", SERVER)
    assert server["scope"] == "opentelemetry.instrumentation.aiohttp_server"
    pairs = server["attributes"]
    assert {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/predict",
        "url.path": "/predict",
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "server.port": here.port,
        "user_agent.original": "test/1",
        "network.protocol.version": "1.1",
    }.items() <= pairs.items()
    assert not {"http.method", "http.status_code", "http.target"} & set(pairs)
    assert "url.query" not in pairs


@pytest.mark.parametrize("lane", ["on", "off"])
@pytest.mark.parametrize("semconv", ["http", "http/dup", "none"])
@pytest.mark.parametrize("path", ["/predict", "/nowhere"])
async def test_query_is_in_no_span(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, lane: str, semconv: str, path: str
) -> None:
    """What a caller writes behind the path is in no span, by either door and in the old names too."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", semconv)
    async with traced(monkeypatch, outbox, PREDICTOR_FAST_LANE=lane) as here:
        await here.post(f"{path}?name=secret", json={"data": [USUAL]})
    assert spans(outbox)
    assert "secret" not in json.dumps(spans(outbox))


async def test_spans_have_the_records_resource(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans and records say the same of their process."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-1,team=é")
    async with traced(monkeypatch, outbox) as here:
        await _predict(here)
    resources = [span["resource"] for span in spans(outbox)] + [record["resource"] for record in records(outbox)]
    assert len(resources) == 8
    assert all(resource == resources[0] for resource in resources)
    assert {"service.instance.id": "pod-1", "team": "é"}.items() <= resources[0].items()


# The caller's trace
async def test_sampled_parent_is_honoured(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller's trace goes on here: its id, its span as parent, its trace state."""
    async with traced(monkeypatch, outbox) as here:
        answer = await _predict(here, traceparent=_SAMPLED, tracestate="vendor=a,other=b")
    (record,) = told(outbox)
    assert answer.headers["X-Trace-Id"] == record["traceId"] == _TRACE
    server = tree(outbox)["server"]
    assert (server["parentSpanId"], server["flags"] & _REMOTE) == (_PARENT, _REMOTE)
    assert server["traceState"] == "vendor=a,other=b"


async def test_unsampled_parent_is_honoured(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that does not trace is not traced here, but the record carries its trace id."""
    async with traced(monkeypatch, outbox) as here:
        await _predict(here, traceparent=_UNSAMPLED)
    (record,) = told(outbox)
    assert record["traceId"] == _TRACE
    assert record["spanId"] != _PARENT
    assert spans(outbox) == []


async def test_kept_span_stands_under_the_caller(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outlier of a caller that does not trace is kept, in the caller's trace."""
    async with traced(monkeypatch, outbox) as here:
        await _predict(here, OUTLIER, traceparent=_UNSAMPLED, tracestate="vendor=a")
    (record,) = told(outbox)
    assert record["attributes"]["prediction.kept"] == "outlier"
    server = tree(outbox)["server"]
    assert (server["traceId"], server["parentSpanId"], server["traceState"]) == (_TRACE, _PARENT, "vendor=a")


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "x",
        f"00-{'0' * 32}-{_PARENT}-01",
        f"00-{_TRACE}-{'0' * 16}-01",
        f"ff-{_TRACE}-{_PARENT}-01",
        f"00-{_TRACE[:-1]}-{_PARENT}-01",
        f"00-{_TRACE[:-1]}g-{_PARENT}-01",
        f"00-{_TRACE}-{_PARENT}",
    ],
)
async def test_invalid_parent_is_ignored(outbox: Path, monkeypatch: pytest.MonkeyPatch, traceparent: str) -> None:
    """What is no trace context begins a trace of its own, and the record agrees with its span."""
    async with traced(monkeypatch, outbox) as here:
        answer = await _predict(here, traceparent=traceparent, tracestate="vendor=a")
    assert answer.status == 200
    (record,) = told(outbox)
    server = tree(outbox)["server"]
    assert record["traceId"] == server["traceId"] != _TRACE
    assert not {"parentSpanId", "traceState"} & set(server)


# The sampler
async def test_sampler_off_writes_nothing(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `always_off` usual predictions have ids but no span."""
    async with traced(monkeypatch, outbox, **_OFF) as here:
        answers = [await _predict(here), await _predict(here, traceparent=_SAMPLED)]
    assert [record["traceId"] for record in told(outbox)] == [answer.headers["X-Trace-Id"] for answer in answers]
    assert spans(outbox) == []


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
async def test_ratio_decides_once(outbox: Path, monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    """Over many requests at once the record's flag and the span never disagree, and about the ratio is sampled."""
    async with traced(monkeypatch, outbox, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="0.5") as here:

        async def some(number: int) -> None:
            for _ in range(number):
                await _predict(here)

        await asyncio.gather(*(some(40) for _ in range(8)))
    found = told(outbox)
    assert len(found) == 320
    sampled = [record for record in found if "flags" in record]
    assert 80 < len(sampled) < 240  # 160 ± 9 deviations
    assert len(servers(outbox)) == len(sampled)
    assert len(spans(outbox)) == 4 * len(sampled)


async def test_parent_decides_for_parent_based(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent-based sampler follows the caller, whatever it does with traces of its own."""
    async with traced(monkeypatch, outbox, OTEL_TRACES_SAMPLER="parentbased_always_off") as here:
        await _predict(here)
        await _predict(here, traceparent=_SAMPLED)
    assert ["flags" in record for record in told(outbox)] == [False, True]


# What is kept all the same
async def test_error_is_kept(outbox: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A 5xx that was not sampled has its spans, and they say that it failed."""
    async with traced(monkeypatch, outbox, model_folders.failing(tmp_path / "model"), **_OFF) as here:
        assert (await _predict(here, [model_folders.FAILS_ABOVE * 2, 0.0])).status == 500
        assert (await _predict(here, [0.0])).status == 422  # the caller's fault is not kept
    failed, refused = told(outbox)
    assert failed["attributes"]["prediction.kept"] == "error"
    assert "flags" not in refused
    named = tree(outbox)
    assert set(named) == {"server", "predict"}
    assert named["predict"]["status"]["code"] == named["server"]["status"]["code"] == 2
    assert named["predict"]["attributes"]["error.type"] == "model-failed"
    assert named["server"]["attributes"]["http.response.status_code"] == 500
    assert named["server"]["startTimeUnixNano"] == failed["timeUnixNano"]


async def test_too_many_rows_are_no_error_of_the_server(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 429 is the caller's: its record has an error, its server span the status alone, as the convention wants it."""
    settings = {"PREDICTOR_ROWS_PER_SECOND": "1", "PREDICTOR_BATCH_ROWS": "1"}
    async with traced(monkeypatch, outbox, **settings) as here:
        statuses = [(await here.post("/predict", json={"data": [USUAL]})).status for _ in range(2)]
    assert statuses == [200, 429]
    _, refused = told(outbox)
    assert refused["attributes"]["error.type"] == "rate-limited"
    (span,) = (each for each in servers(outbox) if each["spanId"] == refused["spanId"])
    assert span["attributes"]["http.response.status_code"] == 429
    assert "error.type" not in span["attributes"]
    assert span.get("status", {}).get("code") is None


async def test_slow_prediction_is_kept(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction slower than PREDICTOR_SLOW has its spans."""
    async with traced(monkeypatch, outbox, PREDICTOR_SLOW="0s", **_OFF) as here:
        await _predict(here)
    (record,) = told(outbox)
    assert record["attributes"]["prediction.kept"] == "slow"
    named = tree(outbox)
    assert set(named) == {"server", "predict", "queue", "inference"}
    start, end = (int(named["server"][f"{edge}TimeUnixNano"]) for edge in ("start", "end"))
    assert end - start >= record["attributes"]["prediction.duration.total"] * 1e9


async def test_ten_a_second_are_kept(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When everything is an outlier, ten a second keep their spans, and the records of the others say so."""
    async with traced(monkeypatch, outbox, **_OFF) as here:
        now = 5.0
        _tracing(here)._rate = TokenBucket(10, 10, lambda: now)
        for _ in range(15):
            await _predict(here, OUTLIER)
        now = 6.0
        await _predict(here, OUTLIER)
    assert ["flags" in record for record in told(outbox)] == [True] * 10 + [False] * 5 + [True]


async def test_deadline_is_kept(outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 504 has its spans, and its record their ids."""
    folder = model_folders.slow(tmp_path / "model", rounds=400)
    async with traced(monkeypatch, outbox, folder, PREDICTOR_DEADLINE="20ms", **_OFF) as here:
        assert (await _predict(here, [1.0, 2.0])).status == 504
    (record,) = told(outbox)
    assert record["attributes"]["error.type"] == "deadline-exceeded"
    assert record["attributes"]["prediction.kept"] == "error"


async def test_record_is_never_contradicted(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 504 because the disk is slow comes after the record, which has no flag: then there is no span either."""
    durable = {"PREDICTOR_OUTBOX_FSYNC": "batch", "PREDICTOR_DEADLINE": "100ms"}
    async with traced(monkeypatch, outbox, **durable, **_OFF) as here:
        released = asyncio.Event()
        pipeline = here.app[app.MODELS].catalog.meant().pipeline
        monkeypatch.setattr(pipeline._log, "synced", released.wait)
        assert (await _predict(here)).status == 504
        released.set()
    (record,) = told(outbox)
    assert "error.type" not in record["attributes"]
    assert spans(outbox) == []


# What has no spans
async def test_probes_have_no_spans(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes come often and mean nothing; other calls that do not predict have their server span only."""
    async with traced(monkeypatch, outbox) as here:
        for path in ("/health", "/livez", "/readyz"):
            assert (await here.get(path)).status == 200
        assert spans(outbox) == []
        await here.get("/metadata")
        await here.get("/nowhere")
    assert {span["name"] for span in spans(outbox)} == {"GET /metadata", "GET /{path}"}
    assert {span["kind"] for span in spans(outbox)} == {SERVER}


async def test_excluded_urls_have_no_flag(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the instrumentation is told to pass over has no spans, and its records do not claim any."""
    async with traced(monkeypatch, outbox, OTEL_PYTHON_AIOHTTP_SERVER_EXCLUDED_URLS="predict$") as here:
        await _predict(here, OUTLIER)
        await here.get("/predict/test")
    assert [("flags" in record) for record in told(outbox)] == [False, True]


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ""},
    ],
    ids=lambda environment: next(iter(environment)),
)
async def test_log_needs_no_traces(outbox: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Without traces the server answers and logs as ever, honours the caller's trace id, and claims no span."""
    async with traced(monkeypatch, outbox, **environment) as here:
        await _predict(here, OUTLIER)
        answer = await _predict(here, traceparent=_SAMPLED)
        await here.get("/metadata")
    assert answer.headers["X-Trace-Id"] == _TRACE
    assert [record["traceId"] == _TRACE for record in told(outbox)] == [False, True]
    assert spans(outbox) == []
    assert [record["eventName"] for record in records(outbox)][-1] == "prediction.stream.closed"


@pytest.mark.parametrize(
    ("given", "taken"),
    [("a.B_c-1", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("é", False), ("", False)],
)
async def test_request_id_is_taken_if_it_is_harmless(here: Here, outbox: Path, given: str, *, taken: bool) -> None:
    """A request id of safe characters is recorded and echoed, any other is as if it had not come."""
    answer = await here.post("/predict", json={"data": [USUAL]}, headers={"X-Request-Id": given})
    (record,) = told(outbox)
    expected: Any = given if taken else None
    assert answer.headers.get("X-Request-Id") == expected
    assert record["attributes"].get("prediction.request_id") == expected


@given(
    st.from_regex(
        r"\s?(00|01|ff|0f)-(0{32}|[0-9a-fA-F]{31,33})-(0{16}|[0-9a-f]{16}|[0-9a-g]{15,17})-[0-9a-f]{2}(-x)?\s?"
    )
)
@settings(max_examples=300, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_traceparent_is_read_as_the_sdk_reads_it(door: str, given_: str) -> None:
    """Whatever a traceparent looks like, its ids are those that the SDK's propagator finds in it, or none."""
    assert door
    headers = {"traceparent": given_}
    context = trace.get_current_span(propagate.extract(headers)).get_span_context()
    origin = Tracer(Resource({}), None).begin(headers, "POST", "/predict")
    if context.is_valid:
        assert (origin.trace_id, origin.parent_span_id) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    else:
        assert origin.parent_span_id is None
