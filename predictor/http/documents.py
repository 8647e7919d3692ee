"""aiohttp's handlers of the calls that only tell something: documents and probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.api.answers import identify
from predictor.http.responses import response_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from predictor.api.answers import Answer
    from predictor.api.dataplane import RequestContext
    from predictor.http.responses import Handler

    Call = Callable[[web.Request, RequestContext], Awaitable[web.Response]]


def model_in_path(request: web.Request) -> tuple[str | None, str | None]:
    """Return the model and the version that a path names, as far as it does."""
    return request.match_info.get("model"), request.match_info.get("version")


def document(answer: Callable[[], Answer]) -> Call:
    """Return the handler of a call that tells something of the server."""

    async def tells(_: web.Request, context: RequestContext) -> web.Response:
        found = answer()
        identify(found.headers, context.origin)
        return response_of(found)

    return tells


def model_document(answer: Callable[[str | None, str | None], Answer]) -> Call:
    """Return the handler of a call that tells something of the model that its path names."""

    async def tells(request: web.Request, context: RequestContext) -> web.Response:
        found = answer(*model_in_path(request))
        identify(found.headers, context.origin)
        return response_of(found)

    return tells


def probe(answer: Callable[[], Answer]) -> Handler:
    """Return the handler of a call without ids and traces."""

    async def tells(_: web.Request) -> web.Response:
        return response_of(answer())

    return tells
