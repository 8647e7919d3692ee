from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from predictor import otlp
from tests.support.official_otlp import RESOURCE, comparable, parsed, spans
from tests.support.stream_files import line, line_of_spans, record, span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan

    from predictor.outbox.layout import Signal

_VALUES: dict[str, Any] = {
    "bool": True,
    "false": False,
    "int": 2**63 - 1,
    "negative": -(2**63),
    "zero": 0,
    "float": 0.1,
    "whole": 1.0,
    "minus zero": -0.0,
    "tiny": 5e-324,
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "text": 'é "quoted" \\ \n 😀',
    "empty": "",
    "bytes": b"\x00\xff",
    "no bytes": b"",
    "list": ["a", "b"],
    "numbers": [1, 2.5, True],
    "empty list": [],
    "map": {"a": 1, "b": {"c": ["d"]}},
    "empty map": {},
    "nothing": None,
}


# Spans
def _context(number: int, *, remote: bool = False, state: Mapping[str, str] | None = None) -> SpanContext:
    flags, entries = TraceFlags(TraceFlags.SAMPLED), TraceState(list((state or {}).items()))
    return SpanContext(number, number & (2**64 - 1), is_remote=remote, trace_flags=flags, trace_state=entries)


def _finished() -> list[ReadableSpan]:
    """Return SDK spans with everything that a span can have."""
    kept = InMemorySpanExporter()
    limits = SpanLimits(
        max_span_attributes=30, max_events=3, max_links=3, max_event_attributes=1, max_link_attributes=1
    )
    provider = TracerProvider(ALWAYS_ON, RESOURCE, shutdown_on_exit=False, span_limits=limits)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("some.library", "0.1", "https://example.org/schema", {"scope": "yes"})
    remote = _context(2**127 + 5, remote=True, state={"vendor": "a:b", "other": "1"})
    parents = {
        "root": None,
        "remote parent": remote,
        "local parent": _context(7),
    }
    for name, parent in parents.items():
        context = trace.set_span_in_context(trace.NonRecordingSpan(parent)) if parent else Context()
        tracer.start_span(name, context).end()
    for kind in SpanKind:
        tracer.start_span(kind.name, kind=kind, attributes=_VALUES).end()
    for status in (Status(StatusCode.OK), Status(StatusCode.ERROR), Status(StatusCode.ERROR, "é broke")):
        one = tracer.start_span("status")
        one.set_status(status)
        one.end()
    links = [Link(_context(3)), Link(_context(4), {}), Link(_context(5)), Link(remote, {"a": 1, "b": 2})]
    full = tracer.start_span("full", links=links, attributes={f"k{n}": n for n in range(40)})
    for attributes in ({"first": 1}, {"too": 1, "many": 2}, {}, None):
        full.add_event("event", attributes, 10**18)
    full.end()
    dropped = (full.dropped_events, full.events[0].dropped_attributes, full.links[-1].dropped_attributes)  # type: ignore[attr-defined]
    assert dropped == (1, 1, 1)
    tracer.start_span("é 😀").end(2**62)
    return list(kept.get_finished_spans())


@pytest.mark.parametrize("one", _finished(), ids=lambda one: one.name)
def test_span_is_what_the_official_encoder_writes(one: ReadableSpan) -> None:
    """Events, links, status, trace state, remote parents, dropped counts and every value: our line is the official."""
    begin = otlp.span_head(otlp.resource_json(RESOURCE), one.instrumentation_scope)
    ours = parsed(otlp.line(begin, [otlp.encode(otlp.span_json(one))]))
    assert comparable(ours) == spans([one])


def test_span_without_a_scope_is_written() -> None:
    """A span that no tracer's scope belongs to is a line too."""
    data = parsed(otlp.line(otlp.span_head(otlp.resource_json(RESOURCE), None), [span(1)]))
    assert data["resourceSpans"][0]["scopeSpans"][0]["scope"] == {}


# Values
def test_value_has_a_form_for_each_type() -> None:
    """Every type that an attribute may have is read back by the official bindings; the forms are OTLP's."""
    forms = {name: otlp.any_value(value) for name, value in _VALUES.items()}
    assert forms["int"] == {"intValue": "9223372036854775807"}
    assert forms["bool"] == {"boolValue": True}
    assert forms["nan"] == {"doubleValue": "NaN"}
    assert forms["bytes"] == {"bytesValue": "AP8="}
    assert forms["nothing"] == {}
    resource = {"resource": {"attributes": otlp.attributes(_VALUES)}}
    parsed(otlp.line(otlp.head("logs", resource, otlp.scope_json("s", None)), [record(1)]))


def test_value_without_a_form_is_an_error() -> None:
    """What OTLP has no form for is refused, not guessed at."""
    with pytest.raises(TypeError, match="set"):
        otlp.any_value({1})


def test_lone_surrogate_becomes_text() -> None:
    """Half of a surrogate pair has no UTF-8 form: a line with it is still a line."""
    assert otlp.any_value("a\ud800b") == {"stringValue": "a?b"}
    assert json.loads(otlp.encode(otlp.attributes({"k": "\udfff"})))[0]["value"] == {"stringValue": "?"}


def test_schema_urls_are_kept() -> None:
    """The schema of the resource and that of the scope stand where the official encoder puts them."""
    resource = otlp.resource_json(Resource({"a": "b"}, "https://example.org/r"))
    data = parsed(
        otlp.line(otlp.head("logs", resource, otlp.scope_json("s", "1"), "https://example.org/s"), [record(1)])
    )
    assert data["resourceLogs"][0]["schemaUrl"] == "https://example.org/r"
    assert data["resourceLogs"][0]["scopeLogs"][0]["schemaUrl"] == "https://example.org/s"


# Lines
def _line(signal: Signal, numbers: list[int]) -> bytes:
    return line(numbers) if signal == "logs" else line_of_spans(numbers)


def _items(body: bytes) -> list[Any]:
    """Return the records or spans of a body as the official bindings read them."""
    data = parsed(body)
    signal = "Logs" if "resourceLogs" in data else "Spans"
    items = "logRecords" if signal == "Logs" else "spans"
    return [item for one in data[f"resource{signal}"] for scope in one[f"scope{signal}"] for item in scope[items]]


@pytest.mark.parametrize("signal", ["logs", "traces"])
@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(1, 10**6), min_size=1, max_size=5), min_size=1, max_size=4))
def test_merged_lines_are_one_body(signal: Signal, batches: list[list[int]]) -> None:
    """A body of several lines holds their resources one after the other, each line's bytes unchanged."""
    lines = [_line(signal, numbers) for numbers in batches]
    body = otlp.merge(signal, lines)
    assert _items(body) == [item for text in lines for item in _items(text)]
    name = "resourceLogs" if signal == "logs" else "resourceSpans"
    assert all(text[len(name) + 5 : -3] in body for text in lines)


@pytest.mark.parametrize("signal", ["logs", "traces"])
@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=9))
def test_split_line_is_two_halves(signal: Signal, numbers: list[int]) -> None:
    """Halving keeps every record under the same head, down to the single one, which cannot be halved."""
    text = _line(signal, numbers)
    assert otlp.count(signal, text) == len(numbers)
    halves = otlp.split(signal, text)
    if len(numbers) == 1:
        assert halves is None
        return
    assert halves is not None
    assert list(halves) == [_line(signal, numbers[: len(numbers) // 2]), _line(signal, numbers[len(numbers) // 2 :])]


@pytest.mark.parametrize("text", [b"", b"\n", b"{}\n", b'{"resourceLogs":[]}\n', b"\x00" * 50, line([1])[:-9] + b"\n"])
def test_garbage_is_no_line(text: bytes) -> None:
    """What a power cut can leave is told from a line, and neither counted nor halved."""
    assert not otlp.well_formed("logs", text)
    for inspect in (otlp.count, otlp.split):
        with pytest.raises(ValueError, match="not a line"):
            inspect("logs", text)
    assert (otlp.last_sequence(text[:5]), otlp.last_event(text), otlp.first_observed(text[:5])) == (0, "", 0)


def test_damage_inside_a_line_is_seen() -> None:
    """A line with its ends in place is well formed only if all between them is JSON."""
    whole = line([1, 2])
    assert otlp.well_formed("logs", whole)
    damaged = whole[:100] + b"\x00" * 20 + whole[120:]
    assert otlp.framed("logs", damaged)
    assert not otlp.well_formed("logs", damaged)
    deep = whole.replace(b'"setosa', b"[" * 5000 + b"]" * 5000 + b',"', 1)
    assert not otlp.well_formed("logs", deep)
    assert not otlp.framed("traces", whole)


def test_line_tells_its_last_number_event_and_first_time() -> None:
    """The number and event of the last record and the time of the first are found without parsing."""
    text = line([7, 8, 41])
    assert otlp.last_sequence(text) == 41
    assert otlp.first_observed(text) == 10**18 + 7
    named = otlp.line(b"x", [b'{"eventName":"a"}', b'{"eventName":"b.c"}'])
    assert otlp.last_event(named) == "b.c"


def test_text_that_looks_like_a_field_is_none() -> None:
    """What stands inside a string cannot pass for the line's own number or event."""
    trap = '"key":"prediction.stream.sequence","value":{"intValue":"99"} "eventName":"x" "observedTimeUnixNano":"5"'
    text = line([3], body=trap)
    assert otlp.last_sequence(text) == 3
    assert otlp.last_event(text) == ""
    assert otlp.first_observed(text) == 10**18 + 3


@pytest.mark.parametrize("signal", ["logs", "traces"])
@pytest.mark.parametrize("items", [1, 2, 9])
def test_tally_of_a_line(signal: Signal, items: int) -> None:
    """The items of a line, whose numbers have no gap, are tallied without parsing; what is damaged counts as one."""
    text = _line(signal, list(range(7, 7 + items)))
    assert otlp.tally(signal, text) == items == otlp.count(signal, text)
    assert otlp.tally("logs", text.replace(b'"intValue":"', b'"intValue":"x')) == 1
    assert otlp.tally("logs", line([3], body='"timeUnixNano":"1"')) == 1
