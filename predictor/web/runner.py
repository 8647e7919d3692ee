"""The HTTP server below the application: connections, their time-outs, and problems that come before any handler."""

from __future__ import annotations

import contextlib
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from predictor.console import Throttle
from predictor.errors import Kind, Problem
from predictor.web.middleware import problem_response

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiohttp.web_server import Server

_logger = logging.getLogger("predictor")
_throttle = Throttle()
_LINGER = 2.0
"""Seconds for the rest of a body that was refused, before its connection is closed."""
_INSTANT = 0.001
"""Seconds; to aiohttp a time-out of 0 is none at all."""


class Runner(web.AppRunner):
    """aiohttp's runner with our limits, and problem details where aiohttp would answer in plain text."""

    def __init__(self, app: web.Application, *, idle: float, drain: float) -> None:
        """Take seconds that a connection may be silent, and that requests in flight get at the end."""
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=idle,
            lingering_time=_LINGER,
            shutdown_timeout=max(drain, _INSTANT),
        )

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

    def data_received(self, data: bytes) -> None:
        """Take the rest of a body also during the shutdown, where aiohttp drops it and its request could only fail."""
        if not ((self._close or self._force_close) and self._request_in_progress and self._parser):
            super().data_received(data)
            return
        with contextlib.suppress(HttpProcessingError):  # of a next request, which nobody will answer here
            self._parser.feed_data(data)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer with a problem, without the tracebacks that anybody could fill the log with by what is no HTTP."""
        if request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            if _throttle.due():
                _logger.error("a request failed outside of its handler", exc_info=exc)
            problem = Problem(Kind.INTERNAL_ERROR, "the fault is the server's own; its log says more")
        else:
            reason = (message or "it cannot be parsed").splitlines()[0].rstrip(":")
            problem = Problem(Kind.BAD_REQUEST, f"this is not HTTP/1.1 as it is taken here: {reason}")
        response = problem_response(problem)
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
