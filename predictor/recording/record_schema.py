"""The record's schema: THE table of attributes, and the attributes, body and severity of a prediction.

`encoder.py` writes the same as bytes, faster; a test holds the two equal, and another holds docs/record.md to TABLE.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.core.result import Feedback, Prediction
    from predictor.inference.manifest import Manifest
    from predictor.recording.redaction import Redaction

SCHEMA_VERSION = 1
EVENT_NAME = "prediction"
FEEDBACK_EVENT = "prediction.feedback"
CHECK_EVENT = "prediction.check"
"""What `predictor check` sends through the whole chain; it belongs to no stream, so readers of the log pass it over."""
SCOPE_NAME = "predictor"
WIDE = 32
"""A model with more features than this logs them as one JSON text: Loki takes 128 attributes a record."""
INPUT_JSON_BYTES = 32 << 10
"""Half of what Loki takes as attributes of one record (64 KB)."""


class Attribute(NamedTuple):
    """One line of the published table."""

    name: str
    type: str
    meaning: str


TABLE: tuple[Attribute, ...] = (
    Attribute("prediction.stream.sequence", "int", "1, 2, 3 … over all records of the stream"),
    Attribute("prediction.job_id", "string", "the request, a UUIDv7"),
    Attribute("prediction.index", "int", "the row in the request, from 0; absent if the rows were never known"),
    Attribute("prediction.input.<feature>", "double", "the feature as received"),
    Attribute("prediction.hashed_input.<feature>", "string", "a keyed hash instead, if `model.toml` wants it"),
    Attribute("prediction.input_json", "string", "over 32 features: the row as a JSON array, cut at 32 KiB"),
    Attribute("prediction.input_truncated", "bool", "true if `prediction.input_json` was cut"),
    Attribute("prediction.input_sha256", "string", "of the whole JSON array, if it was cut"),
    Attribute("prediction.output", "string", "the probabilities as a JSON array, in the order of the labels"),
    Attribute("prediction.hashed_output", "string", "a keyed hash instead, if `model.toml` wants it"),
    Attribute("prediction.label", "string", "the model's answer: the most probable class, or the model's own label"),
    Attribute("prediction.hashed_label", "string", "a keyed hash instead, if `model.toml` wants it"),
    Attribute("prediction.confidence", "double", "the probability of that class"),
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
    Attribute("prediction.job_id", "string", "the request that is spoken of, as the caller named it"),
    Attribute("prediction.index", "int", "the row in that request, from 0"),
    Attribute("prediction.feedback.label", "string", "the class that it truly was; one of the model's labels"),
    Attribute("prediction.feedback.value", "double", "a number instead: a score, a cost, an amount"),
    Attribute("prediction.feedback.comment", "string", "a remark, instead or besides"),
    Attribute("prediction.request_id", "string", "the caller's `X-Request-Id`, if it sent a usable one"),
    Attribute("http.route", "string", "the path's pattern"),
    Attribute("event.name", "string", "`prediction.feedback`"),
)
"""What a caller says later of a prediction."""

CHECK: tuple[Attribute, ...] = (Attribute("event.name", "string", "`prediction.check`"),)
"""What the record of `predictor check` has; no number, since it belongs to no stream."""

INFO, WARN, ERROR = (9, "INFO"), (13, "WARN"), (17, "ERROR")
"""Severity number and text."""


class Schema(NamedTuple):
    """What a record needs to know of the model."""

    model: str
    """`name@version`"""
    features: tuple[str, ...]
    labels: tuple[str, ...]
    redaction: Redaction | None = None
    """What is not logged as it is; None if all is."""

    @property
    def wide(self) -> bool:
        """Whether the features are logged as one JSON text."""
        return len(self.features) > WIDE


def schema_of(description: Manifest, redaction: Redaction | None = None) -> Schema:
    """Return what a record needs of a model's description."""
    features = tuple(feature.name for feature in description.features)
    return Schema(f"{description.name}@{description.version}", features, tuple(description.labels), redaction)


def attributes(schema: Schema, prediction: Prediction) -> dict[str, Any]:
    """Return the record's attributes, all but the sequence."""
    origin, error = prediction.origin, prediction.error
    pairs: dict[str, Any] = {"prediction.job_id": prediction.job_id, "prediction.index": prediction.index}
    if prediction.features is not None:
        pairs |= input_attributes(schema, prediction.features)
    if prediction.probabilities is not None and prediction.label is not None:
        pairs |= _outputs(schema, prediction, prediction.probabilities, prediction.label)
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
    return {name: value for name, value in pairs.items() if value is not None}


def _outputs(schema: Schema, prediction: Prediction, probabilities: list[float], number: int) -> dict[str, Any]:
    """Return what may be logged of an answer; the verdict of the detector is logged whatever is redacted."""
    redaction, label, score = schema.redaction, schema.labels[number], prediction.score
    verdict = {"prediction.outlier": prediction.outlier}
    if redaction and redaction.outputs == "drop":
        return verdict
    if redaction and redaction.outputs == "hash":
        output = redaction.hash_output(msgspec.json.encode(probabilities))
        return {"prediction.hashed_output": output, "prediction.hashed_label": redaction.hash_label(label)} | verdict
    if redaction and redaction.outputs == "round":
        probabilities = [round(each, redaction.decimals) for each in probabilities]
        score = None if score is None else round(score, redaction.decimals)
    return {
        "prediction.output": msgspec.json.encode(probabilities).decode(),
        "prediction.label": label,
        "prediction.confidence": probabilities[number],
        **verdict,
        "prediction.outlier_score": score,
    }


def answer(schema: Schema, prediction: Prediction) -> tuple[str, float] | None:
    """Return the label and its probability, as far as they may be told to whoever reads the log; None if not at all."""
    if prediction.probabilities is None or prediction.label is None:
        return None
    found = _outputs(schema, prediction, prediction.probabilities, prediction.label)
    if "prediction.label" not in found:
        return None
    return found["prediction.label"], found["prediction.confidence"]


def input_attributes(schema: Schema, features: Sequence[float]) -> dict[str, Any]:
    """Return one attribute a feature, or the JSON form of a wide row."""
    row = schema.redaction.of(features) if schema.redaction else features
    if not schema.wide:
        named = zip(schema.features, row, strict=True)
        kinds = {True: "prediction.hashed_input", False: "prediction.input"}
        return {f"{kinds[isinstance(value, str)]}.{name}": value for name, value in named if value is not None}
    whole = msgspec.json.encode(row)
    if len(whole) <= INPUT_JSON_BYTES:
        return {"prediction.input_json": whole.decode()}
    return {
        "prediction.input_json": whole[:INPUT_JSON_BYTES].decode(),
        "prediction.input_truncated": True,
        "prediction.input_sha256": hashlib.sha256(whole).hexdigest(),
    }


def body(schema: Schema, prediction: Prediction) -> str:
    """Return the display line, e.g. `setosa 0.971 iris@1 job=0192… 1.2 ms`."""
    tail = f"{schema.model} job={prediction.job_id} {prediction.total * 1000:.1f} ms"
    if prediction.error:
        return f"{prediction.error.word} {tail}"
    if prediction.probabilities is None or prediction.label is None:
        return tail
    mark = "OUTLIER " if prediction.outlier else ""
    said = answer(schema, prediction)
    return f"{mark}{said[0]} {said[1]:.3f} {tail}" if said else mark + tail


def severity(prediction: Prediction) -> tuple[int, str]:
    """Return INFO; WARN for an outlier or a 4xx; ERROR for a 5xx."""
    if prediction.error:
        return ERROR if prediction.error.status >= 500 else WARN  # noqa: PLR2004 - HTTP's own classes
    return WARN if prediction.outlier else INFO


def feedback_attributes(feedback: Feedback) -> dict[str, Any]:
    """Return the attributes of a feedback record, all but the sequence."""
    pairs = {
        "prediction.job_id": feedback.job_id,
        "prediction.index": feedback.index,
        "prediction.feedback.label": feedback.label,
        "prediction.feedback.value": feedback.value,
        "prediction.feedback.comment": feedback.comment,
        "prediction.request_id": feedback.origin.request_id,
        "http.route": feedback.origin.route,
        "event.name": FEEDBACK_EVENT,
    }
    return {name: value for name, value in pairs.items() if value is not None}


def feedback_body(schema: Schema, feedback: Feedback) -> str:
    """Return the display line, e.g. `feedback virginica iris@1 job=0192… row 0`; never a comment: it may be long."""
    said = feedback.label or ("comment" if feedback.value is None else f"{feedback.value:g}")
    return f"feedback {said} {schema.model} job={feedback.job_id} row {feedback.index}"
