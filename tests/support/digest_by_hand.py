"""Digests as a stranger computes them who has read docs/evidence.md: with the standard library, not with our code."""

from __future__ import annotations

import hashlib
import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

JSON = dict[str, Any]
_FIELDS = (
    "severityText",
    "severityNumber",
    "timeUnixNano",
    "observedTimeUnixNano",
    "body",
    "eventName",
    "traceId",
    "spanId",
    "flags",
)
_UNCOVERED = ("prediction.stream.digest", "prediction.stream.digest.signature")
_SCOPE = (
    *(f"prediction.model.{part}" for part in ("name", "version", "digest")),
    *("prediction.redaction", "prediction.redaction.outputs", "prediction.redaction.key_id"),
    *("prediction.schema_version", "prediction.stream.id"),
)


def number(value: float) -> str:
    """Return a double: the fewest digits that give it again, with a point from 1e-5 to below 1e16, else an exponent."""
    if not value:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    point = len(digits) + int(exponent)
    minus = "-" * sign
    if 0 < point <= 16:
        return f"{minus}{text[:point].ljust(point, '0')}.{text[point:] or '0'}"
    if -5 < point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    return f"{minus}{text[0]}{'.' if text[1:] else ''}{text[1:]}e{point - 1}"


def content(record: JSON, without: tuple[str, ...] = ()) -> bytes:
    """Return the canonical content of a record of OTLP JSON."""
    pairs = [
        f'{{"key":{_text(pair["key"])},"value":{_value(pair["value"])}}}'
        for pair in record["attributes"]
        if (pair["key"].startswith("prediction.") or pair["key"] in {"http.route", "error.type", "event.name"})
        and pair["key"] not in without
    ]
    fields = [
        f'"{name}":{_value(record[name]) if name == "body" else _text(record[name])}'
        for name in _FIELDS
        if record.get(name)
    ]
    return f'{{"attributes":[{",".join(pairs)}],{",".join(fields)}}}'.replace("\ufffd", " ").encode()


def scope_digest(scope: JSON) -> bytes:
    """Return the digest of a scope."""
    held = {pair["key"]: pair["value"] for pair in scope["attributes"]}
    pairs = [f'{{"key":{_text(name)},"value":{_value(held[name])}}}' for name in _SCOPE if name in held]
    return hashlib.sha256(f"[{','.join(pairs)}]".replace("\ufffd", " ").encode()).digest()


def record_digest(scope: JSON, record: JSON, without: tuple[str, ...] = ()) -> bytes:
    """Return the digest of a record."""
    return hashlib.sha256(scope_digest(scope) + content(record, without)).digest()


def checkpoint_digest(previous: bytes, before: Sequence[tuple[JSON, JSON]], scope: JSON, own: JSON) -> bytes:
    """Return the digest of a checkpoint after records, each with its scope, in the order of their numbers."""
    digests = [record_digest(*each) for each in before]
    return hashlib.sha256(b"".join([previous, *digests, record_digest(scope, own, _UNCOVERED)])).digest()


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _value(value: JSON) -> str:
    ((kind, content),) = value.items()
    written = number(float(content)) if kind == "doubleValue" else _text(content)
    return f'{{"{kind}":{written}}}'
