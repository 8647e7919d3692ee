"""Errors as the protocol has them: `{"error": "…"}`, with the statuses that its clients expect."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from predictor.api.answers import NO_STORE, Answer
from predictor.api.json_body import JSON, encode
from predictor.api.problem_details import encode_problem, problem_headers
from predictor.core.problems import Kind

if TYPE_CHECKING:
    from predictor.api.answers import Headers
    from predictor.core.problems import Problem

STATUSES = {Kind.INVALID_DATA: HTTPStatus.BAD_REQUEST.value}
"""Where the protocol's clients expect another one than the problem has."""
PREFIXES = ("/v1/", "/v2/")


def encode_error(problem: Problem) -> Answer:
    """Return a problem as an error of the protocol."""
    status = STATUSES.get(problem.kind, problem.kind.status)
    text = problem.detail.encode("utf-8", "replace").decode()
    headers: Headers = [*problem_headers(problem), ("Content-Type", JSON), NO_STORE]
    return Answer(status, headers, (encode({"error": text}),))


def encode_refusal(problem: Problem, path: str) -> Answer:
    """Return a problem in the form that callers of a path expect."""
    return encode_error(problem) if path == "/v2" or path.startswith(PREFIXES) else encode_problem(problem, path)
