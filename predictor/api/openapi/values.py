"""JSON Schemas of values, rows and tensors, from the data types and shapes that a model has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec

from predictor.api.pattern.rows import OVERFLOW, value_type
from predictor.core.features import LONGEST_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from predictor.core.features import Feature
    from predictor.inference.signature import TensorSpec

    Schema = dict[str, Any]

FREE = -1
DOUBLE: Mapping[str, Any] = {"type": "number", "minimum": -sys.float_info.max, "maximum": sys.float_info.max}
"""A number that is finite as a double."""
_LARGEST = {"UINT64": 2**64 - 1}


def value(datatype: str, *, missing: bool = False) -> Schema:
    """Return what a value of a data type may be; null too if it may be missing."""
    if datatype.startswith("FP"):
        bound = OVERFLOW.get(datatype)
        found = (
            {**DOUBLE} if bound is None else {"type": "number", "exclusiveMinimum": -bound, "exclusiveMaximum": bound}
        )
        return {"anyOf": [found, {"type": "null"}]} if missing else found
    found = msgspec.json.schema(value_type(datatype))
    return found | {"maximum": _LARGEST[datatype]} if datatype in _LARGEST else found


def answered_value(datatype: str) -> Schema:
    """Return what an answered value may be: a number that is not finite is null."""
    if datatype.startswith("FP"):
        return {"type": ["number", "null"]}
    return {"type": {"BOOL": "boolean", "BYTES": "string"}.get(datatype, "integer")}


def nested(element: Schema, shape: Sequence[int]) -> Schema:
    """Return what arrays of a shape are; an axis of any length has no bounds."""
    for size in reversed(shape):
        bounds = {} if size == FREE else {"minItems": size, "maxItems": size}
        element = {"type": "array", "items": element} | bounds
    return element


def answered(spec: TensorSpec, *, row: bool = False) -> Schema:
    """Return what an output is as nested arrays, or its part for a row; sizes are the model's own matter.

    No shape is a scalar's, or that of a file which declares none: anything.
    """
    if not spec.shape:
        return {}
    return nested(answered_value(spec.datatype), [FREE] * (len(spec.shape) - row))


def row(columns: Sequence[Feature], key: int | None) -> Schema:
    """Return what a row is: an array in the order of the columns, or an object by their names."""
    kinds = [column_value(each, key=at == key) for at, each in enumerate(columns)]
    width = len(columns)
    alike = all(kind == kinds[0] for kind in kinds)
    items = {"items": kinds[0]} if alike else {"prefixItems": kinds, "items": False}
    return {
        "anyOf": [
            {"type": "array", "minItems": width, "maxItems": width} | items,
            {
                "type": "object",
                "properties": {each.name: kind for each, kind in zip(columns, kinds, strict=True)},
                "required": [each.name for each in columns if not each.missing],
                "additionalProperties": False,
            },
        ]
    }


def column_value(column: Feature, *, key: bool) -> Schema:
    """Return what a value of a column is, of the caller's key too."""
    found = value(column.datatype, missing=column.missing)
    return found | {"minLength": 1, "maxLength": LONGEST_KEY} if key and column.datatype == "BYTES" else found


def closed(fields: Mapping[str, Schema], required: Sequence[str] | None = None) -> Schema:
    """Return an object of these fields and no others; all of them are required unless it says which."""
    return {
        "type": "object",
        "properties": {**fields},
        "required": [*(fields if required is None else required)],
        "additionalProperties": False,
    }
