"""Values, attributes, resources and scopes as OTLP JSON.

64-bit integers are strings, ids lower-case hex, enums numbers; what is zero or empty is left out.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

JSON = dict[str, Any]
Signal = Literal["logs", "traces"]
encode = msgspec.json.Encoder().encode


def any_value(value: Any) -> JSON:  # noqa: ANN401, PLR0911 - whatever an attribute may hold, one return for each case
    """Return the AnyValue of a Python attribute value; raises TypeError for one that OTLP has no form for."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else _not_finite(value)}
        case str():
            return {"stringValue": value.encode("utf-8", "replace").decode()}  # a lone surrogate has no UTF-8 form
        case list() | tuple():
            return {"arrayValue": {"values": [any_value(item) for item in value]} if value else {}}
        case bytes():
            return {"bytesValue": b64encode(value).decode()}
        case Mapping():
            return {"kvlistValue": {"values": attributes(value)} if value else {}}
        case None:
            return {}
    msg = f"no OTLP value for {type(value).__name__}"
    raise TypeError(msg)


def attributes(pairs: Mapping[str, Any]) -> list[JSON]:
    """Return the KeyValue list of a mapping."""
    return [{"key": key, "value": any_value(value)} for key, value in pairs.items()]


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def resource_json(resource: Resource) -> JSON:
    """Return what stands beside the scopes in a line: the resource and its schema."""
    entry: JSON = {"resource": {"attributes": attributes(resource.attributes)}}
    return entry | ({"schemaUrl": resource.schema_url} if resource.schema_url else {})


def scope_json(name: str, version: str | None, pairs: Mapping[str, Any] | None = None) -> JSON:
    """Return an InstrumentationScope."""
    scope: JSON = {"name": name}
    if version:
        scope["version"] = version
    if pairs:
        scope["attributes"] = attributes(pairs)
    return scope
