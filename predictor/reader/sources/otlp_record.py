"""Reads the records of a line of OTLP JSON.

https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from predictor.reader.record import OUTPUTS, SEQUENCE, STREAM, Entry, check, check_schema, model_of, redaction_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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


_T = TypeVar("_T")


class _ScopeLogs(msgspec.Struct, Generic[_T]):
    scope: _Holder = msgspec.field(default_factory=_Holder)
    logRecords: list[_T] = []  # noqa: N815


class _ResourceLogs(msgspec.Struct, Generic[_T]):
    resource: _Holder = msgspec.field(default_factory=_Holder)
    scopeLogs: list[_ScopeLogs[_T]] = []  # noqa: N815


class _LogsData(msgspec.Struct, Generic[_T]):
    resourceLogs: list[_ResourceLogs[_T]] = []  # noqa: N815


MOST_NS = 2**63 - 1
_decode = msgspec.json.Decoder(_LogsData[_Record]).decode
_decode_raw = msgspec.json.Decoder(_LogsData[msgspec.Raw]).decode
_decode_record = msgspec.json.Decoder(_Record).decode


def entries(line: bytes, spoiled: Callable[[str], object]) -> Iterator[Entry]:
    """Yield the records of ours in one line of OTLP JSON; others', which a Collector's file may hold, are passed over.

    `spoiled` is told what is wrong with a record that cannot be read; the others of its line are.
    Raises ValueError if the line is not OTLP JSON, UnknownSchemaError for a record of a later version.
    """
    for record, scope, resource in _records(line, spoiled):
        try:
            entry = _entry(record, scope, resource)
        except ValueError as error:
            spoiled(str(error))
            continue
        yield entry


def _records(line: bytes, spoiled: Callable[[str], object]) -> Iterator[tuple[_Record, dict[str, Any], dict[str, Any]]]:
    """Yield each record with the attributes of its scope and resource."""
    data: _LogsData[Any]
    try:
        data = _decode(line)
    except msgspec.ValidationError:  # an attribute, say: then the records are taken one by one
        data = _raw(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _no_line(error) from error
    for group in data.resourceLogs:
        resource = _pairs(group.resource.attributes)
        for scoped in group.scopeLogs:
            scope = _pairs(scoped.scope.attributes)
            for record in scoped.logRecords if isinstance(scope.get(STREAM), str) else ():
                try:
                    yield record if isinstance(record, _Record) else _decode_record(record), scope, resource
                except msgspec.ValidationError as error:
                    spoiled(f"a record of stream {scope[STREAM]}: {error}")


def _raw(line: bytes) -> _LogsData[msgspec.Raw]:
    try:
        return _decode_raw(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _no_line(error) from error


def _no_line(error: Exception) -> ValueError:
    return ValueError(f"not a line of OTLP JSON logs: {error}")


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
        outputs=str(scope.get(OUTPUTS, "")),
    )


def _pairs(pairs: list[_Pair]) -> dict[str, Any]:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: _Value) -> str | float | bool | None:
    if value.intValue is not None:
        return int(value.intValue)
    if value.doubleValue is not None:
        return float(value.doubleValue)
    return value.boolValue if value.stringValue is None else value.stringValue
