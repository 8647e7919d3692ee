"""What calls answer beside success: which kinds of problems each has, and the responses that tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.api.openapi.model_calls import COMPONENTS
from predictor.api.routes import Control, FeedbackMeaning, ModelDocument, Predict, Probe
from predictor.api.v2.errors import PREFIXES, STATUSES
from predictor.core.problems import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from predictor.api.openapi.conditions import Conditions
    from predictor.api.openapi.values import Schema
    from predictor.api.routes import Route

PROBLEM_JSON = "application/problem+json"
JSON = "application/json"
BEFORE = (Kind.BAD_REQUEST, Kind.URI_TOO_LONG, Kind.HEADERS_TOO_LARGE)
"""Of what is no request that could mean a call; always problem details."""
ELSEWHERE = (Kind.METHOD_NOT_ALLOWED,)
"""Of what is no call of the table: another method at a path."""
_BODY = (
    *(Kind.BAD_REQUEST, Kind.INVALID_JSON, Kind.CONTENT_TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE),
    *(Kind.UNSUPPORTED_CODING, Kind.INVALID_DATA, Kind.BODIES_FULL, Kind.DEADLINE_EXCEEDED),
)
_HEADERS = {401: ("WWW-Authenticate",), 415: ("Accept-Encoding",), 429: ("Retry-After",), 503: ("Retry-After",)}


def kinds_of(route: Route, conditions: Conditions) -> list[Kind]:
    """Return every kind of problem that a call has by itself, in the order of the list of kinds."""
    found = {Kind.INTERNAL_ERROR}
    match route.meaning:
        case Predict():
            found |= _predicting(route, conditions)
        case FeedbackMeaning():
            found |= {*_BODY, Kind.FORBIDDEN, Kind.NO_MODEL, *_admission(conditions)}
            found |= {Kind.UNAUTHORIZED} if conditions.feedback_token else set()
            found |= {Kind.NOT_FOUND} if "{" not in route.path else set()  # a model that the body names
        case Control():
            found |= {Kind.FORBIDDEN}
            if conditions.control_token:
                found |= {*_BODY, Kind.UNAUTHORIZED}
                found |= {Kind.NOT_FOUND, Kind.NO_MODEL} if "{model}" in route.path else set()
                found |= {Kind.SHARED_PORT} if conditions.shared_port else set()
        case ModelDocument():
            found |= {Kind.NOT_FOUND, Kind.NO_MODEL}
        case Probe():
            found = set()
        case _ if route.path in {"/metadata", "/label"}:
            found |= {Kind.NO_MODEL}
    found |= {Kind.MISDIRECTED_REQUEST} if conditions.checks_hosts else set()
    return [kind for kind in Kind if kind in found]


def _predicting(route: Route, conditions: Conditions) -> set[Kind]:
    found = {*_admission(conditions), Kind.FORBIDDEN, Kind.MODEL_FAILED, Kind.NO_MODEL, Kind.DEADLINE_EXCEEDED}
    found |= {*_BODY} if route.method == "POST" else set()
    found |= {Kind.UNAUTHORIZED} if conditions.token else set()
    # By another model, which the next reload may bring, a call of the pattern may be unknown.
    return found | {Kind.NOT_FOUND}


def _admission(conditions: Conditions) -> set[Kind]:
    found = {Kind.DRAINING, Kind.QUEUE_FULL}
    found |= {Kind.OUTBOX_FULL} if conditions.logs and conditions.outbox_refuses else set()
    return found | ({Kind.RATE_LIMITED} if conditions.limits_rows else set())


def problem_responses(path: str, kinds: Iterable[Kind], *, traced: bool = True) -> dict[str, Schema]:
    """Return the responses of a call's problems, by status, in the form that callers of its path expect."""
    protocol = path == "/v2" or path.startswith(PREFIXES)
    kinds = [*kinds]
    by_status: dict[int, tuple[list[Kind], list[Kind]]] = {}
    for kind in BEFORE:
        by_status.setdefault(kind.status, ([], []))[0].append(kind)
    for kind in kinds:
        status = STATUSES.get(kind, kind.status) if protocol else kind.status
        problems, errors = by_status.setdefault(status, ([], []))
        (errors if protocol else problems).append(kind)
    return {
        str(status): _response(status, [*dict.fromkeys(problems)], errors, traced=traced)
        for status, (problems, errors) in sorted(by_status.items())
    }


def _response(status: int, problems: Sequence[Kind], errors: Sequence[Kind], *, traced: bool) -> Schema:
    told = [*dict.fromkeys([*problems, *errors])]
    names = ["Cache-Control", *_HEADERS.get(status, ()), *(("X-Trace-Id", "X-Request-Id") if traced else ())]
    content: Schema = {}
    if problems:
        own = {"type": {"enum": [kind.type for kind in problems]}, "status": {"const": status}}
        content[PROBLEM_JSON] = {"schema": {"allOf": [{"$ref": f"{COMPONENTS}ProblemDetails"}, {"properties": own}]}}
    if errors:
        content[JSON] = {"schema": {"$ref": f"{COMPONENTS}ProtocolError"}}
    return {
        "description": "; ".join(f"`{kind.word}`: {kind.title}" for kind in told),
        "headers": header_references(names),
        "content": content,
    }


def header_references(names: Iterable[str]) -> Schema:
    """Return references to the headers of answers."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _text(description: str, **schema: object) -> Schema:
    return {"description": description, "schema": {"type": "string", **schema}}


HEADERS: dict[str, Schema] = {
    "Cache-Control": {**_text("That no answer is kept", const="no-store"), "required": True},
    "X-Trace-Id": _text("The trace id of the record", pattern="^[0-9a-f]{32}$"),
    "X-Request-Id": _text("That of the request, if it had one that is recorded"),
    "X-Job-Id": {**_text("The job id, by which records have the request", format="uuid"), "required": True},
    "X-Prediction-Logged": _text("That the record was declared lost", const="false"),
    "Inference-Header-Content-Length": _text("How many bytes of the body are JSON", pattern="^[0-9]+$"),
    "Retry-After": _text("Seconds after which another try makes sense", pattern="^[0-9]+$"),
    "WWW-Authenticate": _text("How a token is sent", const="Bearer"),
    "Accept-Encoding": _text("The supported codings"),
}
