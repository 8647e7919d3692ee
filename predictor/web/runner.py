"""The HTTP server below the application: connections, their time-outs, and problems that come before any handler."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from predictor.errors import Kind, Problem
from predictor.web.middleware import problem_response

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiohttp.web_server import Server

_LINGER = 2.0
"""Seconds for the rest of a body that was refused, before its connection is closed."""


class Runner(web.AppRunner):
    """aiohttp's runner with our limits, and problem details where aiohttp would answer in plain text."""

    def __init__(self, app: web.Application, *, idle: float, drain: float) -> None:
        """Take seconds that a connection may be silent, and that requests in flight get at the end."""
        super().__init__(app, access_log=None, keepalive_timeout=idle, lingering_time=_LINGER, shutdown_timeout=drain)

    async def _make_server(self) -> Server:
        server = await super()._make_server()
        # aiohttp has no hook for requests that it cannot parse, only the class that it makes connections of.
        server.__class__ = _Server
        return server


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        assert self._loop is not None  # noqa: S101 - tells mypy what aiohttp's own __call__ relies on
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP with a problem, without the traceback that anybody could fill the log with."""
        if status >= 500 or request.writer.output_size > 0:  # noqa: PLR2004 - HTTP's own classes
            return super().handle_error(request, status, exc, message)
        reason = (message or "it cannot be parsed").splitlines()[0].rstrip(":")
        response = problem_response(Problem(Kind.BAD_REQUEST, f"this is not HTTP/1.1 as it is taken here: {reason}"))
        response.force_close()
        return response

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Answer with a problem too what no route sees: `OPTIONS *`, `CONNECT`, an unknown `Expect`."""
        if isinstance(resp, web.HTTPException):
            kind = Kind.NOT_FOUND if resp.status == HTTPStatus.NOT_FOUND else Kind.BAD_REQUEST
            resp = problem_response(Problem(kind, resp.text or resp.reason))
        return super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as logging takes them
        """Keep what is the caller's fault out of the server's log: the rest of a broken body, read after its answer."""
        if not isinstance(kwargs.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kwargs)
