from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from predictor import otlp
from predictor.core.problems import Kind
from predictor.outbox import OutboxError
from predictor.tracing.span_writer import SpanWriter
from tests.support.official_otlp import RESOURCE, VERSION, parsed
from tests.support.sample_predictions import (
    DROPPED,
    HASHED,
    IRIS,
    RECEIVED_NS,
    ROUNDED,
    ROW,
    SPAN_ID,
    TRACE_ID,
    failure,
    origin,
    success,
)
from tests.support.server import attributes

if TYPE_CHECKING:
    from predictor.recording.record_schema import Schema


class _Outbox:
    """An outbox for traces that fails when told to."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.fails = False

    def append(self, line: bytes) -> None:
        """Take a line or refuse it."""
        if self.fails:
            raise OutboxError("disk", "no")  # noqa: EM101 - the reason is a word, not a message
        self.lines.append(line)

    @property
    def spans(self) -> list[tuple[str, dict[str, Any]]]:
        """The scope's name and the fields of each span, as the official bindings read them."""
        return [
            (scope["scope"]["name"], span)
            for line in self.lines
            for resource in parsed(line)["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


@pytest.fixture
def outbox() -> _Outbox:
    """Return an outbox that takes everything so far."""
    return _Outbox()


@pytest.fixture
def log(outbox: _Outbox) -> SpanWriter:
    """Return the span log that writes to it."""
    return SpanWriter(outbox, otlp.resource_json(RESOURCE), VERSION, gather=0)


async def a_moment() -> None:
    """Let timers that are due run: they come a turn of the loop after what is ready."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_spans_that_gather_are_one_line_a_scope(log: SpanWriter, outbox: _Outbox) -> None:
    """What ends within a moment is written together, one line for each library that made spans."""
    provider = TracerProvider(ALWAYS_ON, RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(log)
    for library in ("one", "other", "one"):
        provider.get_tracer(library, "1").start_span("work").end()
    log.write_spans(IRIS, [success()])
    assert outbox.lines == []
    await a_moment()
    assert sorted(scope for scope, _ in outbox.spans) == ["one", "one", "other", "predictor", "predictor", "predictor"]
    assert len(outbox.lines) == 3
    assert all(json.loads(line)["resourceSpans"][0]["resource"] for line in outbox.lines)
    await a_moment()
    assert len(outbox.lines) == 3


async def test_span_that_cannot_be_written_is_counted(log: SpanWriter, outbox: _Outbox) -> None:
    """A full traces outbox costs spans, never a prediction; the next ones are written again."""
    outbox.fails = True
    log.write_spans(IRIS, [success()])
    await a_moment()
    assert log.dropped == 3
    outbox.fails = False
    log.write_spans(IRIS, [success()])
    await a_moment()
    assert (len(outbox.spans), log.dropped) == (3, 3)


async def test_end_writes_what_has_gathered(log: SpanWriter, outbox: _Outbox) -> None:
    """Nothing that ended before the shutdown is left in memory."""
    log.write_spans(IRIS, [success()])
    log.shutdown()
    assert len(outbox.spans) == 3


async def test_only_the_requests_own_server_span_is_dated_back(log: SpanWriter, outbox: _Outbox) -> None:
    """The server span begins with the arrival; other spans that end meanwhile keep their own beginning."""
    provider = TracerProvider(ALWAYS_ON, RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(log)
    tracer = provider.get_tracer("library")
    server, other = tracer.start_span("server", start_time=10), tracer.start_span("other", start_time=20)
    source = origin(span_id=f"{server.get_span_context().span_id:016x}")
    with log.server(source):
        other.end()
        server.end()
    tracer.start_span("later", start_time=30).end()
    log.flush()
    begins = {span["name"]: int(span["startTimeUnixNano"]) for _, span in outbox.spans}
    assert begins == {"server": RECEIVED_NS, "other": 20, "later": 30}


async def test_prediction_becomes_three_spans(log: SpanWriter, outbox: _Outbox) -> None:
    """Under the server span stands `predict`, under it `queue` and `inference`, with the record's durations."""
    source = origin(kept="head")
    log.write_spans(IRIS, [success(origin=source, queue=0.25, inference=0.5, total=1.0)])
    log.flush()
    spans = {span["name"]: span for _, span in outbox.spans}
    predict = spans["predict"]
    assert {span["traceId"] for span in spans.values()} == {TRACE_ID}
    assert predict["parentSpanId"] == SPAN_ID
    assert {spans[name]["parentSpanId"] for name in ("queue", "inference")} == {predict["spanId"]}
    times = {
        name: [int(span[f"{edge}TimeUnixNano"]) - RECEIVED_NS for edge in ("start", "end")]
        for name, span in spans.items()
    }
    assert times == {
        "predict": [0, 1_000_000_000],
        "queue": [0, 250_000_000],
        "inference": [250_000_000, 750_000_000],
    }


async def test_failure_has_no_parts(log: SpanWriter, outbox: _Outbox) -> None:
    """A prediction that failed is one span with status error and the reason, and no features."""
    log.write_spans(IRIS, [failure(Kind.MODEL_FAILED, index=0, features=ROW, origin=origin(kept="error"))])
    log.flush()
    ((scope, span),) = outbox.spans
    assert (scope, span["name"], span["status"]) == ("predictor", "predict", {"code": 2})
    pairs = attributes(span["attributes"])
    assert pairs.pop("prediction.job_id")
    assert pairs == {
        "prediction.model": "iris@1",
        "prediction.rows": 1,
        "prediction.kept": "error",
        "error.type": "model-failed",
    }


@pytest.mark.parametrize(
    ("schema", "expected"),
    [(DROPPED, (None, None)), (HASHED, (None, None)), (ROUNDED, ("virginica", 0.97)), (IRIS, ("virginica", 0.9715))],
    ids=["drop", "hash", "round", "keep"],
)
async def test_outputs_as_in_the_log(
    log: SpanWriter, outbox: _Outbox, schema: Schema, expected: tuple[object, ...]
) -> None:
    """A span says no more of an answer than the record may."""
    log.write_spans(schema, [success()])
    log.flush()
    (pairs,) = (attributes(span["attributes"]) for _, span in outbox.spans if span["name"] == "predict")
    assert (pairs.get("prediction.label"), pairs.get("prediction.confidence")) == expected
    assert pairs["prediction.outlier"] is False
