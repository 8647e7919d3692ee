"""The record and the span that `predictor check` sends: real ones, of no stream and no prediction."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from predictor import __version__, otlp
from predictor.core import ids
from predictor.recording import record_schema

if TYPE_CHECKING:
    from predictor.otlp import JSON
    from predictor.outbox.layout import Signal

_INTERNAL = 1  # a span's kind
_BODY = "predictor check: this record is not a prediction"


class Check(NamedTuple):
    """One check: the ids under which its record and its span are found at the sinks."""

    trace_id: str
    span_id: str
    instance_id: str
    """Its `service.instance.id`: a sink that tells processes apart by it must not take the record for a server's."""


def new() -> Check:
    """Return a check with ids of its own."""
    return Check(ids.trace_id(), ids.span_id(), str(uuid4()))


def line(signal: Signal, check: Check, resource: JSON, *, traced: bool) -> bytes:
    """Return the line that holds the record, or the span; `traced` says that there is a span.

    `resource` is from `otlp.resource_json`.
    """
    now = time.time_ns()
    version = {"prediction.schema_version": record_schema.SCHEMA_VERSION} if signal == "logs" else {}
    head = otlp.head(signal, resource, otlp.scope_json(record_schema.SCOPE_NAME, __version__, version))
    return otlp.line(head, [_record(check, now, traced=traced) if signal == "logs" else _span(check, now)])


def _record(check: Check, now_ns: int, *, traced: bool) -> bytes:
    number, text = record_schema.INFO
    fields: JSON = {
        "attributes": otlp.attributes({"event.name": record_schema.CHECK_EVENT}),
        "severityText": text,
        "severityNumber": number,
        "timeUnixNano": str(now_ns),
        "observedTimeUnixNano": str(now_ns),
        "body": otlp.any_value(_BODY),
        "eventName": record_schema.CHECK_EVENT,
        "traceId": check.trace_id,
        "spanId": check.span_id,
    }
    return otlp.encode(fields | ({"flags": 1} if traced else {}))


def _span(check: Check, now_ns: int) -> bytes:
    rest = otlp.span_rest({"name": record_schema.CHECK_EVENT, "kind": _INTERNAL})
    return otlp.span_bytes(check.trace_id, check.span_id, None, (now_ns, now_ns + 1), rest)
