"""Reads the records of a line of OTLP JSON.

https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from predictor.reader.record import SEQUENCE, STREAM, Entry, check, check_schema, model_of, redaction_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Value(msgspec.Struct):
    stringValue: str | None = None  # noqa: N815 - OTLP's name, as all below
    boolValue: bool | None = None  # noqa: N815
    intValue: str | int | None = None  # noqa: N815
    doubleValue: float | str | None = None  # noqa: N815


class _Pair(msgspec.Struct):
    key: str
    value: _Value = msgspec.field(default_factory=_Value)


class _Holder(msgspec.Struct):
    attributes: list[_Pair] = []


class _Record(msgspec.Struct):
    timeUnixNano: int | str = 0  # noqa: N815
    observedTimeUnixNano: int | str = 0  # noqa: N815
    severityText: str = ""  # noqa: N815
    body: _Value = msgspec.field(default_factory=_Value)
    attributes: list[_Pair] = []
    eventName: str = ""  # noqa: N815
    traceId: str = ""  # noqa: N815
    spanId: str = ""  # noqa: N815
    flags: int = 0


class _ScopeLogs(msgspec.Struct):
    scope: _Holder = msgspec.field(default_factory=_Holder)
    logRecords: list[_Record] = []  # noqa: N815


class _ResourceLogs(msgspec.Struct):
    resource: _Holder = msgspec.field(default_factory=_Holder)
    scopeLogs: list[_ScopeLogs] = []  # noqa: N815


class _LogsData(msgspec.Struct):
    resourceLogs: list[_ResourceLogs] = []  # noqa: N815


MOST_NS = 2**63 - 1
_decode = msgspec.json.Decoder(_LogsData).decode


def entries(line: bytes) -> Iterator[Entry]:
    """Yield the records of ours in one line of OTLP JSON; others', which a Collector's file may hold, are passed over.

    Raises ValueError if the line is not OTLP JSON, UnknownSchemaError for a record of a later version.
    """
    try:
        data = _decode(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        msg = f"not a line of OTLP JSON logs: {error}"
        raise ValueError(msg) from error
    for group in data.resourceLogs:
        resource = _pairs(group.resource.attributes)
        for scoped in group.scopeLogs:
            scope = _pairs(scoped.scope.attributes)
            for record in scoped.logRecords if isinstance(scope.get(STREAM), str) else ():
                yield _entry(record, scope, resource)


def _entry(record: _Record, scope: dict[str, Any], resource: dict[str, Any]) -> Entry:
    check_schema(scope)
    attributes = _pairs(record.attributes)
    event = record.eventName or attributes.get("event.name", "")
    check(event, attributes)
    if not 0 <= int(record.timeUnixNano) <= MOST_NS:
        msg = f"a record with timeUnixNano {record.timeUnixNano}"
        raise ValueError(msg)
    return Entry(
        stream=scope[STREAM],
        sequence=attributes[SEQUENCE],
        event=event,
        time_ns=int(record.timeUnixNano),
        observed_ns=int(record.observedTimeUnixNano),
        severity=record.severityText,
        body=record.body.stringValue or "",
        trace_id=record.traceId,
        span_id=record.spanId,
        sampled=bool(record.flags & 1),
        attributes=attributes,
        model=model_of(scope),
        resource=resource,
        redaction=redaction_of(scope),
    )


def _pairs(pairs: list[_Pair]) -> dict[str, Any]:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: _Value) -> str | float | bool | None:
    if value.intValue is not None:
        return int(value.intValue)
    if value.doubleValue is not None:
        return float(value.doubleValue)
    return value.boolValue if value.stringValue is None else value.stringValue
