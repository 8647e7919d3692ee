"""What the calls that do not predict take and answer, by the table of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from predictor.api.openapi import messages
from predictor.api.openapi.model_calls import COMPONENTS, message_schemas
from predictor.api.openapi.values import DOUBLE
from predictor.api.pattern.feedback import (
    LARGEST_INDEX,
    FeedbackTaken,
    JobFeedback,
    KeyFeedback,
    KeyFeedbackTaken,
)
from predictor.api.v2.repository import NOT_TAKEN, RepositoryMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from predictor.api.openapi.conditions import Conditions
    from predictor.api.openapi.values import Schema
    from predictor.inference.manifest import Manifest

JOB_ID = "01a206a5-7cf9-7f24-8992-729b23f48647"
"""An example: any replica may have answered it."""


class Document(NamedTuple):
    """What one call tells."""

    tag: str
    summary: str
    answer: type | tuple[type, type]
    """Of two, the second is a model of tensors' or that of a server without a log."""
    readiness: bool = False
    """Whether it is answered with 503 too."""
    many: bool = False
    """Whether the answer is a list of these."""


DOCUMENTS: Mapping[tuple[str, str], Document] = {
    ("GET", "/metadata"): Document(
        "pattern", "What the default model takes and gives", (messages.RowMetadata, messages.TensorsMetadata)
    ),
    ("GET", "/label"): Document("pattern", "The labels by their index", dict),
    ("GET", "/health"): Document("health", "Whether something answers", messages.Health),
    ("GET", "/livez"): Document("health", "Whether the process can answer", messages.Live),
    ("GET", "/readyz"): Document(
        "health", "Whether traffic should come", (messages.Readiness, messages.ReadinessWithoutLog), readiness=True
    ),
    ("GET", "/openapi.json"): Document("pattern", "This document", dict),
    ("GET", "/v2"): Document("v2", "What the server is and can", messages.ServerMetadata),
    ("GET", "/v2/health/live"): Document("v2", "Whether the process can answer", messages.Live),
    ("GET", "/v2/health/ready"): Document("v2", "Whether traffic should come", messages.Ready, readiness=True),
    ("GET", "/v2/models"): Document("v2", "The names of all models", messages.ModelNames),
    ("GET", "/v2/models/{model}"): Document("v2", "A model's versions, inputs and outputs", messages.ModelMetadata),
    ("GET", "/v2/models/{model}/versions/{version}"): Document("v2", "The same of one version", messages.ModelMetadata),
    ("GET", "/v2/models/{model}/ready"): Document(
        "v2", "Whether traffic for a model should come", messages.ModelReady, readiness=True
    ),
    ("GET", "/v2/models/{model}/versions/{version}/ready"): Document(
        "v2", "The same of one version", messages.ModelReady, readiness=True
    ),
    ("POST", "/v2/repository/index"): Document(
        "repository", "Every version on the disk", messages.IndexedVersion, many=True
    ),
    ("POST", "/v2/repository/models/{model}/load"): Document(
        "repository", "Serve the newest files of a model", messages.ModelLoaded
    ),
    ("POST", "/v2/repository/models/{model}/unload"): Document(
        "repository", "Stop serving a model", messages.ModelUnloaded
    ),
    ("GET", "/v1/models"): Document("v1", "The names of all models", messages.ModelNames),
    ("GET", "/v1/models/{model}"): Document(
        "v1", "Whether traffic for a model should come", messages.ModelReady, readiness=True
    ),
}
"""By method and path, as the table of calls has them."""


def answer_schema(document: Document, conditions: Conditions, default: Manifest | None) -> Schema:
    """Return what a call tells, to the callers of a server that serves `default`."""
    kind = document.answer
    if isinstance(kind, tuple):
        second = default is not None and default.gives == "tensors" if not document.readiness else not conditions.logs
        kind = kind[second]
    if kind is dict:
        return {"type": "object"} | (
            {"additionalProperties": {"type": "string"}} if "labels" in document.summary else {}
        )
    schema = {"$ref": f"{COMPONENTS}{kind.__name__}"}
    return {"type": "array", "items": schema} if document.many else schema


def shared_schemas() -> dict[str, Schema]:
    """Return the schemas of every message that is not a model's own."""
    kinds: set[type] = {messages.ProblemDetails, messages.ProtocolError}
    for document in DOCUMENTS.values():
        kinds |= {*document.answer} if isinstance(document.answer, tuple) else {document.answer}
    found = message_schemas(*sorted(kinds - {dict}, key=lambda kind: kind.__name__), FeedbackTaken, KeyFeedbackTaken)
    return found | message_schemas(JobFeedback, KeyFeedback, RepositoryMessage)


def feedback_schema(message: type, labels: Sequence[str], models: Sequence[str | None] = ()) -> Schema:
    """Return what a feedback may say: a label, a number, or a comment; `labels` are all that are taken, if any.

    `models` are those that one with a key may mean; None among them is the default one.
    """
    label: Schema = {"type": "string"} | ({"enum": [*labels]} if labels else {})
    index = {"type": "integer", "minimum": 0, "maximum": LARGEST_INDEX}
    fields: dict[str, Any] = {
        "label": {"anyOf": [label, {"type": "null"}]},
        "value": {"anyOf": [{**DOUBLE}, {"type": "null"}]},
    }
    if message is JobFeedback:
        fields["index"] = index
    required = {}
    if message is KeyFeedback:
        fields["model"] = {"enum": [*models]}
        required = {"required": ["key", *(() if None in models else ("model",))]}
    said = {"label": label, "value": {**DOUBLE}, "comment": {"type": "string", "minLength": 1}}
    one = [{"required": [name], "properties": {name: schema}} for name, schema in said.items()]
    return {"allOf": [{"$ref": f"{COMPONENTS}{message.__name__}"}, {"properties": fields, **required}], "anyOf": one}


def repository_schema(path: str) -> Schema:
    """Return the body of a call that loads or unloads: hints, none of which may bring another model to be loaded."""
    if not path.endswith("/load"):
        return {"$ref": f"{COMPONENTS}RepositoryMessage"}
    names = {"not": {"pattern": f"^({'|'.join(NOT_TAKEN)})"}}
    parameters = {"anyOf": [{"type": "object", "propertyNames": names}, {"type": "null"}]}
    return {"allOf": [{"$ref": f"{COMPONENTS}RepositoryMessage"}, {"properties": {"parameters": parameters}}]}
