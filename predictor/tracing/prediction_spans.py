"""The spans of a prediction as bytes: `predict` under the server span, `queue` and `inference` under it.

All of them is known at once, so they are written directly. What the spans of one kind of prediction have in common is
encoded once: as objects they cost as much as the record and its row together.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import StatusCode

from predictor import otlp
from predictor.core import ids
from predictor.recording import record_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.result import Kept, Prediction
    from predictor.otlp import JSON
    from predictor.recording.record_schema import Schema

_QUEUE, _INFERENCE = (otlp.span_rest({"name": name, "kind": 1}) for name in ("queue", "inference"))  # 1: internal
_PREDICT = (
    b'"name":"predict","kind":1,"attributes":[{"key":"prediction.job_id","value":{"stringValue":"%%b"}},'
    b'%b,{"key":"prediction.batch.size","value":{"intValue":"%%d"}},'
    b'%b,{"key":"prediction.confidence","value":{"doubleValue":%%b}}]}'
)
"""Filled in twice: %b is what the spans of one kind have in common, what is doubled (%%b) each one's own."""


def spans_of(schema: Schema, predictions: Sequence[Prediction]) -> list[bytes]:
    """Return the spans of a request's predictions, under its server span."""
    first = predictions[0]
    origin = first.origin
    trace_id, begin = origin.trace_id, origin.received_ns
    span_id = ids.span_id()
    whole = (begin, begin + _ns(first.total))
    found = [otlp.span_bytes(trace_id, span_id, origin.span_id, whole, _predict(schema, predictions))]
    if first.queue is not None and first.inference is not None:
        started = begin + _ns(first.queue)
        finished = started + _ns(first.inference)
        for times, rest in (((begin, started), _QUEUE), ((started, finished), _INFERENCE)):
            found.append(otlp.span_bytes(trace_id, ids.span_id(), span_id, times, rest))
    return found


def _predict(schema: Schema, predictions: Sequence[Prediction]) -> bytes:
    """Return `predict` without ids and times."""
    first = predictions[0]
    ordinary = schema.gives == "probabilities" and not (schema.redaction or schema.many)
    if len(predictions) > 1 or first.error or not ordinary or not first.probabilities:
        return otlp.span_rest(fields_of_predict(schema, predictions))
    number = int(first.label or 0)
    template = _template(schema.model, schema.labels[number], first.origin.kept, first.outlier)
    return template % (first.job_id.encode(), first.batch_size or 0, otlp.encode(first.probabilities[number]))


@lru_cache(256)
def _template(model: str, label: str, kept: Kept | None, outlier: bool | None) -> bytes:  # noqa: FBT001
    """Return the `predict` of one row of a kind, with places for its job, its batch and its confidence."""
    pairs = {"prediction.kept": kept, "prediction.outlier": outlier, "prediction.label": label}
    return _PREDICT % (
        _constant({"prediction.model": model, "prediction.rows": 1}),
        _constant({name: value for name, value in pairs.items() if value is not None}),
    )


def _constant(pairs: dict[str, Any]) -> bytes:
    """Return attributes as they stand in a template."""
    return otlp.encode(otlp.attributes(pairs))[1:-1].replace(b"%", b"%%")


def fields_of_predict(schema: Schema, predictions: Sequence[Prediction]) -> JSON:
    """Return `predict` without ids and times: label and confidence if there is one row; never the features."""
    first = predictions[0]
    pairs: dict[str, Any] = {
        "prediction.job_id": first.job_id,
        "prediction.model": schema.model,
        "prediction.rows": sum(each.rows or 1 for each in predictions),
        "prediction.batch.size": first.batch_size,
        "prediction.kept": first.origin.kept,
        "error.type": first.error.word if first.error else None,
    }
    if first.outlier is not None:
        pairs["prediction.outlier"] = any(prediction.outlier for prediction in predictions)
    if len(predictions) == 1:
        pairs |= record_schema.answer(schema, first)
    attributes = otlp.attributes({name: value for name, value in pairs.items() if value is not None})
    failed: JSON = {"status": {"code": StatusCode.ERROR.value}} if first.error else {}
    return {"name": "predict", "kind": 1, "attributes": attributes} | failed  # 1: internal


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
