"""One call as an operation of the document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from predictor.api.openapi.documents import DOCUMENTS, JOB_ID, answer_schema, feedback_schema, repository_schema
from predictor.api.openapi.model_calls import COMPONENTS
from predictor.api.openapi.responses import JSON, header_references, kinds_of, problem_responses
from predictor.api.pattern.feedback import FeedbackTaken, JobFeedback, KeyFeedback, KeyFeedbackTaken
from predictor.api.routes import Control, Probe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from predictor.api.catalog import VersionFacts
    from predictor.api.openapi.conditions import Conditions
    from predictor.api.openapi.model_calls import CallSchema
    from predictor.api.openapi.values import Schema
    from predictor.api.routes import Route

BINARY = "application/octet-stream"
PARAMETERS: dict[str, Schema] = {
    "X-Request-Id": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "1 to 128 characters of `A-Z a-z 0-9 . _ -` are recorded and echoed; anything else is ignored",
        "schema": {"type": "string"},
    },
    "traceparent": {
        "name": "traceparent",
        "in": "header",
        "description": "The caller's trace as in W3C Trace Context: its trace id is the record's",
        "schema": {"type": "string"},
    },
    "Inference-Header-Content-Length": {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "How many bytes of the body are JSON, if tensor data follows it",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
}
_TRACED = ("X-Trace-Id", "X-Request-Id")


def predicting(route: Route, path: str, call: CallSchema, tag: str, conditions: Conditions) -> Schema:
    """Return a call that predicts, at the path that it has for one model version."""
    headers = ["Cache-Control", *_TRACED, *(["X-Prediction-Logged"] if conditions.logs else [])]
    headers += ["X-Job-Id"] if tag in {"v1", "v2"} else []
    found = _operation(route.method, path, tag, call.summary)
    found["parameters"] = _references("X-Request-Id", "traceparent")
    if call.request is not None:
        found["requestBody"] = _body(call.request, call.examples)
    success = None if call.answer is None else _success("Each row has its record in the outbox", call.answer, headers)
    if call.binary and success:
        found["parameters"] += _references("Inference-Header-Content-Length")
        found["requestBody"]["content"][BINARY] = {}
        success["headers"] |= header_references(["Inference-Header-Content-Length"])
        success["content"][BINARY] = {}
    return _answered(found, route, path, success, conditions, security="predictions" if conditions.token else None)


def feedback(
    route: Route, versions: Sequence[VersionFacts], default: VersionFacts | None, conditions: Conditions
) -> Schema:
    """Return a call that takes feedback for these versions."""
    by_key = "{" not in route.path
    known = [version for version in versions if version.description.key] if by_key else [*versions]
    labels = [version.description.labels for version in known]
    taken = [*dict.fromkeys(name for each in labels for name in each)] if labels and all(labels) else []
    models = [*dict.fromkeys(version.description.name for version in known), *([None] if default in known else [])]
    message, answer = (KeyFeedback, KeyFeedbackTaken) if by_key else (JobFeedback, FeedbackTaken)
    truth: dict[str, Any] = {"label": taken[0]} if taken else {"value": 1.0}
    examples: dict[str, object] = {} if by_key else {"truth": {"index": 0, **truth}}
    if by_key and known:
        meant = default if default in known else known[0]
        assert meant is not None  # noqa: S101 - tells mypy: one of those that are known
        assert meant.description.key is not None  # noqa: S101 - as above
        named = {} if meant is default else {"model": meant.description.name}
        own = meant.description.labels
        truth = {"label": own[0]} if own else {"value": 1.0}
        examples = {"truth": {"key": meant.description.key.sample, **named, **truth}}
    found = _operation(route.method, route.path, "feedback", "What a prediction truly was")
    found["parameters"] = [*_in_path(route.path, []), *_references("X-Request-Id", "traceparent")]
    found["requestBody"] = _body(feedback_schema(message, taken, models), examples)
    headers = ["Cache-Control", *_TRACED, "X-Prediction-Logged"]
    schema = {"$ref": f"{COMPONENTS}{answer.__name__}"}
    success = None if by_key and not known else _success("The feedback's record is in the outbox", schema, headers)
    return _answered(
        found, route, route.path, success, conditions, security="feedback" if conditions.feedback_token else None
    )


def telling(
    route: Route, versions: Sequence[VersionFacts], default: VersionFacts | None, conditions: Conditions
) -> Schema:
    """Return a call that tells something, or changes what is served."""
    document = DOCUMENTS[route.method, route.path]
    traced = not isinstance(route.meaning, Probe)
    control = isinstance(route.meaning, Control)
    schema = answer_schema(document, conditions, default.description if default else None)
    headers = ["Cache-Control", *(_TRACED if traced else ())]
    found = _operation(route.method, route.path, document.tag, document.summary)
    names = [*dict.fromkeys(version.description.name for version in versions)]
    found["parameters"] = [
        *_in_path(route.path, [] if control else names),
        *(_references("X-Request-Id", "traceparent") if traced else []),
    ]
    success: Schema | None = _success(document.summary, schema, headers)
    if control:
        found["requestBody"] = _body(repository_schema(route.path), {"nothing": {}}, required=False)
        success = success if conditions.control_token else None
    answered = _answered(
        found,
        route,
        route.path,
        success,
        conditions,
        security="control" if control and conditions.control_token else None,
    )
    if document.readiness:
        _add_unready(answered["responses"], schema, headers)
    return answered


def _add_unready(responses: Schema, schema: Schema, headers: Sequence[str]) -> None:
    unready = responses.setdefault("503", {"description": "", "headers": {}, "content": {}})
    others = unready["content"].get(JSON)
    unready["description"] = "; ".join(filter(None, ["No traffic should come", unready["description"]]))
    unready["headers"] |= header_references(headers)
    unready["content"][JSON] = {"schema": {"anyOf": [schema, others["schema"]]} if others else schema}


def _operation(method: str, path: str, tag: str, summary: str) -> Schema:
    words = "_".join(filter(None, re.split(r"[^A-Za-z0-9.-]+", path))) or "page"
    return {"operationId": f"{method.lower()}_{words}", "tags": [tag], "summary": summary}


def _answered(
    found: Schema, route: Route, path: str, success: Schema | None, conditions: Conditions, *, security: str | None
) -> Schema:
    traced = not isinstance(route.meaning, Probe)
    problems = problem_responses(path, kinds_of(route, conditions), traced=traced)
    found["responses"] = ({"200": success} if success else {}) | problems
    if security:
        found["security"] = [{security: []}]
    return found


def _success(description: str, schema: Schema, headers: Iterable[str]) -> Schema:
    return {
        "description": description,
        "headers": header_references(headers),
        "content": {JSON: {"schema": schema}},
    }


def _body(schema: Schema, examples: Mapping[str, object], *, required: bool = True) -> Schema:
    shown = {"examples": {name: {"value": value} for name, value in examples.items()}} if examples else {}
    return {"required": required, "content": {JSON: {"schema": schema, **shown}}}


def _references(*names: str) -> list[Schema]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _in_path(path: str, models: Sequence[str]) -> list[Schema]:
    schemas: dict[str, Schema] = {
        "model": {"type": "string"} | ({"enum": [*models]} if models else {}),
        "version": {"type": "string"},
        "job_id": {"type": "string", "format": "uuid", "examples": [JOB_ID]},
    }
    return [
        {"name": name, "in": "path", "required": True, "schema": schemas[name]} for name in re.findall(r"{(\w+)}", path)
    ]
