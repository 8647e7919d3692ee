"""One client's connection to aiohttp: answers with problems what is malformed or what aiohttp would fail on.

Uses only what aiohttp shows: a subclass of its `RequestHandler` overrides public methods, and the server's public
`request_factory` is wrapped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from predictor.api.problem_details import own_fault
from predictor.core.operator_log import Throttle
from predictor.core.problems import Kind, Problem
from predictor.http.limits import (
    FREE_BYTES,
    MOST_FIELD_BYTES,
    MOST_HEADERS,
    MOST_TARGET_BYTES,
    bound_unread,
)
from predictor.http.lingering_close import LingeringTransport
from predictor.http.request_faults import head_too_large, not_http
from predictor.http.request_head import HeadMeter
from predictor.http.responses import SERVER_NAME, problem_response

if TYPE_CHECKING:
    from predictor.core.memory_budget import MemoryBudget

_logger = logging.getLogger("predictor")
_throttle = Throttle()
_NO_HEADER = b"\0"
"""What no parser takes in a head."""


class Connection(web.RequestHandler):
    """aiohttp's connection; its bounds and time-outs are aiohttp's own, but for unread answers."""

    __slots__ = (
        "_ahead",
        "_answers",
        "_handlers",
        "_idle",
        "_meter",
        "_share",
        "_since",
        "_too_long",
        "answered",
        "awaits_body",
        "fed",
        "fresh",
        "last_answer",
        "lent",
        "persists",
        "working",
    )

    def __init__(
        self,
        server: web.Server,
        *,
        idle: float,
        handlers: set[Connection],
        memory: MemoryBudget,
        **limits: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        """Take seconds that it may be silent, what it is in while it lives, the memory's budget, aiohttp's limits."""
        super().__init__(
            server,
            keepalive_timeout=idle,
            max_line_size=MOST_TARGET_BYTES,
            max_field_size=MOST_FIELD_BYTES,
            max_headers=MOST_HEADERS,
            auto_decompress=False,
            **limits,
        )
        self._idle = idle
        self._handlers = handlers
        self._share = memory.share(FREE_BYTES)
        self._ahead = 0  # bytes of several requests that came at once, of which aiohttp puts aside what must wait
        self._answers = 0
        self._meter = HeadMeter()
        self._too_long = False
        self._since = asyncio.get_running_loop().time()
        self.fresh = True
        """Whether no request was answered yet."""
        self.working = False
        """Whether a handler is at work."""
        self.awaits_body = False
        """Whether it waits for a body."""
        self.last_answer = False
        """Whether the next answer is to end the connection."""
        self.lent = False
        """Whether it is to end behind one request, without a word of that in the answer."""
        self.fed = False
        """Whether all of that request has come."""
        self.answered = False
        """Whether its handler has come to its end."""
        self.persists = True
        """Whether requests may follow the answer that was given last."""

    @property
    def asked(self) -> bool:
        """Whether a request has come, at least its head, that is not answered."""
        return not self.answered if self.lent else self._meter.heads > self._answers

    @property
    def connected(self) -> bool:
        """Whether there is a transport: with TLS there is none before the handshake, and none if that fails."""
        return self.transport is not None

    def silent_since(self, *, bodies: bool = False) -> float | None:
        """Return since when it is idle, on the loop's clock, or with `bodies` waits for one; None if it does not."""
        return None if self.working and not (bodies and self.awaits_body) else self._since

    def rest(self) -> None:
        """Note that a request is answered."""
        self.working = self.awaits_body = self.fresh = False
        self._answers += 1
        if self._ahead and self.transport and self.transport.is_reading():  # else there is more of it
            self._hold(0)
        self._since = asyncio.get_running_loop().time()

    def end(self) -> None:
        """Close once the caller has taken what was answered."""
        self.close()

    def abort(self) -> None:
        """Drop the connection, whatever was answered."""
        if self.transport:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        bound_unread(transport, self._idle)
        self._handlers.add(self)  # given up while TLS had not begun, and there after all

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._handlers.discard(self)
        self._share.resize(0)

    def pause_writing(self) -> None:
        """Wait until the caller takes what was answered, which is to fit into the memory's budget."""
        super().pause_writing()
        self._hold(self._ahead)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._hold(self._ahead)

    def _hold(self, ahead: int) -> None:
        """Have the memory's budget hold what is read ahead and what is not taken; end if it cannot."""
        self._ahead = ahead
        if self.transport and not self.lent:
            unread = self.transport.get_write_buffer_size() if self.writing_paused else 0
            if not self._share.fit(ahead + unread):
                self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what has come, but no more of a head than is bounded."""
        if self._too_long:
            return
        fits = len(data) if self.lent else self._meter.measure(data)
        if self._meter.lost:
            self.last_answer = True  # nobody can measure what comes behind it
        if len(data) > FREE_BYTES and self._meter.ended > 1:
            self._hold(len(data))
        if fits or not data:  # aiohttp calls with nothing to go on with what it had put aside
            super().data_received(data[:fits])
        if fits < len(data):
            self._too_long = True
            super().data_received(_NO_HEADER)

    async def end_lent(self, request: web.BaseRequest) -> None:
        """End behind the answer of the one request, or behind its body if that is still on its way."""
        self.answered = True
        if self.fed:
            with contextlib.suppress(web.RequestPayloadError, ConnectionError):  # the connection ends for it
                while not request.content.is_eof():  # aiohttp parses no more of it once it is told to close
                    await request.content.readany()
            self.close()

    def close(self) -> None:
        """Close with the answer of the request in flight; at once if there is none.

        aiohttp only ends the task that would read the next request, and leaves an idle connection open.
        """
        super().close()
        if self.transport and not (self.working or self.asked or self.lent):
            self.transport.close()  # what was answered is sent first

    def force_close(self) -> None:
        """Drop the connection."""
        self.persists = False
        super().force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer with a problem, without the tracebacks that anybody could fill the log with by what is no HTTP."""
        self.persists = False
        if request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            if _throttle.due():
                _logger.error("a request failed outside of its handler", exc_info=exc)
            problem = own_fault()
        else:
            problem = self._refusal(exc, message or "it cannot be parsed")
        response = problem_response(problem)
        response.headers["Server"] = SERVER_NAME  # no application that would name it has seen the request
        response.force_close()
        if self.transport and not self.lent:
            self.transport = LingeringTransport(self.transport, self)
        return response

    def _refusal(self, error: BaseException | None, message: str) -> Problem:
        if self._too_long:
            return _target_too_long() if self._meter.in_line else head_too_large()
        if isinstance(error, LineTooLong):
            if MOST_TARGET_BYTES in error.args:
                return _target_too_long()
            return Problem(Kind.HEADERS_TOO_LARGE, f"a header has more than {MOST_FIELD_BYTES} bytes")
        if message.startswith("Too many headers"):
            return Problem(Kind.HEADERS_TOO_LARGE, f"there are more than {MOST_HEADERS} headers")
        return Problem(Kind.BAD_REQUEST, not_http(message.splitlines()[0].rstrip(":")))


def _target_too_long() -> Problem:
    return Problem(Kind.URI_TOO_LONG, f"path and query have more than {MOST_TARGET_BYTES} bytes")
