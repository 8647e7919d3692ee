"""What surrounds every call: ids and sample, the deadline, problem details.

Each handler is wrapped when its route is made: an aiohttp middleware would do the same for 10 to 20 µs a request.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from aiohttp import web

from predictor.console import Throttle
from predictor.errors import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from predictor.prediction import Origin
    from predictor.tracing import Tracing

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Call = Callable[["Context"], Awaitable[web.Response]]
    Refused = Callable[[Origin, Kind], None]
    Measure = Callable[[float, str, str, int], None]

_logger = logging.getLogger("predictor")
_throttle = Throttle()
_encode = msgspec.json.Encoder().encode


class Context(msgspec.Struct):
    """One request on its way: the HTTP request, its origin, and its deadline on the loop's clock."""

    request: web.Request
    origin: Origin
    deadline: float


class Surroundings(NamedTuple):
    """What all calls share; `measure` is told of every answered request, `deadline` is in seconds."""

    tracing: Tracing
    deadline: float
    measure: Measure | None = None

    def surround(self, call: Call, route: str, refused: Refused | None = None) -> Handler:
        """Return the aiohttp handler of `call`; `refused` is told of problems that came before the rows were known."""
        tracing, deadline, measure = self
        now = asyncio.get_running_loop().time

        async def handle(request: web.Request) -> web.StreamResponse:
            origin = tracing.begin(request.headers, request.method, route)
            context = Context(request, origin, now() + deadline)
            if origin.kept:

                async def sampled(_: web.Request) -> web.StreamResponse:
                    return await _answer(call, context, tracing, refused)

                return await tracing.traced(request, origin, sampled)
            try:
                response = await _answer(call, context, tracing, refused)
            except asyncio.CancelledError:  # PREDICTOR_DRAIN is over
                if origin.kept:  # and recorded so
                    await tracing.after_the_fact(request, origin, web.Response(status=Kind.DRAINING.status))
                raise
            if origin.kept:
                await tracing.after_the_fact(request, origin, response)
            return response

        async def measured(request: web.Request) -> web.StreamResponse:
            begin = now()
            response = await handle(request)
            if measure:
                measure(now() - begin, request.method, route, response.status)
            return response

        return measured if measure else handle


async def _answer(call: Call, context: Context, tracing: Tracing, refused: Refused | None) -> web.Response:
    """Return the call's response, or the problem that came instead."""
    origin = context.origin
    try:
        return identify(await call(context), origin)
    except Exception as error:  # noqa: BLE001 - every request gets an answer
        return refuse(error, origin, context.request.path, tracing, refused)


def refuse(error: Exception, origin: Origin, path: str, tracing: Tracing, refused: Refused | None) -> web.Response:
    """Return what the caller is told instead of a prediction, and see to its record and its spans."""
    problem = _problem(error, origin)
    tracing.keep(origin, error=problem.kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR)
    if refused and not problem.recorded:
        refused(origin, problem.kind)
    return identify(problem_response(problem, path), origin)


def identify(response: web.Response, origin: Origin) -> web.Response:
    """Add the trace id, and the caller's own request id."""
    response.headers["X-Trace-Id"] = origin.trace_id
    if origin.request_id:
        response.headers["X-Request-Id"] = origin.request_id
    return response


def _problem(error: Exception, origin: Origin) -> Problem:
    """Return what the caller is told; a fault of our own is said on stderr."""
    match error:
        case Problem():
            return error
        case web.HTTPRequestEntityTooLarge():
            return Problem(Kind.CONTENT_TOO_LARGE, "the body is larger than this server takes (PREDICTOR_BODY_BYTES)")
        case web.HTTPException():
            return Problem(Kind.BAD_REQUEST, error.reason)
    if _throttle.due(origin.route):
        _logger.error("%s failed", origin.route, exc_info=error, extra={"trace_id": origin.trace_id})
    return Problem(Kind.INTERNAL_ERROR, "the fault is the server's own; its log says more")


def problem_response(problem: Problem, instance: str | None = None) -> web.Response:
    """Return a problem as `application/problem+json`."""
    fields = {
        "type": problem.kind.type,
        "title": problem.kind.title,
        "status": problem.kind.status,
        "detail": _text(problem.detail),
    }
    if instance is not None:
        fields["instance"] = _text(instance)
    headers = dict(problem.headers)
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    return web.Response(
        body=_encode(fields), status=problem.kind.status, content_type="application/problem+json", headers=headers
    )


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()
