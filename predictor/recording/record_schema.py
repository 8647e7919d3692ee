"""The record's schema: THE table of attributes, and the attributes, body and severity of a prediction.

`encoder.py` writes the same as bytes, faster; a test holds the two equal, and another holds docs/record.md to TABLE.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from predictor.recording.record_inputs import INPUT, input_attributes, key_attribute
from predictor.recording.record_model import VALUE, Schema, schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.result import Feedback, Prediction

__all__ = ["Schema", "schema_of"]

SCHEMA_VERSION = 1
EVENT_NAME = "prediction"
FEEDBACK_EVENT = "prediction.feedback"
MODEL_EVENT = "prediction.model"
"""What a model is: once a stream before its first record, and again each hour while it is used."""
CHECK_EVENT = "prediction.check"
"""What `predictor check` sends through the whole chain; it belongs to no stream, so readers of the log pass it over."""
SCOPE_NAME = "predictor"
VALUES = 32
"""Numbers of an answer that have attributes of their own; more are one JSON text."""
TOP = 10


class Attribute(NamedTuple):
    """One line of the published table."""

    name: str
    type: str
    meaning: str


TABLE: tuple[Attribute, ...] = (
    Attribute("prediction.stream.sequence", "int", "1, 2, 3 … over all records of the stream"),
    Attribute("prediction.job_id", "string", "the request, a UUIDv7"),
    Attribute("prediction.id", "string", "the caller's own id of the request, from its body"),
    Attribute("prediction.index", "int", "the row in the request, from 0; absent if the rows were never known"),
    Attribute("prediction.rows", "int", "how many rows the record is about, from that one on; absent if it is one"),
    Attribute("prediction.key", "string", "the caller's own key of the row, if `model.toml` has one"),
    Attribute("prediction.hashed_key", "string", "a keyed hash instead, if `model.toml` asks for it"),
    Attribute("prediction.input.<feature>", "any", "the feature as received: double, int, bool or string (256 bytes)"),
    Attribute("prediction.hashed_input.<feature>", "string", "a keyed hash instead, if `model.toml` asks for it"),
    Attribute("prediction.missing", "string", "the features that were missing (`null`), as a JSON array; else absent"),
    Attribute(
        "prediction.input_json",
        "string",
        "over 32 features, or a text over 256 bytes: the row as a JSON array, at most 32 KiB",
    ),
    Attribute("prediction.input_truncated", "bool", "true if `prediction.input_json` has not all values"),
    Attribute("prediction.input_sha256", "string", "of the whole JSON array, if it has not all values"),
    Attribute("prediction.inputs", "string", "many rows, or tensors: the inputs as JSON, see below"),
    Attribute("prediction.outputs", "string", "many rows, or tensors: the outputs, likewise"),
    Attribute("prediction.values", "string", "many rows: the numbers other than probabilities, by name"),
    Attribute("prediction.labels", "string", "many rows: the label of each, as a JSON array"),
    Attribute("prediction.label_counts", "string", "many rows: how many have each label, as a JSON object"),
    Attribute("prediction.outlier_scores", "string", "many rows: the detector's score of each, as a JSON array"),
    Attribute("prediction.outliers", "string", "many rows: the rows in the request that are outliers, as a JSON array"),
    Attribute(
        "prediction.output",
        "string",
        "the probabilities as a JSON array, in the order of the labels; over 32 values: these",
    ),
    Attribute(
        "prediction.output_top", "string", "over 500 labels, instead: ten pairs of label and probability, largest first"
    ),
    Attribute("prediction.output_sha256", "string", "over 500 labels: of the JSON array of all probabilities"),
    Attribute("prediction.hashed_output", "string", "a keyed hash instead, if `model.toml` asks for it"),
    Attribute("prediction.label", "string", "the model's answer: the most probable class, or the model's own label"),
    Attribute("prediction.hashed_label", "string", "a keyed hash instead, if `model.toml` asks for it"),
    Attribute("prediction.confidence", "double", "the probability of that class; absent if the model gives none"),
    Attribute("prediction.value", "double", "the model's answer, if that is one number"),
    Attribute("prediction.value.<name>", "double", "one of its numbers: a target, a quantile, a score, a label's"),
    Attribute("prediction.outlier", "bool", "the detector's verdict; absent without a detector"),
    Attribute("prediction.outlier_score", "double", "the detector's score; absent without a detector"),
    Attribute("prediction.duration.queue", "double", "seconds from arrival to the start of the batch"),
    Attribute("prediction.duration.inference", "double", "seconds that the batch ran"),
    Attribute("prediction.duration.total", "double", "seconds from arrival to the writing of the record"),
    Attribute("prediction.batch.size", "int", "rows in the batch that it was in"),
    Attribute("prediction.request_id", "string", "the caller's `X-Request-Id`, if it sent a usable one"),
    Attribute("http.route", "string", "the path's pattern"),
    Attribute("prediction.kept", "string", "why a span exists: `head`, `outlier`, `error`, `slow`; else absent"),
    Attribute("error.type", "string", "on failure only: the last word of the problem's `type`"),
    Attribute("event.name", "string", "`prediction`; again as an attribute, since Loki drops the field"),
)

FEEDBACK: tuple[Attribute, ...] = (
    TABLE[0],
    Attribute("prediction.job_id", "string", "the request that the feedback is about, as the caller named it"),
    Attribute("prediction.index", "int", "the row in that request, from 0"),
    Attribute("prediction.key", "string", "instead of both: the key of the rows that the feedback is about"),
    Attribute("prediction.hashed_key", "string", "a keyed hash instead, if `model.toml` asks for it"),
    Attribute("prediction.feedback.label", "string", "the true class; one of the model's labels"),
    Attribute("prediction.feedback.value", "double", "a number instead: a score, a cost, an amount"),
    Attribute("prediction.feedback.comment", "string", "a remark, instead or in addition"),
    Attribute("prediction.request_id", "string", "the caller's `X-Request-Id`, if it sent a usable one"),
    Attribute("http.route", "string", "the path's pattern"),
    Attribute("event.name", "string", "`prediction.feedback`"),
)
"""What a caller says later of a prediction."""

MODEL_TABLE: tuple[Attribute, ...] = (
    TABLE[0],
    Attribute("prediction.model.task", "string", "`classification`, `regression` or `tensors`"),
    Attribute("prediction.model.runtime", "string", "ONNX Runtime and its version"),
    Attribute("prediction.model.provider", "string", "the execution provider that comes first"),
    Attribute(
        "prediction.model.signature",
        "string",
        "features, labels, values, inputs and outputs as a JSON object, see below",
    ),
    Attribute("event.name", "string", "`prediction.model`"),
)
"""What a stream says of a model; name, version and digest are its scope's."""

CHECK: tuple[Attribute, ...] = (Attribute("event.name", "string", "`prediction.check`"),)
"""What the record of `predictor check` has; no number, since it belongs to no stream."""

INFO, WARN, ERROR = (9, "INFO"), (13, "WARN"), (17, "ERROR")
"""Severity number and text."""


def attributes(schema: Schema, prediction: Prediction) -> dict[str, Any]:
    """Return the record's attributes, all but the sequence."""
    origin, error = prediction.origin, prediction.error
    pairs: dict[str, Any] = {
        "prediction.job_id": prediction.job_id,
        "prediction.id": origin.infer_id,
        "prediction.index": prediction.index,
        "prediction.rows": prediction.rows,
    }
    if prediction.tensors is not None:
        pairs |= {"prediction.inputs": prediction.tensors.inputs, "prediction.outputs": prediction.tensors.outputs}
    if prediction.features is not None:
        pairs |= input_attributes(schema, prediction.features)
    if error is None:
        pairs |= _answer(schema, prediction)
    pairs |= {
        "prediction.duration.queue": prediction.queue,
        "prediction.duration.inference": prediction.inference,
        "prediction.duration.total": prediction.total,
        "prediction.batch.size": prediction.batch_size,
        "prediction.request_id": origin.request_id,
        "http.route": origin.route,
        "prediction.kept": origin.kept,
        "error.type": error.word if error else None,
        "event.name": EVENT_NAME,
    }
    return _held(pairs)


def _held(pairs: dict[str, Any]) -> dict[str, Any]:
    """Return what a record has of these: no text that is empty, unless it is a feature's."""
    return {
        name: value for name, value in pairs.items() if value is not None and (value != "" or name.startswith(INPUT))
    }


def _answer(schema: Schema, prediction: Prediction) -> dict[str, Any]:
    """Return what may be logged of an answer; the verdict of the detector is logged whatever is redacted."""
    redaction = schema.redaction
    mode = redaction.outputs if redaction else "keep"
    verdict = {"prediction.outlier": prediction.outlier}
    if mode == "drop":
        return verdict
    label, score = schema.label(prediction), prediction.score
    numbers = prediction.values if prediction.probabilities is None else prediction.probabilities
    if redaction and mode == "hash":
        output = None if numbers is None else redaction.hash_output(msgspec.json.encode(numbers))
        hashed = None if label is None else redaction.hash_label(label)
        return {"prediction.hashed_output": output, "prediction.hashed_label": hashed} | verdict
    if redaction and mode == "round":
        numbers = None if numbers is None else [round(each, redaction.decimals) for each in numbers]
        score = None if score is None else round(score, redaction.decimals)
    return {**_said(schema, prediction, label, numbers), **verdict, "prediction.outlier_score": score}


def _said(schema: Schema, prediction: Prediction, label: str | None, numbers: Sequence[float] | None) -> dict[str, Any]:
    """Return label and numbers as a record has them."""
    if prediction.probabilities is not None and numbers is not None and isinstance(prediction.label, int):
        output = _most_probable(schema, numbers) if schema.many else {"prediction.output": _json(numbers)}
        return {**output, "prediction.label": label, "prediction.confidence": numbers[prediction.label]}
    if numbers is None or len(numbers) <= VALUES:
        return {"prediction.label": label, **dict(zip(schema.values, numbers or (), strict=False))}
    return {"prediction.output": _json(numbers), "prediction.label": label}


def _most_probable(schema: Schema, probabilities: Sequence[float]) -> dict[str, Any]:
    order = sorted(range(len(probabilities)), key=lambda place: -probabilities[place])[:TOP]
    top = [[schema.labels[place], probabilities[place]] for place in order]
    whole = msgspec.json.encode(probabilities)
    return {"prediction.output_top": _json(top), "prediction.output_sha256": hashlib.sha256(whole).hexdigest()}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def answer(schema: Schema, prediction: Prediction) -> dict[str, Any]:
    """Return label, confidence and single value, as far as they may be told to whoever reads the log."""
    found = {} if prediction.error else _answer(schema, prediction)
    names = ("prediction.label", "prediction.confidence", VALUE)
    return {name: found[name] for name in names if found.get(name) is not None}


def body(schema: Schema, prediction: Prediction) -> str:
    """Return the display line, e.g. `setosa 0.971 iris@1 job=0192… 1.2 ms`."""
    tail = f"{schema.model} job={prediction.job_id} {prediction.total * 1000:.1f} ms"
    if prediction.error:
        return f"{prediction.error.word} {tail}"
    mark = "OUTLIER " if prediction.outlier else ""
    said = headline(schema, prediction)
    return f"{mark}{said} {tail}" if said else mark + tail


def headline(schema: Schema, prediction: Prediction) -> str:
    """Return the answer as a person reads it first: a label with its probability, a number, or some of several."""
    if schema.redaction and schema.redaction.outputs != "keep":
        return _redacted_headline(schema, prediction)
    if schema.gives == "tensors":
        return "1 row" if prediction.rows == 1 else f"{prediction.rows} rows"
    label, values = schema.label(prediction), prediction.values
    if prediction.probabilities is not None and isinstance(prediction.label, int):
        return f"{label} {prediction.probabilities[prediction.label]:.3f}"
    return label if label is not None else _shown(schema, values or ())


def _redacted_headline(schema: Schema, prediction: Prediction) -> str:
    found = _answer(schema, prediction)
    label, confidence = found.get("prediction.label"), found.get("prediction.confidence")
    if label is not None:
        return str(label) if confidence is None else f"{label} {confidence:.3f}"
    return _shown(schema, [found[name] for name in schema.values if name in found])


def _shown(schema: Schema, values: Sequence[float]) -> str:
    if len(values) < 2:  # noqa: PLR2004 - one needs no name
        return "".join(f"{value:.6g}" for value in values)
    names = [name.removeprefix(f"{VALUE}.") for name in schema.values[:_SHOWN]]
    shown = " ".join(f"{name}={value:.6g}" for name, value in zip(names, values, strict=False))
    return f"{shown} …" if len(values) > _SHOWN else shown


_SHOWN = 4
"""Numbers of an answer that the display line has."""


def severity(prediction: Prediction) -> tuple[int, str]:
    """Return INFO; WARN for an outlier or a 4xx; ERROR for a 5xx."""
    if prediction.error:
        return ERROR if prediction.error.status >= 500 else WARN  # noqa: PLR2004 - HTTP's own classes
    return WARN if prediction.outlier else INFO


def feedback_attributes(schema: Schema, feedback: Feedback) -> dict[str, Any]:
    """Return the attributes of a feedback record, all but the sequence."""
    pairs = {
        "prediction.job_id": feedback.job_id,
        "prediction.index": feedback.index,
        **({} if feedback.key is None else key_attribute(schema, feedback.key)),
        "prediction.feedback.label": feedback.label,
        "prediction.feedback.value": feedback.value,
        "prediction.feedback.comment": feedback.comment,
        "prediction.request_id": feedback.origin.request_id,
        "http.route": feedback.origin.route,
        "event.name": FEEDBACK_EVENT,
    }
    return _held(pairs)


def feedback_body(schema: Schema, feedback: Feedback) -> str:
    """Return the display line, e.g. `feedback virginica iris@1 job=0192… row 0`; never a comment: it may be long."""
    said = feedback.label or ("comment" if feedback.value is None else f"{feedback.value:g}")
    if feedback.key is None:
        return f"feedback {said} {schema.model} job={feedback.job_id} row {feedback.index}"
    (key,) = key_attribute(schema, feedback.key).values()
    return f"feedback {said} {schema.model} key={key}"
