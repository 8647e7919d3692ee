"""Restores a record from what Loki returns: names with dots, values with the types of the published table.

Loki keeps resource, scope and record attributes in one map of texts, dots turned into underscores.
"""

from __future__ import annotations

import json
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from predictor.reader.content import Content
from predictor.reader.model_event import NOT_DESCRIBED, Described
from predictor.reader.record import (
    MOST_INT,
    OUTPUTS,
    SCHEMA,
    SCHEMAS,
    SEQUENCE,
    STREAM,
    Entry,
    LaterSchema,
    UnknownSchemaError,
    check,
    check_stream,
    model_of,
    nanoseconds,
    redaction_of,
)
from predictor.reader.sources.loki_content import has_row, in_order, known, needs_description, restored
from predictor.recording.canonical import SCOPE_NAMES, scope_digest
from predictor.recording.loki_names import FIELDS, RESERVED
from predictor.recording.record_schema import FEEDBACK, MODEL_TABLE, TABLE
from predictor.recording.stream_events import TABLE as EVENTS
from predictor.recording.stream_events import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from predictor.reader.record import ModelVersion


def _stored(attribute: str) -> str:
    return attribute.replace(".", "_")


def _truth(text: str) -> bool:
    if text not in {"true", "false"}:
        msg = f"{text!r}, wanted true or false"
        raise ValueError(msg)
    return text == "true"


_TYPES: Mapping[str, Callable[[str], Any]] = {
    "int": int,
    "double": float,
    "bool": _truth,
    "string": str,
}
_INPUT, _HASH, _VALUE = "prediction.input.", "prediction.hashed_input.", "prediction.value."
_ATTRIBUTES = {
    _stored(each.name): (each.name, _TYPES[each.type])
    for table in (TABLE, FEEDBACK, MODEL_TABLE, *map(whole, EVENTS))
    for each in table
    if "<" not in each.name  # the features' own
}
_NOT_DESCRIBED = "what the stream says of its model is not there"
_NEW = "Loki keeps no order of attributes, and this version does not know all of them"
_SCOPE = {_stored(name): name for name in SCOPE_NAMES}
_NO_ATTRIBUTES = _SCOPE.keys() | FIELDS
_STORED_INPUT, _STORED_HASH, _STORED_VALUE = (_stored(each) for each in (_INPUT, _HASH, _VALUE))
_KNOWN = 256  # scopes that are remembered: a log has some for each stream, and Loki says them with each record


class UnreadableError(Exception):
    """A record that says it is ours has a value that the published table does not allow."""


def entry_of(
    time_ns: int,
    line: str,
    held: Mapping[str, str],
    signature: Callable[[str, ModelVersion, int], Described] = lambda *_: NOT_DESCRIBED,
) -> Entry | None:
    """Return the record, None if it is not one of ours; raises UnreadableError or UnknownSchemaError.

    `signature` describes a model by stream, model and time: Loki has texts only, in no order, and drops the empty ones.
    """
    scope: dict[str, Any] = {name: held[key] for key, name in _SCOPE.items() if key in held}
    if STREAM not in scope:
        return None
    try:
        check_stream(scope[STREAM])
        scope[SCHEMA] = int(scope.get(SCHEMA, 0))
        if scope[SCHEMA] not in SCHEMAS:
            raise UnknownSchemaError(LaterSchema(scope[STREAM], scope[SCHEMA], int(held.get(_stored(SEQUENCE), 0))))
        severity, flags = _small(held, "severity_number"), _small(held, "flags")
        attributes, inputs, resource = _parted(held)
        event = attributes.get("event.name", "")
        model, redaction = model_of(scope), redaction_of(scope)
        about = NOT_DESCRIBED
        row = bool(inputs) or has_row(event, attributes)
        if model and (row or needs_description(attributes)):
            about = signature(scope[STREAM], model, time_ns)
        if row:
            types = about.types
            attributes |= {_INPUT + name: _typed(types.get(name), value) for name, value in inputs.items()}
            missing = set(json.loads(attributes.get("prediction.missing", "[]"))) | redaction.keys()
            empty = [name for name, kind in types.items() if kind == "string" and name not in inputs]
            attributes |= {_INPUT + name: "" for name in empty if name not in missing}
        record = partial(restored, (time_ns, severity, flags), line, held, attributes, about)
        doubt = "" if in_order(attributes, about) else _NOT_DESCRIBED
        if row and about is NOT_DESCRIBED:
            doubt = _NOT_DESCRIBED
        if not known(event, attributes) or any(key.startswith(RESERVED) for key in resource):
            doubt = _NEW
        check(event, attributes)
        return Entry(
            stream=scope[STREAM],
            sequence=attributes[SEQUENCE],
            event=event,
            time_ns=time_ns,
            observed_ns=nanoseconds("observed_timestamp", held.get("observed_timestamp", 0)),
            severity=held.get("severity_text", ""),
            body=line,
            trace_id=held.get("trace_id", ""),
            span_id=held.get("span_id", ""),
            sampled=bool(flags & 1),
            attributes=attributes,
            model=model,
            resource=resource,
            redaction=redaction,
            outputs=str(scope.get(OUTPUTS, "")),
            content=Content(_scope_digest(tuple(scope.items())), record, doubt=doubt),
        )
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        msg = f"a record of stream {scope[STREAM]} at {time_ns}: {error}"
        raise UnreadableError(msg) from error


@lru_cache(_KNOWN)
def _scope_digest(scope: tuple[tuple[str, Any], ...]) -> bytes:
    return scope_digest(dict(scope))


def _small(held: Mapping[str, str], name: str) -> int:
    """Return a field that has 32 bits at most; raises ValueError."""
    if not 0 <= (value := int(held.get(name, 0))) < 1 << 32:
        msg = f"a record with {name} {value}"
        raise ValueError(msg)
    return value


def _parted(held: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """Return attributes by their names and with their types, inputs by their aliases, and what is the resource's."""
    attributes: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    resource: dict[str, str] = {}
    for key, value in held.items():
        if key in _ATTRIBUTES:
            name, typed = _ATTRIBUTES[key]
            try:
                attributes[name] = typed(value)
            except ValueError as error:
                msg = f"{name}: {error}"
                raise ValueError(msg) from error
        elif key in _NO_ATTRIBUTES:
            continue
        elif key.startswith(_STORED_HASH):
            attributes[_HASH + key.removeprefix(_STORED_HASH)] = value
        elif key.startswith(_STORED_INPUT):
            inputs[key.removeprefix(_STORED_INPUT)] = value
        elif key.startswith(_STORED_VALUE):
            attributes[_VALUE + key.removeprefix(_STORED_VALUE)] = float(value)
        else:
            resource[key] = value
    return attributes, inputs, resource


def _typed(kind: str | None, value: str) -> Any:  # noqa: ANN401 - whatever a feature is
    """Return a feature as its model has it; as a number or a text, whichever it looks like, if that is not known."""
    if kind == "int" and abs(int(value)) > MOST_INT:
        return value  # what is no 64-bit integer was written as a text
    if kind is not None:
        return _TYPES[kind](value)
    try:
        return float(value)
    except ValueError:
        return value
