"""Spans as OTLP JSON: those of the SDK, and those that are written directly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.otlp.lines import head
from predictor.otlp.values import JSON, attributes, encode, scope_json

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext

_CONTEXT_HAS_IS_REMOTE, _CONTEXT_IS_REMOTE = 0x100, 0x200
_OWN = ("traceId", "spanId", "parentSpanId", "flags", "startTimeUnixNano", "endTimeUnixNano")
_SPAN = b'{"traceId":"%b","spanId":"%b",%b"flags":%d,"startTimeUnixNano":"%d","endTimeUnixNano":"%d",%b'


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
                    "droppedAttributesCount": event.dropped_attributes,
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
                    "droppedAttributesCount": link.dropped_attributes,
                    "flags": _remote_flags(link.context),
                }
            )
            for link in span.links
        ],
        "droppedLinksCount": span.dropped_links,
    }
    status = {"code": span.status.status_code.value, "message": span.status.description or ""}
    return _drop_empty(fields) | {"status": _drop_empty(status)}


def span_rest(fields: JSON) -> bytes:
    """Return what a span has beside ids, flags and times, for `span_bytes`; there is something, its name at least."""
    return encode({key: value for key, value in fields.items() if key not in _OWN})[1:]


def span_bytes(
    trace_id: str, span_id: str, parent_id: str | None, times: tuple[int, int], rest: bytes, *, remote: bool = False
) -> bytes:
    """Return a span as JSON; `times` are Unix nanoseconds, `remote` says that its parent is in another process."""
    flags = _CONTEXT_HAS_IS_REMOTE | (_CONTEXT_IS_REMOTE if remote else 0)
    parent = b'"parentSpanId":"%b",' % parent_id.encode() if parent_id else b""
    return _SPAN % (trace_id.encode(), span_id.encode(), parent, flags, *times, rest)


def _remote_flags(context: SpanContext | None) -> int:
    return _CONTEXT_HAS_IS_REMOTE | (_CONTEXT_IS_REMOTE if context and context.is_remote else 0)


def _drop_empty(fields: JSON) -> JSON:
    return {key: value for key, value in fields.items() if value}
