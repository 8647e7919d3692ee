"""The only module that knows OTLP JSON: the lines of logs and spans, and how lines are merged, split and searched.

A line is one `LogsData` or `TracesData` JSON object with one resource, one scope and one or more items, as the
Collector's file exporter writes them (https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/).
In OTLP JSON 64-bit integers are strings, ids lower-case hex, enums numbers; what is zero or empty is left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext

    from predictor.segments import Signal

JSON = dict[str, Any]
encode = msgspec.json.Encoder().encode


class _Names(NamedTuple):
    resources: str
    scopes: str
    items: str


_NAMES: dict[Signal, _Names] = {
    "logs": _Names("resourceLogs", "scopeLogs", "logRecords"),
    "traces": _Names("resourceSpans", "scopeSpans", "spans"),
}
TAIL = b"]}]}]}\n"
# A quote inside a JSON string is escaped, so these bytes can only be the attribute itself.
_SEQUENCE = b'{"key":"prediction.stream.sequence","value":{"intValue":"'
_EVENT = b'"eventName":"'
_OBSERVED = b'"observedTimeUnixNano":"'
# Every record and every span has exactly one of these.
_TIMES: dict[Signal, bytes] = {"logs": b'"timeUnixNano":"', "traces": b'"startTimeUnixNano":"'}


# Values
def any_value(value: Any) -> JSON:  # noqa: ANN401 - whatever an attribute may hold
    """Return the AnyValue of a Python attribute value; raises TypeError for one that OTLP has no form for."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else _not_finite(value)}
        case str():
            return {"stringValue": value.encode("utf-8", "replace").decode()}  # a lone surrogate has no UTF-8 form
        case list() | tuple():
            return {"arrayValue": {"values": [any_value(item) for item in value]} if value else {}}
        case None:
            return {}
    msg = f"no OTLP value for {type(value).__name__}"
    raise TypeError(msg)


def attributes(pairs: Mapping[str, Any]) -> list[JSON]:
    """Return the KeyValue list of a mapping."""
    return [{"key": key, "value": any_value(value)} for key, value in pairs.items()]


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


# Lines
def resource_json(resource: Resource) -> JSON:
    """Return what stands beside the scopes in a line: the resource and its schema."""
    entry: JSON = {"resource": {"attributes": attributes(resource.attributes)}}
    return entry | ({"schemaUrl": resource.schema_url} if resource.schema_url else {})


def scope_json(name: str, version: str | None, pairs: Mapping[str, Any] | None = None) -> JSON:
    """Return an InstrumentationScope."""
    scope: JSON = {"name": name}
    if version:
        scope["version"] = version
    if pairs:
        scope["attributes"] = attributes(pairs)
    return scope


def head(signal: Signal, resource: JSON, scope: JSON, schema_url: str | None = None) -> bytes:
    """Return a line's constant beginning; `resource` is from `resource_json`, `scope` from `scope_json`."""
    names = _NAMES[signal]
    scopes: JSON = {"scope": scope} | ({"schemaUrl": schema_url} if schema_url else {}) | {names.items: []}
    whole = encode({names.resources: [resource | {names.scopes: [scopes]}]}) + b"\n"
    return whole[: -len(TAIL)]


def line(head_bytes: bytes, items: Iterable[bytes]) -> bytes:
    """Return a line of encoded items under `head_bytes`."""
    return b"".join((head_bytes, b",".join(items), TAIL))


def merge(signal: Signal, lines: Sequence[bytes]) -> bytes:
    """Return one request body of whole lines, whose bytes stay as they are."""
    start = _start(signal)
    parts: list[bytes | memoryview] = [start]
    for text in lines:  # joined once over views: a megabyte copied in pieces first costs 40 times as much
        parts += (memoryview(text)[len(start) : -3], b",")
    parts[-1] = b"]}"
    return b"".join(parts)


def framed(signal: Signal, text: bytes) -> bool:
    """Tell whether `text` begins and ends like a line of ours, so that it may be merged."""
    return text.startswith(_start(signal)) and text.endswith(TAIL)


def well_formed(signal: Signal, text: bytes) -> bool:
    """Tell whether `text` is a line of ours and valid JSON (a power cut can leave anything)."""
    if not framed(signal, text):
        return False
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def split(signal: Signal, text: bytes) -> tuple[bytes, bytes] | None:
    """Return two lines with a half of the items each, their bytes as they were; None for a single item.

    Raises ValueError if `text` is not a line of ours.
    """
    begin, items = _items(signal, text)
    if len(items) < 2:  # noqa: PLR2004 - nothing to halve
        return None
    middle = len(items) // 2
    return line(begin, items[:middle]), line(begin, items[middle:])


def count(signal: Signal, text: bytes) -> int:
    """Return how many records or spans a line holds; raises ValueError if it is not a line of ours."""
    return len(_items(signal, text)[1])


def tally(signal: Signal, text: bytes) -> int:
    """Return how many records or spans `text` seems to hold: for figures, a fifth of the price of `count`."""
    return text.count(_TIMES[signal])


def last_sequence(text: bytes) -> int:
    """Return the stream number of the last record in a line of logs, 0 if there is none."""
    at = text.rfind(_SEQUENCE)
    if at < 0:
        return 0
    at += len(_SEQUENCE)
    return int(text[at : text.index(b'"', at)])


def last_event(text: bytes) -> str:
    """Return the event name of the last record in a line of logs, empty if there is none."""
    at = text.rfind(_EVENT)
    if at < 0:
        return ""
    at += len(_EVENT)
    return text[at : text.index(b'"', at)].decode()


def first_observed(text: bytes) -> int:
    """Return when the first record in a line of logs was written, Unix nanoseconds, 0 if there is none."""
    at = text.find(_OBSERVED)
    if at < 0:
        return 0
    at += len(_OBSERVED)
    return int(text[at : text.index(b'"', at)])


def _start(signal: Signal) -> bytes:
    return b'{"%b":[' % _NAMES[signal].resources.encode()


def _items(signal: Signal, text: bytes) -> tuple[bytes, list[msgspec.Raw]]:
    mark = b'"%b":[' % _NAMES[signal].items.encode()
    at = text.find(mark) + len(mark)
    if at < len(mark):
        msg = f"not a line of {signal}"
        raise ValueError(msg)
    try:
        items = msgspec.json.decode(text[at - 1 : -len(TAIL) + 1], type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        msg = f"not a line of {signal}: {error}"
        raise ValueError(msg) from error
    return text[:at], items


# Spans
_CONTEXT_HAS_IS_REMOTE, _CONTEXT_IS_REMOTE = 0x100, 0x200
LOCAL_PARENT = _CONTEXT_HAS_IS_REMOTE
"""The flags of a span whose parent is in this process."""


def span_head(resource: JSON, scope: InstrumentationScope | None) -> bytes:
    """Return the beginning of a line of spans of one instrumentation scope."""
    if scope is None:
        return head("traces", resource, {})
    return head("traces", resource, scope_json(scope.name, scope.version, scope.attributes), scope.schema_url)


def span_json(span: ReadableSpan) -> JSON:
    """Return an SDK span as the official encoder would write it."""
    context = span.context
    fields: JSON = {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "traceState": context.trace_state.to_header(),
        "parentSpanId": f"{span.parent.span_id:016x}" if span.parent else "",
        "flags": _remote_flags(span.parent),
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": attributes(span.attributes or {}),
        "droppedAttributesCount": span.dropped_attributes,
        "events": [
            _drop_empty(
                {
                    "timeUnixNano": str(event.timestamp),
                    "name": event.name,
                    "attributes": attributes(event.attributes or {}),
                }
            )
            for event in span.events
        ],
        "droppedEventsCount": span.dropped_events,
        "links": [
            _drop_empty(
                {
                    "traceId": f"{link.context.trace_id:032x}",
                    "spanId": f"{link.context.span_id:016x}",
                    "attributes": attributes(link.attributes or {}),
                    "flags": _remote_flags(link.context),
                }
            )
            for link in span.links
        ],
        "droppedLinksCount": span.dropped_links,
    }
    status = {"code": span.status.status_code.value, "message": span.status.description or ""}
    return _drop_empty(fields) | {"status": _drop_empty(status)}


def _remote_flags(context: SpanContext | None) -> int:
    return _CONTEXT_HAS_IS_REMOTE | (_CONTEXT_IS_REMOTE if context and context.is_remote else 0)


def _drop_empty(fields: JSON) -> JSON:
    return {key: value for key, value in fields.items() if value}
