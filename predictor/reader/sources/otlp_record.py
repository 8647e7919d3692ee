"""Reads the records of a line of OTLP JSON.

https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

from predictor.reader.content import Content
from predictor.reader.record import (
    DOUBTFUL,
    MOST_INT,
    OUTPUTS,
    SEQUENCE,
    STREAM,
    Entry,
    LaterSchema,
    ModelVersion,
    UnknownSchemaError,
    check,
    check_schema,
    check_stream,
    model_of,
    nanoseconds,
    redaction_of,
)
from predictor.recording.canonical import LogRecord, Pair, scope_digest
from predictor.recording.stream_events import TABLE as EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable


class _Holder(msgspec.Struct, gc=False):
    attributes: list[Pair] = []


_T = TypeVar("_T")
_EMPTY = msgspec.Raw(b"{}")


class _ScopeLogs(msgspec.Struct, Generic[_T], gc=False):
    scope: msgspec.Raw = _EMPTY
    logRecords: list[_T] = []  # noqa: N815


class _ResourceLogs(msgspec.Struct, Generic[_T], gc=False):
    resource: msgspec.Raw = _EMPTY
    scopeLogs: list[_ScopeLogs[_T]] = []  # noqa: N815


class _LogsData(msgspec.Struct, Generic[_T], gc=False):
    resourceLogs: list[_ResourceLogs[_T]] = []  # noqa: N815


class _Shared(NamedTuple):
    """What the records of one scope have in common."""

    stream: str
    model: ModelVersion | None
    resource: dict[str, Any]
    redaction: dict[str, str]
    outputs: str
    digest: bytes
    """Of the scope's attributes."""


BEGINNINGS = (b'{"resourceLogs":', b'{"resourceSpans":')
"""How a line of a Collector's file begins."""
_NO_TEXT, _NO_DOUBLE, _NO_INT, _NO_BOOL = (DOUBTFUL[each] for each in (str, float, int, bool))
_KNOWN = 256  # scopes and resources that are remembered: a log has some for each stream, and says them in each line
_decode = msgspec.json.Decoder(_LogsData[LogRecord]).decode
_decode_raw = msgspec.json.Decoder(_LogsData[msgspec.Raw]).decode
_decode_record = msgspec.json.Decoder(LogRecord).decode
_decode_holder = msgspec.json.Decoder(_Holder).decode


def _refuse(record: LaterSchema) -> None:
    raise UnknownSchemaError(record)


def entries(
    line: bytes, spoiled: Callable[[str], object], later: Callable[[LaterSchema], object] = _refuse
) -> list[Entry]:
    """Return the records of ours in one line of OTLP JSON; others', which a Collector's file may hold, are passed over.

    `spoiled` is called with the fault of each record that cannot be read; the others of its line are read all the same.
    `later` is called with those of a later version. Raises ValueError if the line is not OTLP JSON; by default
    UnknownSchemaError.
    """
    data: _LogsData[Any]
    found: list[Entry] = []
    try:
        data = _decode(line)
    except msgspec.ValidationError:  # an attribute, say: then the records are taken one by one
        data = _raw(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _no_line(error) from error
    for group in data.resourceLogs:
        resource = bytes(group.resource)
        _held(resource)
        for scoped in group.scopeLogs:
            scope = bytes(scoped.scope)
            if STREAM in _held(scope) and scoped.logRecords:
                try:
                    _add(found, scoped.logRecords, (scope, resource), spoiled)
                except UnknownSchemaError as error:
                    later(error.record._replace(number=_lowest(scoped.logRecords)))
    return found


def _add(found: list[Entry], records: list[Any], about: tuple[bytes, bytes], spoiled: Callable[[str], object]) -> None:
    """Add the records of one scope to `found`; raises UnknownSchemaError."""
    try:
        shared = _shared(*about)
    except ValueError as error:
        for _ in records:
            spoiled(str(error))
        return
    for record in records:
        try:
            found.append(_entry(record if type(record) is LogRecord else _decode_record(record), shared))
        except msgspec.ValidationError as error:
            spoiled(f"a record of stream {shared.stream}: {error}")
        except ValueError as error:
            spoiled(str(error))


def _lowest(records: list[Any]) -> int:
    """Return the least number of records of a form that is not known, 0 if one has none that can be read."""
    numbers = []
    for record in records:
        try:
            held = record if type(record) is LogRecord else _decode_record(record)
            numbers.append(_attributes(held.attributes)[0].get(SEQUENCE))
        except ValueError:
            return 0
    return min(number if type(number) is int and 0 < number <= MOST_INT else 0 for number in numbers)


def _raw(line: bytes) -> _LogsData[msgspec.Raw]:
    try:
        return _decode_raw(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _no_line(error) from error


def _no_line(error: Exception) -> ValueError:
    return ValueError(f"not a line of OTLP JSON logs: {error}")


def parses(text: bytes) -> bool:
    """Tell whether a text is JSON as a whole."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def parts(line: bytes) -> list[bytes]:
    """Part a line where an object begins inside it: in a string of JSON there are no bare quotes."""
    if all(line.find(beginning, 1) < 0 for beginning in BEGINNINGS):
        return [line]
    return [part for part in re.split(rb'(?=\{"resource(?:Logs|Spans)":)', line) if part]


@lru_cache(_KNOWN)
def _held(text: bytes) -> dict[str, Any]:
    """Return the attributes of a scope or a resource; raises ValueError."""
    try:
        found, _ = _attributes(_decode_holder(text).attributes)
    except msgspec.MsgspecError as error:
        raise _no_line(error) from error
    return found


@lru_cache(_KNOWN)
def _shared(scope_text: bytes, resource_text: bytes) -> _Shared:
    """Return what a scope and a resource say.

    Raises ValueError if a part of it cannot be read, UnknownSchemaError.
    """
    scope = _held(scope_text)
    check_stream(scope[STREAM])
    check_schema(scope)
    outputs = str(scope.get(OUTPUTS, ""))
    return _Shared(
        scope[STREAM], model_of(scope), _held(resource_text), redaction_of(scope), outputs, scope_digest(scope)
    )


def _entry(record: LogRecord, shared: _Shared) -> Entry:
    attributes, doubtful = _attributes(record.attributes)
    event = record.eventName or attributes.get("event.name", "")
    if doubtful or event in EVENTS or attributes.get(SEQUENCE, 0) < 1:
        check(event, attributes)
    return Entry(  # by place: by name it takes twice as long
        shared.stream,
        attributes[SEQUENCE],
        event,
        nanoseconds("timeUnixNano", record.timeUnixNano),
        nanoseconds("observedTimeUnixNano", record.observedTimeUnixNano),
        record.severityText,
        record.body.stringValue or "",
        record.traceId,
        record.spanId,
        bool(record.flags & 1),
        attributes,
        shared.model,
        shared.resource,
        shared.redaction,
        shared.outputs,
        Content(shared.digest, record),
    )


def _attributes(pairs: list[Pair]) -> tuple[dict[str, Any], bool]:
    """Return attributes as Python has them, and whether one may have a type that the published table does not allow.

    In one pass, since a reader spends most of its time here.
    """
    found: dict[str, Any] = {}
    doubtful = False
    for pair in pairs:
        held, name = pair.value, pair.key
        value: Any = held.stringValue
        if value is not None:
            odd = name in _NO_TEXT
        elif held.doubleValue is not None:
            value = float(held.doubleValue)
            odd = name in _NO_DOUBLE
        elif held.intValue is not None:
            value = int(held.intValue)
            odd = name in _NO_INT or not -MOST_INT <= value <= MOST_INT
        else:
            value = held.boolValue
            odd = value is None or name in _NO_BOOL
        doubtful = doubtful or odd
        found[name] = value
    return found, doubtful
