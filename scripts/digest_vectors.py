#!/usr/bin/env python3
"""Writes docs/schema/digest-vectors-<version>.json: records of many kinds with their digests, to try an implementation.

.venv/bin/python -m scripts.digest_vectors
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from predictor import otlp
from predictor.recording.canonical import LogRecord, canonical, record_digest, scope_digest
from predictor.recording.checkpoints import UNCOVERED, beginning
from predictor.recording.record_schema import SCHEMA_VERSION

FILE = Path(__file__).parent.parent / "docs" / "schema" / f"digest-vectors-{SCHEMA_VERSION}.json"
_STREAM = "0199c82c-c000-7000-8000-000000000001"
_OWN = {"prediction.schema_version": SCHEMA_VERSION, "prediction.stream.id": _STREAM}
_MODEL = {
    "prediction.model.name": "iris",
    "prediction.model.version": "1",
    "prediction.model.digest": "sha256:00ff",
    "prediction.redaction": '{"age":"hash"}',
    "prediction.redaction.key_id": "0123456789abcdef",
}
_LOST = {"first": 5, "last": 6}
_DOUBLES = (1.0, 0.1, -0.0, 5e-324, 1e21, 1e-7, 1e-5, 1e16, 123456789.125, 1.7976931348623157e308)


def vectors() -> dict[str, Any]:
    """Return the content of the file: what a record looks like, what is hashed of it, what comes out."""
    numbers = {f"prediction.value.v{place}": value for place, value in enumerate(_DOUBLES)}
    odd = {
        "prediction.input.text": 'q"\\\n\x01\x7fé\u2028\U0001f600',
        "prediction.input.empty": "",
        "prediction.input.unknown": "a\ufffdb",
        "prediction.input.count": -3,
        "prediction.input.member": True,
    }
    records = [
        _record(1, _OWN, "prediction.stream.opened", {}),
        _record(2, _MODEL | _OWN, "prediction", {"prediction.job_id": "j"} | odd | {"prediction.label": "é"}),
        _record(3, _MODEL | _OWN, "prediction", numbers | {"http.route": "/predict"}, sampled=True),
        _record(
            4, _OWN, "prediction.stream.lost", {"prediction.stream.lost.first": 5, "prediction.stream.lost.last": 6}
        ),
    ]
    says: dict[str, Any] = {
        "prediction.stream.backlog.size": 0,
        "prediction.stream.digest.first": 1,
        "prediction.stream.digest.last": 6,
        "prediction.stream.digest.count": 4,
        "prediction.stream.digest.previous": beginning(_STREAM).hex(),
    }
    own = _record(7, _OWN, "prediction.stream.status", says)
    whole = b"".join([beginning(_STREAM), *(bytes.fromhex(each["digest"]) for each in records)])
    digest = _sha256(whole + bytes.fromhex(own["digest"]))
    own = _record(7, _OWN, "prediction.stream.status", says | {"prediction.stream.digest": digest})
    return {
        "stream": _STREAM,
        "beginning": beginning(_STREAM).hex(),
        "records": [*records, own],
        "checkpoint": {"number": 7, "digest": digest, "signed": f"prediction.stream.digest {digest}"},
    }


def _sha256(content: bytes) -> str:
    return record_digest(b"", content).hex()


def _record(number: int, scope: dict[str, Any], event: str, pairs: dict[str, Any], *, sampled: bool = False) -> Any:  # noqa: ANN401 - JSON
    attributes = {"prediction.stream.sequence": number, **pairs, "event.name": event}
    record: dict[str, Any] = {
        "timeUnixNano": str(1760000000000000000 + number),
        "observedTimeUnixNano": str(1760000000000000100 + number),
        "severityNumber": 9,
        "severityText": "INFO",
        "eventName": event,
        "body": {"stringValue": f"record {number}"},
        "attributes": [*_pairs(attributes), {"key": "k8s.pod.name", "value": {"stringValue": "a Collector's"}}],
    }
    if sampled:
        record |= {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "00f067aa0ba902b7", "flags": 1}
    read = msgspec.convert(record, LogRecord)
    content = canonical(read, without=UNCOVERED)
    return {
        "scope": {"attributes": _pairs(scope)},
        "record": record,
        "scope_digest": scope_digest(scope).hex(),
        "content": content.decode(),
        "digest": record_digest(scope_digest(scope), content).hex(),
    }


def _pairs(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": otlp.any_value(value)} for key, value in values.items()]


def text() -> str:
    """Return the file's content."""
    return json.dumps(vectors(), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"wrote {FILE.name}\n")
