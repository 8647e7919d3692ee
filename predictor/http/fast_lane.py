"""The fast lane: answers ordinary requests that predict, straight from and to the socket, and hands all others over.

Without this module and its line in `app.py` (or with PREDICTOR_FAST_LANE=off) aiohttp answers everything, and the same.
Ordinary is HTTP/1.1 with a plain head, a body of Content-Length or none, on a connection that is kept. For such a
request that does not predict the connection is lent to aiohttp (`LentTransport`), and comes back. Everything else
(chunks, HTTP/1.0, what is no HTTP) takes the connection along for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from predictor.api.dataplane import Pending
from predictor.api.json_body import BODY_BROKEN, BODY_LATE
from predictor.api.slices import by_callback
from predictor.core.problems import Kind, Problem
from predictor.http.incoming_body import IncomingBody
from predictor.http.lane_bounds import BoundedConnection
from predictor.http.lent_transport import LentTransport
from predictor.http.limits import FREE_BYTES, MOST_HEAD_BYTES
from predictor.http.lingering_close import LINGER
from predictor.http.request_head import may_become_plain
from predictor.http.waiting_bodies import WaitingBodies
from predictor.http.wire import encode_answer
from predictor.tracing.server_spans import Exchanged

if TYPE_CHECKING:
    import asyncio

    from predictor.api.dataplane import Codec, DataPlane, InferRequest, Reply, RequestContext
    from predictor.http.head_cache import RequestHead
    from predictor.http.request_head import HeadReader
    from predictor.http.server import HttpServer

_END = b"\r\n\r\n"


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


class LaneConnection(BoundedConnection):
    """One client's connection; one request at a time, what comes meanwhile waits."""

    def __init__(self, lane: FastLane, server: HttpServer) -> None:
        """Be without a transport yet."""
        super().__init__(server)
        self._lane = lane
        self._body = cast("IncomingBody", None)
        self._head = cast("RequestHead", None)
        self._codec = cast("Codec", None)
        self._context = cast("RequestContext", None)
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"

    def data_received(self, data: bytes) -> None:
        """Take what has come, as far as it is its turn."""
        if self.missing:
            self._take_body(data)
        elif self.lent:
            self._feed(data)
        elif self.busy or self.paused:
            self.transport.pause_reading()
            self.put_aside(self.early + data)
        elif self.unwanted:
            self._drop(data)
        elif self.early:
            early = self.early
            self.put_aside(b"")
            self._take(early + data)
        else:
            self._take(data)

    def pause_writing(self) -> None:
        """Begin no request while answers are not taken."""
        self.paused = True
        self.charge()
        if self.lent:
            self.lent.handler.pause_writing()

    def resume_writing(self) -> None:
        """Go on."""
        self.paused = False
        self.charge()
        if self.lent:
            self.lent.handler.resume_writing()
        elif not self.busy:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; a request under way lives on to its record."""
        self.leave()
        if self.lent:
            self.lent.lost(exc)
        if self.missing:
            self._reject(Problem(Kind.BAD_REQUEST, BODY_BROKEN))
        if self._linger:
            self._linger.cancel()

    # The lane's own requests
    def _take(self, data: bytes) -> None:
        """Begin with the requests of `data`, one after the other, until one has to wait for something."""
        while data and not self.closed:
            end = data.find(_END) + len(_END)
            if end < len(_END):
                if len(data) > MOST_HEAD_BYTES or not may_become_plain(data):
                    self.hand_over(data)
                    return
                break
            head = self._lane.heads.read(data[:end])
            if head is None:
                self.hand_over(data)
                return
            whole = end + head.length
            if head.codec is None:
                self.lent = LentTransport(self.transport, self.server.aiohttp(), whole, self._returned)
                self.lent.begin()
                self._feed(data)
                return
            try:
                self._open(head, head.codec)
            except Exception:  # noqa: BLE001 - aiohttp knows what to answer
                self.hand_over(data)
                return
            if len(data) < whole or head.length > FREE_BYTES:
                self._await_body(data[end:whole], head.length)
            else:
                self._begin(data[end:whole])
            data = data[whole:]
            if self.busy or self.paused or self.unwanted:
                break
        if data and not self.closed:
            self.put_aside(data)

    def _open(self, head: RequestHead, codec: Codec) -> None:
        self.server.answered_by_lane += 1
        self._head, self._codec = head, codec
        self._context = self._lane.plane.open(head.headers, head.method, head.route, head.path, head.served)

    def _begin(self, body: bytes, *, admitted: bool = False) -> None:
        plane, context = self._lane.plane, self._context
        try:
            if not admitted:
                plane.admit(context)
            reply = plane.begin(self._codec.decode(self._head.body, body), context, just_admitted=not admitted)
        except Exception as error:  # noqa: BLE001 - every request gets an answer
            reply = plane.refuse(error, context)
        if isinstance(reply, Pending):
            self.busy = True
            reply.callback = self._settled
        else:
            self._answer(reply)

    def _settled(self, reply: Reply) -> None:
        self.busy = False
        try:
            self._answer(reply)
        except BaseException:
            self.abort()
            raise
        if not self.paused:
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
        if self.closed or self.transport.is_closing():
            return  # the caller has gone; the record is there
        self.transport.write(encode_answer(answer, last=self.server.leaving))
        self.be_idle()
        if self.server.leaving:
            self.last = True
            if not self.unwanted:  # else a caller who still sends would be reset
                self.end()

    def _go_on(self) -> None:
        """Take what came meanwhile."""
        if self.closed or self.transport.is_closing():
            return
        early = self.early
        self.transport.resume_reading()  # first: what is fed may have it paused again
        if early:
            self.put_aside(b"")
            self.data_received(early)

    def _feed(self, data: bytes) -> None:
        """Pass on to aiohttp what is of the request that it answers."""
        if lent := self.lent:
            lent.feed(data)
            if lent.rest:
                self.charge()

    # Bodies that do not come at once, or are large
    def _await_body(self, part: bytes, length: int) -> None:
        self._body = IncomingBody(self.server.memory.share(FREE_BYTES))
        self.missing = length - len(part)
        self._lane.bodies.add(self, self._context)
        try:
            self._lane.plane.admit(self._context)
        except Exception as error:  # noqa: BLE001 - every request gets an answer
            self._reject(error)
        else:
            self._add(part)

    def _take_body(self, data: bytes) -> None:
        part = data[: self.missing]
        self.missing -= len(part)
        self.put_aside(data[len(part) :])
        self._add(part)
        if not (self.missing or self.unwanted or self.busy or self.paused):
            self._go_on()

    def _add(self, part: bytes) -> None:
        """Keep a part of the body, and begin behind the last one."""
        try:
            self._body.add(part)
            if self.missing:
                return
            body = self._body.take()
        except Exception as error:  # noqa: BLE001 - there is no room for it
            self._reject(error)
            return
        if len(body) <= FREE_BYTES:
            self._lane.bodies.discard(self)
            self._begin(body, admitted=True)
        else:
            self._lane.bodies.arrived(self)
            self.busy = True
            by_callback(self._codec.decode_in_slices(self._head.body, body), self._check, self._decoded)

    def _check(self) -> None:
        """Decode no further, when the server ends, what nobody waits for any more: raises Problem."""
        if self.closed and self.server.leaving:
            self._lane.plane.admit(self._context)

    def _decoded(self, wanted: InferRequest | Exception) -> None:
        self._lane.bodies.discard(self)
        reply = self._body.begin(wanted, self._lane.plane, self._context)
        if isinstance(reply, Pending):
            reply.callback = self._answered
        else:
            self._answered(reply)

    def _answered(self, reply: Reply) -> None:
        self._body.clear()
        self._settled(reply)

    def body_is_late(self) -> None:
        """Refuse a request whose deadline came before its body."""
        self._reject(Problem(Kind.DEADLINE_EXCEEDED, BODY_LATE))

    def _reject(self, error: Exception) -> None:
        """Refuse a request of which the rest of the body may still come."""
        self.unwanted, self.missing = self.missing, 0
        self._body.clear()
        self._lane.bodies.discard(self)
        if self.unwanted:
            self._linger = self.loop.call_later(LINGER, self.end)
        self._answer(self._lane.plane.refuse(error, self._context))

    def _drop(self, data: bytes) -> None:
        """Take the rest of a refused body; behind it the connection goes on."""
        dropped = min(len(data), self.unwanted)
        self.unwanted -= dropped
        if self.unwanted == 0:
            if self._linger:
                self._linger.cancel()
            if self.last:
                self.end()
            else:
                self._take(data[dropped:])

    def _returned(self, rest: bytes, *, goes_on: bool) -> None:
        self.lent = None
        self.put_aside(rest)
        self.be_idle()
        if not goes_on or self.server.leaving:
            self.end()
        elif not self.paused:
            self._go_on()
