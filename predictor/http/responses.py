"""Turns answers and problems into aiohttp's responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from multidict import CIMultiDict

from predictor.api.problem_details import encode_problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from predictor.api.answers import Answer
    from predictor.core.problems import Problem

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


SERVER_NAME = "predictor"
"""The header `Server`: who looks for a known hole is not told the versions."""


async def name_server(_: web.Request, response: web.StreamResponse) -> None:
    """Set the header `Server` of a response that is about to leave."""
    response.headers["Server"] = SERVER_NAME


def response_of(answer: Answer) -> web.Response:
    """Return an answer as a response."""
    return web.Response(body=b"".join(answer.buffers), status=answer.status, headers=CIMultiDict(answer.headers))


def problem_response(problem: Problem, instance: str | None = None) -> web.Response:
    """Return a problem as a response; `instance` is the path that was asked for."""
    return response_of(encode_problem(problem, instance))
