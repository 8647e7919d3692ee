"""`POST /predict` without a task, a Request and a Response of aiohttp: they cost more than all that is done here.

Only for a complete, ordinary request; every other one goes aiohttp's way through `middleware.py` and `calls.py`, and is
answered the same. `connection.py` decides which is which.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11

from predictor.web.middleware import identify, refuse
from predictor.web.payload import Answer, check_size, decode_row, encode

if TYPE_CHECKING:
    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader

    from predictor.job import Job
    from predictor.pipeline import Pipeline
    from predictor.prediction import Origin
    from predictor.web.middleware import Refused, Surroundings

_logger = logging.getLogger("predictor")
ROUTE = "/predict"
_OK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Trace-Id: %b\r\n"
    b"Content-Length: %d\r\nDate: %b\r\nServer: %b\r\n\r\n%b"
)


class Line(Protocol):
    """The connection that an answer goes to."""

    def answered(self, raw: bytes) -> None:
        """Send the answer."""

    async def request(self, message: RawRequestMessage) -> web.Request:
        """Return an answered request as aiohttp's."""

    def force_close(self) -> None:
        """Drop the connection."""


class Express:
    """Answers single predictions straight from and to the connection."""

    def __init__(
        self,
        pipeline: Pipeline,
        surroundings: Surroundings,
        refused: Refused | None,
        *,
        batch_rows: int,
        body_bytes: int,
    ) -> None:
        """Take what the ordinary way takes."""
        self._pipeline = pipeline
        self._tracing, self._deadline, self._measure = surroundings
        self._refused = refused
        self._batch_rows = batch_rows
        self._body_bytes = body_bytes
        self._width = len(pipeline.schema.features)
        self._server = SERVER_SOFTWARE.encode()
        self._tasks: set[asyncio.Task[None]] = set()

    def fits(self, message: RawRequestMessage) -> bool:
        """Tell whether a complete request is an ordinary one."""
        return (
            message.path == ROUTE
            and message.method == "POST"
            and message.version == HttpVersion11
            and message.headers.get("Content-Type") == "application/json"
            and not (message.should_close or message.upgrade or message.compression or "Expect" in message.headers)
        )

    def answer(self, connection: Line, message: RawRequestMessage, payload: StreamReader) -> None:
        """Predict and log; calls `connection.answered` once, now or later."""
        origin = self._tracing.begin(message.headers, message.method, ROUTE)
        exchange = Exchange(self, connection, message, origin)
        try:
            self._pipeline.admit()
            body = payload.read_nowait()
            check_size(len(body), self._body_bytes)
            rows = decode_row(body, self._width, self._batch_rows)
            deadline = asyncio.get_running_loop().time() + self._deadline
            exchange.job = self._pipeline.start(origin, rows, exchange, deadline)
        except Exception as error:  # noqa: BLE001 - every request gets an answer
            exchange.set_exception(error)

    def settle(self, exchange: Exchange, error: BaseException | None) -> None:
        """Send the answer, and write the spans of a request that was kept."""
        job, origin, exchange.job = exchange.job, exchange.origin, None  # no cycle is left for the collector to find
        if job:
            self._pipeline.deadlines.discard(job)
        response: web.Response | None = None
        status = int(HTTPStatus.OK)
        if error is None and job and job.logged and origin.request_id is None:
            raw = self._ok(job)
        else:
            response = self._response(exchange, job, error)
            status = response.status
            raw = _raw(response, self._server)
        if origin.kept and not self._tracing.copied(exchange.message.headers, origin, status):
            response = response or self._response(exchange, job, error)
            task = asyncio.ensure_future(self._after_the_fact(exchange, response))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._measure:
            self._measure(origin.elapsed(), "POST", ROUTE, status)
        exchange.connection.answered(raw)  # last: it goes on with the connection's next request

    def _ok(self, job: Job) -> bytes:
        p = job.predictions[0]
        body = encode(Answer(job.job_id, p.probabilities or [], p.outlier, p.score))
        date = rfc822_formatted_time().encode()
        return _OK % (job.origin.trace_id.encode(), len(body), date, self._server, body)

    def _response(self, exchange: Exchange, job: Job | None, error: BaseException | None) -> web.Response:
        if error or job is None:
            failure = error if isinstance(error, Exception) else RuntimeError("ended without an outcome")
            return refuse(failure, exchange.origin, ROUTE, self._tracing, self._refused)
        p = job.predictions[0]
        answer = Answer(job.job_id, p.probabilities or [], p.outlier, p.score)
        response = web.Response(body=encode(answer), content_type="application/json")
        if not job.logged:
            response.headers["X-Prediction-Logged"] = "false"
        return identify(response, exchange.origin)

    async def _after_the_fact(self, exchange: Exchange, response: web.Response) -> None:
        request = await exchange.connection.request(exchange.message)
        await self._tracing.after_the_fact(request, exchange.origin, response, express=True)


class Exchange:
    """One request on its way; stands where the job's future would, and answers when it is settled."""

    __slots__ = ("_done", "_express", "connection", "job", "message", "origin")

    def __init__(self, express: Express, connection: Line, message: RawRequestMessage, origin: Origin) -> None:
        """Be unsettled."""
        self._express = express
        self._done = False
        self.connection = connection
        self.message = message
        self.origin = origin
        self.job: Job | None = None

    def done(self) -> bool:
        """Tell whether it is settled."""
        return self._done

    def set_result(self, _: None) -> None:
        """Answer with the job's prediction."""
        self._settle(None)

    def set_exception(self, error: BaseException) -> None:
        """Answer with what went wrong."""
        self._settle(error)

    def _settle(self, error: BaseException | None) -> None:
        self._done = True
        try:
            self._express.settle(self, error)
        except Exception:  # one answer that cannot be sent must not keep its batch-mates from theirs
            _logger.exception("an answer could not be sent", extra={"trace_id": self.origin.trace_id})
            self.connection.force_close()


def _raw(response: web.Response, server: bytes) -> bytes:
    body = response.body if isinstance(response.body, bytes) else b""
    headers = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    return b"HTTP/1.1 %d %b\r\n%bContent-Length: %d\r\nDate: %b\r\nServer: %b\r\n\r\n%b" % (
        response.status,
        response.reason.encode(),
        headers.encode(),
        len(body),
        rfc822_formatted_time().encode(),
        server,
        body,
    )
