"""The fast lane: answers ordinary requests that predict, straight from and to the socket, and hands all others over.

Without this module and its line in `app.py` (or with PREDICTOR_FAST_LANE=off) aiohttp answers everything, and the same.
Ordinary is HTTP/1.1 with a plain head, a body of Content-Length or none, on a connection that is kept. For such a
request that does not predict the connection is lent to aiohttp (`LentTransport`), and comes back. Everything else
(chunks, HTTP/1.0, what is no HTTP) takes the connection along for good.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from predictor.api.dataplane import Pending
from predictor.api.json_body import BODY_BROKEN, BODY_LATE
from predictor.core.problems import Kind, Problem
from predictor.http.lent_transport import LentTransport
from predictor.http.limits import MOST_HEAD_BYTES, bound_unread
from predictor.http.request_head import may_become_plain, more_than_one
from predictor.http.waiting_bodies import WaitingBodies
from predictor.http.wire import encode_answer
from predictor.tracing.server_spans import Exchanged

if TYPE_CHECKING:
    from predictor.api.dataplane import Codec, DataPlane, Reply, RequestContext
    from predictor.http.connection import Connection
    from predictor.http.request_head import HeadReader, RequestHead
    from predictor.http.server import HttpServer

_END = b"\r\n\r\n"
_LINGER = 2.0
"""Seconds for the rest of a body that was refused, before its connection is closed."""


class FastLane:
    """Makes the connections of the lane, and holds what they share."""

    def __init__(self, plane: DataPlane, heads: HeadReader) -> None:
        """Take the data plane, and what reads heads."""
        self.plane = plane
        self.heads = heads
        self.bodies: WaitingBodies[LaneConnection] = WaitingBodies(LaneConnection.body_is_late)

    def __call__(self, server: HttpServer) -> LaneConnection:
        """Return a new connection of a server."""
        return LaneConnection(self, server)


class LaneConnection(asyncio.Protocol):
    """One client's connection; one request at a time, what comes meanwhile waits."""

    def __init__(self, lane: FastLane, server: HttpServer) -> None:
        """Be without a transport yet."""
        self._lane = lane
        self._server = server
        self._loop = lane.plane.loop
        self.early = b""
        """What has come and is not looked at yet: the beginning of a head, or what came during a request."""
        self._busy = False  # a request waits for its predictions
        self._paused = False  # the caller does not take its answers
        self._body: list[bytes] = []
        self._missing = 0  # bytes of the body that have not come
        self._unwanted = 0  # bytes of a refused body that have not come
        self._head = cast("RequestHead", None)
        self._codec = cast("Codec", None)
        self._context = cast("RequestContext", None)
        self._lent: LentTransport | None = None
        self._closed = False
        self._silent_since = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        server.in_lane.add(self)
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        bound_unread(transport, self._server.idle)
        self._timer = self._loop.call_later(self._server.idle, self._look_for_silence)

    def data_received(self, data: bytes) -> None:
        """Take what has come, as far as it is its turn."""
        if self._missing:
            self._take_body(data)
        elif self._lent:
            self._lent.feed(data)
        elif self._busy or self._paused:
            self.early += data
            self.transport.pause_reading()
        elif self._unwanted:
            self._drop(data)
        else:
            self._take(self.early + data if self.early else data)

    def pause_writing(self) -> None:
        """Begin no request while answers are not taken."""
        self._paused = True
        if self._lent:
            self._lent.handler.pause_writing()

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        if self._lent:
            self._lent.handler.resume_writing()
        elif not self._busy:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; a request under way lives on to its record."""
        self._closed, self.early = True, b""
        self._server.in_lane.discard(self)
        if self._lent:
            self._lent.lost(exc)
        if self._missing:
            self._reject(Problem(Kind.BAD_REQUEST, BODY_BROKEN))
        for timer in (self._timer, self._linger):
            if timer:
                timer.cancel()

    # The lane's own requests
    def _take(self, data: bytes) -> None:
        """Begin with the requests of `data`, one after the other, until one has to wait for something."""
        self.early = b""
        while data and not self._closed:
            end = data.find(_END) + len(_END)
            if end < len(_END):
                if len(data) > MOST_HEAD_BYTES or not may_become_plain(data):
                    self._hand_over(data)
                else:
                    self.early = data
                return
            head = self._lane.heads.read(data[:end])
            if head is None:
                self._hand_over(data)
                return
            whole = end + head.length
            if head.codec is None:
                self._lent = LentTransport(self.transport, self._server.aiohttp(), whole, self._returned)
                self._lent.begin(data)
                return
            try:
                self._open(head, head.codec)
            except Exception:  # noqa: BLE001 - aiohttp knows what to answer
                self._hand_over(data)
                return
            if len(data) < whole:
                self._await_body(data[end:], whole - len(data))
                return
            self._begin(data[end:whole])
            data = data[whole:]
            if self._busy or self._paused or self._unwanted:
                self.early = data
                return

    def _open(self, head: RequestHead, codec: Codec) -> None:
        self._server.answered_by_lane += 1
        self._head, self._codec = head, codec
        self._context = self._lane.plane.open(head.headers, head.method, head.route, head.path, head.served)

    def _begin(self, body: bytes, *, admitted: bool = False) -> None:
        plane, context = self._lane.plane, self._context
        try:
            if not admitted:
                plane.admit(context)
            reply = plane.begin(self._codec.decode(self._head.body, body), context)
        except Exception as error:  # noqa: BLE001 - every request gets an answer
            reply = plane.refuse(error, context)
        if isinstance(reply, Pending):
            self._busy = True
            reply.callback = self._settled
        else:
            self._answer(reply)

    def _settled(self, reply: Reply) -> None:
        self._busy = False
        try:
            self._answer(reply)
        except BaseException:
            self.abort()
            raise
        if not self._paused:
            self._go_on()

    def _answer(self, reply: Reply) -> None:
        plane, head, origin = self._lane.plane, self._head, reply.context.origin
        answer = self._codec.encode(reply)
        answer.headers.extend(head.answer_headers)
        if origin.kept and (spans := plane.tracer.server_spans):
            answered = (answer.status, answer.headers)
            spans.write(origin, Exchanged(head.method, head.route, self._scheme, head.headers, *answered))
        if plane.measure:
            plane.measure(origin.elapsed(), head.method, head.route, answer.status)
        if self._closed or self.transport.is_closing():
            return  # the caller has gone; the record is there
        self.transport.write(encode_answer(answer, last=self._server.leaving))
        self._silent_since = self._loop.time()
        if self._server.leaving:
            self.end()

    def _go_on(self) -> None:
        """Take what came meanwhile."""
        if self._closed or self.transport.is_closing():
            return
        early, self.early = self.early, b""
        self.transport.resume_reading()  # first: what is fed may have it paused again
        if early:
            self.data_received(early)

    # Bodies that do not come at once
    def _await_body(self, part: bytes, missing: int) -> None:
        self._body, self._missing = [part], missing
        self._lane.bodies.add(self, self._context)
        try:
            self._lane.plane.admit(self._context)
        except Exception as error:  # noqa: BLE001 - every request gets an answer
            self._reject(error)

    def _take_body(self, data: bytes) -> None:
        part = data[: self._missing]
        self._body.append(part)
        self._missing -= len(part)
        if self._missing:
            return
        self._lane.bodies.discard(self)
        body, self._body = b"".join(self._body), []
        self.early = data[len(part) :]
        self._begin(body, admitted=True)
        if not (self._busy or self._paused):
            self._go_on()

    def body_is_late(self) -> None:
        """Refuse a request whose deadline came before its body."""
        self._reject(Problem(Kind.DEADLINE_EXCEEDED, BODY_LATE))

    def _reject(self, error: Exception) -> None:
        """Refuse a request of which the rest of the body may still come."""
        self._unwanted, self._missing, self._body = self._missing, 0, []
        self._lane.bodies.discard(self)
        self._linger = self._loop.call_later(_LINGER, self.end)
        self._answer(self._lane.plane.refuse(error, self._context))

    def _drop(self, data: bytes) -> None:
        """Take the rest of a refused body; behind it the connection goes on."""
        dropped = min(len(data), self._unwanted)
        self._unwanted -= dropped
        if self._unwanted == 0:
            if self._linger:
                self._linger.cancel()
            self._take(self.early + data[dropped:])

    def _returned(self, rest: bytes, *, goes_on: bool) -> None:
        self._lent, self.early = None, rest
        self._silent_since = self._loop.time()
        if not goes_on or self._server.leaving:
            self.end()
        elif not self._paused:
            self._go_on()

    def _hand_over(self, data: bytes) -> None:
        """Give the connection to aiohttp, for good; its next answer ends it unless more was asked behind it already."""
        handler: Connection = self._server.aiohttp()
        handler.last_answer = not more_than_one(data)
        self._closed = True
        self._server.in_lane.discard(self)
        if self._timer:
            self._timer.cancel()
        self.transport.set_protocol(handler)
        handler.connection_made(self.transport)
        handler.data_received(data)

    # Silence and the end
    def _look_for_silence(self) -> None:
        now = self._loop.time()
        since = self.silent_since() or now
        if since + self._server.idle <= now:
            self.end()
        else:
            self._timer = self._loop.call_at(since + self._server.idle, self._look_for_silence)

    def silent_since(self, *, bodies: bool = False) -> float | None:
        """Return since when it is idle, or with `bodies` waits for one; None if it does not."""
        if self._lent:
            return self._lent.handler.silent_since(bodies=True) if bodies else None
        return None if self._busy or (self._missing and not bodies) else self._silent_since

    def abort(self) -> None:
        """Close without waiting for the caller to take what was answered."""
        self.end()
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def end(self) -> None:
        """Close once the caller has taken what was answered."""
        if not self._closed:
            self._closed = True
            self.transport.close()
