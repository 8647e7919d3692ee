"""What Loki must have of a record: its own fields and attributes, those of the pods on the way, and nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.loki_client import Entry

INDEX = ("service.name", "k8s.namespace.name", "service.instance.id")
_LEVELS = {"INFO": "info", "WARN": "warn", "ERROR": "error"}


def compare(entries: Iterable[Entry], records: Iterable[Mapping[str, Any]], added: Mapping[str, str]) -> None:
    """Fail unless the entries are these records (`server.records`), each once, with what the Collector has `added`."""
    stored: dict[tuple[str, int], Entry] = {}
    for entry in entries:
        key = entry.metadata["prediction_stream_id"], int(entry.metadata["prediction_stream_sequence"])
        assert key not in stored, f"{key} is there twice:\n{entry}\n{stored[key]}"
        stored[key] = entry
    wanted = {(record["stream"], record["attributes"]["prediction.stream.sequence"]): record for record in records}
    assert stored.keys() == wanted.keys()
    for key, record in wanted.items():
        _one(stored[key], record, added)


def _one(entry: Entry, record: Mapping[str, Any], added: Mapping[str, str]) -> None:
    assert entry.time == int(record["timeUnixNano"])
    assert entry.line == record["body"]["stringValue"]
    assert entry.labels == {_name(key): record["resource"][key] for key in INDEX}
    resource = {key: value for key, value in record["resource"].items() if key not in INDEX}
    fields = {
        "observed_timestamp": record["observedTimeUnixNano"],
        "severity_text": record["severityText"],
        "severity_number": record["severityNumber"],
        "detected_level": _LEVELS[record["severityText"]],  # Loki's own, which Grafana colours by
        "scope_name": record["scope"]["name"],
        "scope_version": record["scope"]["version"],
    }
    ids = {"trace_id": "traceId", "span_id": "spanId", "flags": "flags"}
    fields |= {name: record[field] for name, field in ids.items() if field in record}
    attributes = {**added, **resource, **record["scope"]["attributes"], **record["attributes"]}
    whole = fields | {_name(key): value for key, value in attributes.items()}
    assert len(whole) == len(fields) + len(attributes), "two names became one"
    assert entry.metadata.keys() == whole.keys()
    assert {name: _read(value, type(whole[name])) for name, value in entry.metadata.items()} == whole


def _name(key: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", key)


def _read(text: str, kind: type) -> object:
    """Return what a text of Loki says, read as the type that the record has."""
    if kind is bool:
        return {"true": True, "false": False}[text]
    return kind(text)
