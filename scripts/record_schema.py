#!/usr/bin/env python3
"""Writes docs/schema/record-<version>.json: the published record as a JSON Schema, made of the code's own tables.

    .venv/bin/python scripts/record_schema.py

A version that was published is never written anew: its file stays, and readers go on to take it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from predictor.recording import record_schema, stream_events
from predictor.recording.record_schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from predictor.recording.record_schema import Attribute

FILE = Path(__file__).parent.parent / "docs" / "schema" / f"record-{SCHEMA_VERSION}.json"
_INTEGER = {"type": "string", "pattern": r"^-?(0|[1-9]\d*)$"}  # 64 bits do not fit into JSON's numbers everywhere
_VALUES: dict[str, dict[str, Any]] = {
    "string": {"stringValue": {"type": "string"}},
    "int": {"intValue": _INTEGER},
    "double": {"doubleValue": {"type": "number"}},
    "bool": {"boolValue": {"type": "boolean"}},
}
_HAS_URL = {"resource", "scope"}
"""Where they are, OTLP has a `schemaUrl` beside them, which may be left out."""
_HEX = {"traceId": 32, "spanId": 16}
_UUID7 = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
_SCOPE = ("prediction.model.name", "prediction.model.version", "prediction.model.digest")
_REDACTION = ("prediction.redaction", "prediction.redaction.outputs", "prediction.redaction.key_id")
_SOME = {"prediction.stream.sequence", "event.name"}  # what every record has


def schema() -> dict[str, Any]:
    """Return the schema of one line: a LogsData object with records of ours only."""
    kinds = {
        record_schema.EVENT_NAME: (
            record_schema.TABLE,
            {"prediction.job_id", "prediction.duration.total", "http.route"},
        ),
        record_schema.FEEDBACK_EVENT: (record_schema.FEEDBACK, {"prediction.job_id", "prediction.index", "http.route"}),
        record_schema.MODEL_EVENT: (record_schema.MODEL_TABLE, {each.name for each in record_schema.MODEL_TABLE}),
    }
    check = record_schema.CHECK_EVENT
    for name, own in stream_events.TABLE.items():
        kinds[name] = (stream_events.whole(name), {each.name for each in own})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:predictor:record:{SCHEMA_VERSION}",
        "title": f"One line of the prediction log, record version {SCHEMA_VERSION}",
        "description": "OTLP JSON as in the OpenTelemetry Protocol File Exporter; docs/record.md says what it means.",
        **_object(
            resourceLogs=_array(
                _object(
                    resource=_object(attributes={"type": "array", "items": {"$ref": "#/$defs/any"}}),
                    scopeLogs=_array(
                        {
                            "oneOf": [
                                _object(scope={"$ref": "#/$defs/scope"}, logRecords=_array({"$ref": "#/$defs/record"})),
                                _object(scope={"$ref": "#/$defs/check_scope"}, logRecords=_array(_ref(check))),
                            ]
                        }
                    ),
                )
            )
        ),
        "$defs": {
            "any": {"type": "object", "required": ["key", "value"], "properties": {"key": {"type": "string"}}},
            "scope": _scope(),
            "check_scope": _check_scope(),
            "record": {"oneOf": [_ref(name) for name in kinds]},
            **{name: _record(name, table, _SOME | needed) for name, (table, needed) in kinds.items()},
            check: _record(check, record_schema.CHECK, {"event.name"}),
        },
    }


def _record(name: str, table: Iterable[Attribute], needed: set[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "attributes": _attributes(table, needed),
        "timeUnixNano": _INTEGER,
        "observedTimeUnixNano": _INTEGER,
        "severityText": {"enum": ["INFO", "WARN", "ERROR"]},
        "severityNumber": {"enum": [9, 13, 17]},
        "body": _object(stringValue={"type": "string"}),
        "eventName": {"const": name},
    }
    if name in {record_schema.EVENT_NAME, record_schema.FEEDBACK_EVENT, record_schema.CHECK_EVENT}:
        ids = {field: {"type": "string", "pattern": f"^[0-9a-f]{{{digits}}}$"} for field, digits in _HEX.items()}
        whole = _object(**fields, **ids)
        whole["properties"]["flags"] = {"const": 1}  # there are spans; absent otherwise
        return whole
    return _object(**fields)


def _scope() -> dict[str, Any]:
    strings = [_pair(name, "string") for name in (*_SCOPE, *_REDACTION)]
    stream = {
        "key": {"const": "prediction.stream.id"},
        "value": _object(stringValue={"type": "string", "pattern": _UUID7}),
    }
    return _scope_with(
        *strings, _version(), _object(**stream), must=("prediction.schema_version", "prediction.stream.id")
    )


def _check_scope() -> dict[str, Any]:
    """Return the scope of a record that belongs to no stream."""
    return _scope_with(_version(), must=("prediction.schema_version",))


def _version() -> dict[str, Any]:
    number = _object(intValue={"const": str(SCHEMA_VERSION)})
    return _object(key={"const": "prediction.schema_version"}, value=number)


def _scope_with(*pairs: dict[str, Any], must: tuple[str, ...]) -> dict[str, Any]:
    there = [{"contains": {"properties": {"key": {"const": name}}}} for name in must]
    attributes = {"type": "array", "items": {"oneOf": list(pairs)}, "allOf": there}
    return _object(name={"const": record_schema.SCOPE_NAME}, version={"type": "string"}, attributes=attributes)


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _attributes(table: Iterable[Attribute], needed: set[str]) -> dict[str, Any]:
    pairs = [_pair(each.name, each.type) for each in table]
    must = [{"contains": {"properties": {"key": {"const": name}}}} for name in sorted(needed)]
    return {"type": "array", "items": {"oneOf": pairs}, "allOf": must}


def _pair(name: str, kind: str) -> dict[str, Any]:
    key: dict[str, Any] = {"const": name}
    begin, found, _ = name.partition("<")
    if found:
        key = {"pattern": f"^{re.escape(begin)}[a-z_][a-z0-9_]*$".replace(r"\_", "_")}
    kinds = [_object(**_VALUES[each]) for each in (_VALUES if kind == "any" else [kind])]
    return _object(key={"type": "string", **key}, value=kinds[0] if len(kinds) == 1 else {"oneOf": kinds})


def _object(**properties: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {
        "type": "object",
        "properties": properties | ({"schemaUrl": {"type": "string"}} if _HAS_URL & set(properties) else {}),
        "required": list(properties),
        "additionalProperties": False,
    }


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


def text() -> str:
    """Return the file's content."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"wrote {FILE.name}\n")
