"""The calls that predict as one model version has them: what each takes and answers, and an example that works."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from predictor.api.openapi import v2_messages
from predictor.api.openapi.examples import EXAMPLE_VALUES, tensors_of
from predictor.api.openapi.values import answered, closed, nested, row, value
from predictor.api.pattern.predict import ManyRows, OneRow
from predictor.api.pattern.tensors import Answered
from predictor.api.tensor_requests import TensorRequests
from predictor.api.v1 import predict as v1
from predictor.api.v2 import infer as v2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from predictor.api.dataplane import CallKey
    from predictor.api.openapi.values import Schema
    from predictor.inference.manifest import Manifest
    from predictor.inference.model import Model

COMPONENTS = "#/components/schemas/"
_HASH_DIGITS = 6


class CallSchema(NamedTuple):
    """One call of one model version."""

    summary: str
    request: Schema | None
    """Of the body; None where none is taken."""
    answer: Schema | None
    """None where the model refuses every request of this form."""
    examples: Mapping[str, object] = {}
    """Bodies that the model takes."""
    binary: bool = False
    """Whether data may stand behind the JSON, in the request and in the answer."""


class ModelCalls(NamedTuple):
    """All calls of one model version."""

    schemas: Mapping[str, Schema] = {}
    """Those that the calls share, by their names among the components of the document."""
    calls: Mapping[CallKey, CallSchema] = {}


def model_calls(model: Model, batch_rows: int) -> ModelCalls:
    """Return the calls of a loaded model; a request may have so many rows."""
    about = model.description
    name = component_name(about.name, about.version)
    if model.tensors:
        schemas, calls = _of_tensors(model, name, batch_rows)
    else:
        schemas, calls = _of_rows(about, name, batch_rows)
    inputs = tensors_of(model)
    requests = TensorRequests(model, batch_rows)
    key = about.key.column if about.key else None
    rows = batch_rows if model.tensors is None or model.tensors.row_axis else None
    whole = CallSchema(
        f"Outputs of {about.name} for named tensors",
        v2_messages.request([*requests.inputs.values()], model.own_outputs, model.shapeless, rows, key),
        v2_messages.answer(about.name, about.version, model.own_outputs),
        {} if inputs is None else {"tensors": v2_messages.example(inputs)},
        binary=True,
    )
    calls |= {v1.CALLS[0]: _instances(model, name, batch_rows, calls["POST", "/predict"])}
    return ModelCalls(schemas, calls | dict.fromkeys(v2.CALLS, whole))


def component_name(*names: str) -> str:
    """Return a name that a component may have, made of names that may be any text."""
    whole = ".".join(names)
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", whole)
    return safe if safe == whole else f"{safe}.{hashlib.sha256(whole.encode()).hexdigest()[:_HASH_DIGITS]}"


def message_schemas(*types: type) -> dict[str, Schema]:
    """Return the schemas of message types by their names, with those that they refer to."""
    _, found = msgspec.json.schema_components(types, ref_template=COMPONENTS + "{name}")
    return found


MESSAGES: dict[str, Schema] = message_schemas(OneRow, ManyRows, Answered)
"""What every model's answers are made of."""


def _of_rows(about: Manifest, name: str, most: int) -> tuple[dict[str, Schema], dict[CallKey, CallSchema]]:
    key = about.key.place if about.key else None
    schemas = {f"{name}.Row": row(about.columns, key)}
    row_ref = {"$ref": f"{COMPONENTS}{name}.Row"}
    samples = [each.sample for each in about.columns]
    examples: dict[str, object] = {}
    if len(samples) <= EXAMPLE_VALUES:
        named = {each.name: each.sample for each in about.columns}
        examples = {"arrays": {"data": [samples]}, "objects": {"data": [named]}}
    numbers = "Numbers" if about.gives == "values" else "Probabilities"
    one, many = (_body("data", row_ref, rows) for rows in (1, most))
    answer = _answer("OneRow", about, _prediction(about))
    batch = closed({"job_id": {"type": "string"}, "predictions": _list(_answer("BatchRow", about, _prediction(about)))})
    calls = {
        ("POST", "/predict"): CallSchema(f"{numbers} of one row", one, answer, examples),
        ("POST", "/predict/batch"): CallSchema(f"{numbers} of several rows", many, batch, examples),
        ("GET", "/predict/test"): CallSchema(f"{numbers} of the model's sample", None, answer),
    }
    if about.gives != "values":
        label = _answer("OneRow", about, {"type": "string"} | ({"enum": [*about.labels]} if about.labels else {}))
        calls["POST", "/predict/label"] = CallSchema("The label of one row", one, label, examples)
        calls["GET", "/predict/test/label"] = CallSchema("The label of the model's sample", None, label)
    return schemas, calls


def _of_tensors(model: Model, name: str, most: int) -> tuple[dict[str, Schema], dict[CallKey, CallSchema]]:
    taken = model.tensors
    assert taken is not None  # noqa: S101 - tells mypy: asked before
    inputs = {
        spec.name: {} if spec.name in model.shapeless else nested(value(spec.datatype), spec.shape)
        for spec in model.signature.inputs
    }
    if taken.row_axis:
        inputs = {key: each | {"minItems": 1, "maxItems": most} if each else each for key, each in inputs.items()}
    schemas = {f"{name}.Inputs": closed(inputs)}
    request = {
        "type": "object",
        "properties": {"inputs": {"$ref": f"{COMPONENTS}{name}.Inputs"}},
        "required": ["inputs"],
    }
    outputs = closed({spec.name: answered(spec) for spec in model.own_outputs})
    answer = {"allOf": [{"$ref": f"{COMPONENTS}Answered"}, {"properties": {"outputs": outputs}}]}
    sample = tensors_of(model)
    examples = {} if sample is None else {"tensors": {"inputs": {each.name: each.nested for each in sample}}}
    calls = {("POST", "/predict"): CallSchema("The outputs for small tensors", request, answer, examples)}
    if taken.sample is not None:
        calls["GET", "/predict/test"] = CallSchema("The outputs for the model's sample", None, answer)
    return schemas, calls


def _instances(model: Model, name: str, most: int, pattern: CallSchema) -> CallSchema:
    """Return KServe's call: instances, and a prediction for each of them."""
    summary = f"A prediction of {model.description.name} for each instance"
    outputs = model.own_outputs
    parts = {spec.name: answered(spec, row=True) for spec in outputs}
    prediction = parts[outputs[0].name] if len(outputs) == 1 else closed(parts)
    answer = closed({"predictions": _list(prediction)})
    if model.tensors is None:
        bodies = {key: {"instances": body["data"]} for key, body in pattern.examples.items() if isinstance(body, dict)}
        return CallSchema(summary, _body("instances", {"$ref": f"{COMPONENTS}{name}.Row"}, most), answer, bodies)
    specs = model.signature.inputs
    if not model.tensors.row_axis:
        return CallSchema(summary, _body("instances", {}, most), None)
    values = {spec.name: nested(value(spec.datatype, missing=True), spec.shape[1:]) for spec in specs}
    instance = values[specs[0].name] if len(specs) == 1 else {**closed(values), "additionalProperties": True}
    examples: dict[str, object] = {}
    if (sample := tensors_of(model)) is not None:
        rows = [each.nested for each in sample]
        instances = rows[0] if len(rows) == 1 else _objects([each.name for each in sample], rows)
        examples = {"instances": {"instances": instances}}
    return CallSchema(summary, _body("instances", instance, most), answer, examples)


def _objects(names: Sequence[str], columns: Sequence[Any]) -> list[dict[str, Any]]:
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _prediction(about: Manifest) -> Schema:
    if about.gives == "label":
        return {"type": "array", "items": {"type": "number"}} if about.values else {"type": "string"}
    count = len(about.labels) if about.gives == "probabilities" else len(about.values)
    return {"type": "array", "items": {"type": "number"}, "minItems": count, "maxItems": count}


def _answer(message: str, about: Manifest, prediction: Schema) -> Schema:
    """Return a message of the pattern with what this model says in it."""
    verdict, score = ("boolean", "number") if about.outlier else ("null", "null")
    fields: Schema = {"prediction": prediction, "is_outlier": {"type": verdict}, "outlier_score": {"type": score}}
    return {"allOf": [{"$ref": f"{COMPONENTS}{message}"}, {"properties": fields}]}


def _body(field: str, item: Schema, most: int) -> Schema:
    rows = {"type": "array", "items": item, "minItems": 1, "maxItems": most}
    return {"type": "object", "properties": {field: rows}, "required": [field]}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}
