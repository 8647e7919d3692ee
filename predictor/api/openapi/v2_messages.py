"""The Open Inference Protocol's messages as one model has them: its names, data types and shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from predictor.api.openapi.values import FREE, answered_value, closed, column_value, nested, value
from predictor.api.v2.messages import MOST_ID, REFUSED

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from predictor.api.openapi.examples import ExampleTensor
    from predictor.api.openapi.values import Schema
    from predictor.core.features import Feature
    from predictor.inference.signature import TensorSpec

PARAMETERS = "InferParameters"
OPTIONAL_PARAMETERS = {"anyOf": [{"$ref": f"#/components/schemas/{PARAMETERS}"}, {"type": "null"}]}
SHARED: dict[str, Schema] = {
    PARAMETERS: {
        "description": "Hints, of which those that would change what an answer means are refused",
        "type": "object",
        "propertyNames": {"not": {"enum": sorted(REFUSED)}},
    }
}
"""The schema that every model's messages refer to."""
_AXIS = {"type": "integer", "minimum": 0}
_SIZE = closed({"binary_data_size": _AXIS})


def request(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    shapeless: Collection[str],
    most: int | None,
    key: Feature | None = None,
) -> Schema:
    """Return a request to infer; `most` rows may come at once, None if the inputs have no axis of rows.

    With `key` there may be one input more, of the caller's keys.
    """
    tensors = [_input(spec, any_shape=spec.name in shapeless, most=most) for spec in inputs]
    if key:
        tensors.append(_keys(key, most))
    wanted = {
        "type": "object",
        "properties": {"name": {"enum": [spec.name for spec in outputs]}, "parameters": OPTIONAL_PARAMETERS},
        "required": ["name"],
    }
    return {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "null"], "maxLength": MOST_ID},
            "parameters": OPTIONAL_PARAMETERS,
            "inputs": {
                "type": "array",
                "items": tensors[0] if len(tensors) == 1 else {"anyOf": tensors},
                "minItems": len(inputs),
                "maxItems": len(tensors),
            },
            "outputs": {"anyOf": [{"type": "array", "items": wanted}, {"type": "null"}]},
        },
        "required": ["inputs"],
    }


def answer(name: str, version: str, outputs: Sequence[TensorSpec]) -> Schema:
    """Return an answer with some of a model's outputs."""
    parts = [_output(spec) for spec in outputs]
    return closed(
        {
            "model_name": {"const": name},
            "model_version": {"const": version},
            "id": {"type": "string", "maxLength": MOST_ID},
            "parameters": closed({"job_id": {"type": "string"}}),
            "outputs": {"type": "array", "items": parts[0] if len(parts) == 1 else {"anyOf": parts}},
        },
        ["model_name", "model_version", "parameters", "outputs"],
    )


def example(tensors: Sequence[ExampleTensor]) -> dict[str, Any]:
    """Return a request in JSON."""
    return {
        "inputs": [
            {"name": each.name, "datatype": each.datatype, "shape": [*each.shape], "data": [*each.flat]}
            for each in tensors
        ]
    }


def _input(spec: TensorSpec, *, any_shape: bool, most: int | None) -> Schema:
    """Return one input; its data is a list, flat or nested, or stands behind the JSON."""
    sizes: list[Schema] = [_AXIS if size == FREE else {"const": size} for size in spec.shape]
    if most is not None and sizes and spec.shape[0] == FREE:
        sizes[0] = {"type": "integer", "minimum": 1, "maximum": most}
    exact: Schema = {"type": "array", "prefixItems": sizes, "items": False, "minItems": len(sizes)}
    if any_shape:
        shape: Schema = {"type": "array", "items": _AXIS}
    elif not sizes:
        shape = {"enum": [[], [1]]}
    else:
        shape = exact
    element = value(spec.datatype, missing=spec.datatype.startswith("FP"))
    # Of each depth, since a list may be flat or nested as the shape is.
    depth = len(spec.shape)
    lists = [nested(element, [FREE] * each) for each in sorted({1, max(depth, 1)})]
    return {
        "type": "object",
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"const": spec.datatype},
            "shape": shape,
            "parameters": OPTIONAL_PARAMETERS,
            "data": {} if any_shape else lists[0] if len(lists) == 1 else {"anyOf": lists},
        },
        "required": ["name", "datatype", "shape"],
    }


def _keys(key: Feature, most: int | None) -> Schema:
    rows = {"type": "integer", "minimum": 1, **({} if most is None else {"maximum": most})}
    element = column_value(key, key=True)
    return {
        "type": "object",
        "properties": {
            "name": {"const": key.name},
            "datatype": {"const": key.datatype},
            "shape": {"type": "array", "prefixItems": [rows, {"const": 1}], "items": False, "minItems": 1},
            "parameters": OPTIONAL_PARAMETERS,
            "data": {"anyOf": [nested(element, [FREE] * depth) for depth in (1, 2)]},
        },
        "required": ["name", "datatype", "shape"],
    }


def _output(spec: TensorSpec) -> Schema:
    fields: dict[str, Schema] = {
        "name": {"const": spec.name},
        "datatype": {"const": spec.datatype},
        "shape": {"type": "array", "items": _AXIS},
    }
    data = {"type": "array", "items": answered_value(spec.datatype)}
    whole = closed(fields | {"data": data})
    behind = closed(fields | {"parameters": _SIZE})
    return {"anyOf": [whole, behind]}
