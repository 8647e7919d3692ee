"""The inputs of a prediction as attributes of its record."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.features import Value
    from predictor.recording.record_model import Schema

INPUT_JSON_BYTES = 32 << 10
"""Half of what Loki takes as attributes of one record (64 KB)."""
TEXT_BYTES = 256
"""Of a text in an attribute of its own; a row with a longer one is also there as one JSON text."""
INPUT, HASHED = "prediction.input.", "prediction.hashed_input."
KEY, HASHED_KEY = "prediction.key", "prediction.hashed_key"
_LARGEST_INT = 2**63 - 1


def input_attributes(schema: Schema, features: Sequence[Value]) -> dict[str, Any]:
    """Return one attribute a feature, or the JSON form of a row that is wide or has long texts."""
    redaction = schema.redaction
    pairs: dict[str, Any] = {}
    if schema.key and len(features) > len(schema.features):
        pairs = key_attribute(schema, features[-1])
        features = features[:-1]
    row = redaction.of(features) if redaction else features
    dropped = redaction.dropped if redaction else frozenset()
    hashed = redaction.hashed if redaction else {}
    long = False
    for place, value in enumerate(() if schema.wide else row):
        if value is None:
            continue
        if isinstance(value, str) and len(value) * 4 > TEXT_BYTES and place not in hashed:
            text = _beginning(value)
            long = long or text != value
            pairs[INPUT + schema.features[place]] = text
        else:
            pairs[(HASHED if place in hashed else INPUT) + schema.features[place]] = _fitting(value)
    if not schema.plain:
        missing = [schema.features[at] for at, value in enumerate(features) if value is None and at not in dropped]
        if missing:
            pairs["prediction.missing"] = msgspec.json.encode(missing).decode()
    return pairs | (_as_json(row) if long or schema.wide else {})


def key_attribute(schema: Schema, key: Value) -> dict[str, Any]:
    """Return the caller's key as a record has it, or its hash."""
    if schema.redaction and schema.redaction.key_hashed:
        return {HASHED_KEY: schema.redaction.hash(schema.key or "", str(key))}
    return {KEY: str(key)}


def _fitting(value: Value) -> Value:
    """Return a value that an attribute can hold: OTLP has 64-bit integers with a sign."""
    return str(value) if isinstance(value, int) and value > _LARGEST_INT else value


def _beginning(text: str) -> str:
    """Return as much of a text as an attribute of its own may hold."""
    return text.encode()[:TEXT_BYTES].decode(errors="ignore")


def _as_json(row: Sequence[Value]) -> dict[str, Any]:
    whole = msgspec.json.encode(row)
    if len(whole) <= INPUT_JSON_BYTES:
        return {"prediction.input_json": whole.decode()}
    held, size = [], 1
    for value in map(msgspec.json.encode, row):
        size += len(value) + 1
        if size > INPUT_JSON_BYTES:
            break
        held.append(value)
    return {
        "prediction.input_json": f"[{b','.join(held).decode()}]",
        "prediction.input_truncated": True,
        "prediction.input_sha256": hashlib.sha256(whole).hexdigest(),
    }
