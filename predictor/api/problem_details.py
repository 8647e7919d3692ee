"""Problem details (RFC 9457): turns errors into problems, and encodes problems as answers."""

from __future__ import annotations

import logging

from predictor.api.answers import NO_STORE, Answer, Headers
from predictor.api.json_body import encode
from predictor.core.operator_log import Throttle
from predictor.core.problems import Kind, Problem

_logger = logging.getLogger("predictor")
_throttle = Throttle()
_FAULT = "the fault is the server's own; its log says more"


def problem_of(error: Exception, route: str, trace_id: str) -> Problem:
    """Return an error as a problem; one that is none is a fault of our own, and logged once a minute."""
    if isinstance(error, Problem):
        error.__context__ = None  # like the traceback it leads to the frame that will hold the problem: a cycle
        return error.with_traceback(None)
    if _throttle.due(route):
        _logger.error("%s failed", route, exc_info=error, extra={"trace_id": trace_id})
    return Problem(Kind.INTERNAL_ERROR, _FAULT)


def own_fault() -> Problem:
    """Return the problem of a fault of our own that is logged already."""
    return Problem(Kind.INTERNAL_ERROR, _FAULT)


def encode_problem(problem: Problem, instance: str | None = None) -> Answer:
    """Return a problem as `application/problem+json`; `instance` is the path that was asked for."""
    fields = {
        "type": problem.kind.type,
        "title": problem.kind.title,
        "status": problem.kind.status,
        "detail": _text(problem.detail),
    }
    if instance is not None:
        fields["instance"] = _text(instance)
    headers: Headers = [*problem_headers(problem), ("Content-Type", "application/problem+json"), NO_STORE]
    return Answer(problem.kind.status, headers, (encode(fields),))


def problem_headers(problem: Problem) -> Headers:
    """Return what an answer with a problem has in its head, whatever form its body has."""
    headers: Headers = [*problem.headers.items()]
    if problem.retry_after is not None:
        headers.append(("Retry-After", str(problem.retry_after)))
    return headers


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()
