"""What surrounds every call: ids and sample, the deadline, problem details.

It wraps each handler when its route is made instead of being an aiohttp middleware, which costs 10 to 20 µs a request.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

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


class Context(msgspec.Struct, gc=False):
    """One request on its way: the HTTP request, its origin, and its deadline on the loop's clock."""

    request: web.Request
    origin: Origin
    deadline: float


def surround(
    call: Call,
    route: str,
    tracing: Tracing,
    deadline: float,
    refused: Refused | None = None,
    measure: Measure | None = None,
) -> Handler:
    """Return the aiohttp handler of `call`.

    `refused` is told of problems that came before the rows were known, `measure` of every answered request.
    """
    loop = asyncio.get_running_loop()

    async def answer(context: Context) -> web.Response:
        try:
            response = await call(context)
        except Problem as problem:
            response = _refuse(context, problem)
        except web.HTTPException as error:
            response = _refuse(context, _translated(error))
        except Exception:
            extra = {"trace_id": context.origin.trace_id}
            _logger.exception("%s failed", route, extra=extra) if _throttle.due(route) else None
            response = _refuse(context, Problem(Kind.INTERNAL_ERROR, "the server's own fault; its log says more"))
        return response

    def _refuse(context: Context, problem: Problem) -> web.Response:
        origin = context.origin
        tracing.keep(origin, error=problem.kind.status >= 500)  # noqa: PLR2004 - HTTP's own classes
        if refused and not problem.recorded:
            refused(origin, problem.kind)
        return problem_response(problem, context.request.path)

    async def handle(request: web.Request) -> web.StreamResponse:
        origin = tracing.begin(request.headers, request.method, route)
        context = Context(request, origin, loop.time() + deadline)
        if origin.kept:

            async def sampled(_: web.Request) -> web.StreamResponse:
                return identified(await answer(context), origin)

            return await tracing.traced(request, origin, sampled)
        response = identified(await answer(context), origin)
        if origin.kept:
            await tracing.after_the_fact(request, origin, response)
        return response

    async def measured(request: web.Request) -> web.StreamResponse:
        begin = loop.time()
        response = await handle(request)
        if measure:
            measure(loop.time() - begin, request.method, route, response.status)
        return response

    return measured if measure else handle


def identified(response: web.Response, origin: Origin) -> web.Response:
    """Add the trace id, and the caller's own request id."""
    response.headers["X-Trace-Id"] = origin.trace_id
    if origin.request_id:
        response.headers["X-Request-Id"] = origin.request_id
    return response


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


def _translated(error: web.HTTPException) -> Problem:
    """Return aiohttp's own refusals in our words."""
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Problem(Kind.CONTENT_TOO_LARGE, "the body is larger than this server takes (PREDICTOR_BODY_BYTES)")
    return Problem(Kind.BAD_REQUEST, error.reason)


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()
