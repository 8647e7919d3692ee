"""One client's connection: which way each request goes, and problems that come before any handler.

aiohttp has no hook for either, so this leans on parts of its `RequestHandler` that it does not promise to keep; the
range of aiohttp in pyproject.toml is narrow for that reason, and the tests of the HTTP contract hold both ways.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http import HttpProcessingError, RawRequestMessage, StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD

from predictor.console import Throttle
from predictor.errors import Kind, Problem
from predictor.web.bounded import BoundedConnection
from predictor.web.express import ROUTE
from predictor.web.middleware import problem_response
from predictor.web.vetting import vet

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from predictor.web.express import Express

_logger = logging.getLogger("predictor")
_throttle = Throttle()
_EAGER = sys.version_info >= (3, 12)
"""Whether aiohttp's tasks begin at once; if not, a request that it takes up shows nowhere for a turn of the loop."""
_EXPRESS = f"POST {ROUTE} HTTP/1.1\r\n".encode()


class Connection(BoundedConnection):
    """aiohttp's connection with an express way for `POST /predict`."""

    __slots__ = ("_app", "_early", "_express", "_express_busy", "_leaving", "_persists")

    def __init__(
        self,
        manager: web.Server,
        app: web.Application,
        express: Express | None,
        leaving: asyncio.Event,
        **limits: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        """Take aiohttp's limits; once the server is `leaving`, each answer ends its connection."""
        super().__init__(manager, **limits)
        self._app = app
        self._express = express
        self._leaving = leaving
        self._express_busy = False
        self._persists = True  # aiohttp's last answer did not announce the end of the connection
        self._early = b""

    def data_received(self, data: bytes) -> None:
        """Send a complete, ordinary prediction the express way when nothing else is under way here."""
        if self._express_busy:  # pipelined: one at a time, in order
            self._early += data
            self._pause_transport_reading()
        elif self._close or self._force_close:
            self._rest_of_body(data)
        elif self._express and not self._leaving.is_set() and self._may_take_next() and data.startswith(_EXPRESS):
            waiter, self._waiter = self._waiter, None  # aiohttp's way must not wake up before it is its turn
            super().data_received(data)
            self._waiter = waiter
            if len(self._messages) == 1 and self._take(self._express):
                return
            vet(self._messages)
            if self._messages and waiter and not waiter.done():
                waiter.set_result(None)
        else:
            super().data_received(data)
            vet(self._messages)

    def answered(self, raw: bytes) -> None:
        """Send the answer of the express way and go on with what came meanwhile."""
        self._express_busy = self._request_in_progress = False
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._handler_waiter and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)  # a shutdown waits for it
        if self.transport is None or self.transport.is_closing():
            return  # the caller has gone; the record is there
        if self._last():
            self.transport.write(raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            self.transport.close()
            return
        self.transport.write(raw)
        if self._early:
            early, self._early = self._early, b""
            self._resume_transport_reading()  # first: what is fed may have it paused again
            self.data_received(early)

    async def request(self, message: RawRequestMessage) -> web.Request:
        """Return an answered request as aiohttp's, for those who look at it afterwards."""
        loop: asyncio.AbstractEventLoop = self._loop
        task: Any = None
        request = self._app._make_request(  # noqa: SLF001 - see the module's docstring
            message, EMPTY_PAYLOAD, self, StreamWriter(self, loop), task
        )
        request._match_info = await self._app.router.resolve(request)  # noqa: SLF001 - as above
        return request

    def _last(self) -> bool:
        """Tell whether the answer that leaves now is the connection's last."""
        return self._close or self._force_close or self._leaving.is_set()

    def _may_take_next(self) -> bool:
        """Tell whether aiohttp's way waits for a request, or is about to, with nothing left to do for the last one.

        It comes to its waiter a turn of the loop after its answer has left. Who asks again within that turn would go
        its way once more, and so on: a connection that had one sampled request would hardly come back to this one.
        """
        if self._request_in_progress or self._messages:
            return False
        if self._waiter is not None:
            return not self._waiter.done()
        return _EAGER and self._persists and self._task_handler is not None

    def _take(self, express: Express) -> bool:
        message, payload = self._messages[0]
        if not isinstance(message, RawRequestMessage) or not payload.is_eof() or self._paused:
            return False
        if not express.fits(message):
            return False
        self._messages.clear()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._manager:
            self._manager.requests_count += 1
        self._express_busy = self._request_in_progress = True
        self._next_keepalive_close_time = float("inf")
        express.answer(self, message, payload)
        return True

    def _process_keepalive(self) -> None:
        if self._express_busy:  # looked at again when it is answered
            self._keepalive_handle = self._loop.call_later(self._keepalive_timeout, self._process_keepalive)
        else:
            super()._process_keepalive()

    def _rest_of_body(self, data: bytes) -> None:
        """Take the rest of a body also during the shutdown, where aiohttp drops it and its request could only fail."""
        if self._request_in_progress and self._parser:
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
        if self._last():
            resp.force_close()
        self._persists = request.keep_alive and resp.keep_alive is not False
        return super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as logging takes them
        """Keep what is the caller's fault out of the server's log: the rest of a broken body, read after its answer."""
        if not isinstance(kwargs.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kwargs)
