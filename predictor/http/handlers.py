"""aiohttp's handlers: read a request, have it answered by the table of calls, return a response."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from predictor.api.answers import identify
from predictor.api.content_coding import coding_of, decompress
from predictor.api.dataplane import Pending
from predictor.api.json_body import BODY_BROKEN, BODY_LATE, BodyHead, check_size
from predictor.api.problem_details import encode_problem, own_fault
from predictor.api.routes import Document, FeedbackMeaning, Predict, Probe, paths_of
from predictor.core.problems import Kind, Problem
from predictor.http.connection import FAULT, Connection
from predictor.http.responses import problem_response, response_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from predictor.api.answers import Answer
    from predictor.api.content_coding import Slices
    from predictor.api.dataplane import DataPlane, Reply, RequestContext
    from predictor.api.pattern.feedback import FeedbackCall
    from predictor.api.pattern.predict import Codec
    from predictor.api.routes import Route
    from predictor.http.responses import Handler
    from predictor.http.server import HttpServer

    Call = Callable[[web.Request, RequestContext], Awaitable[web.Response]]

T = TypeVar("T")
_BODY_BYTES = "PREDICTOR_BODY_BYTES"
_ANYWHERE = "/{path}"
_ANY = r"/{path:[\s\S]*}"  # a path may hold an escaped newline


class InFlight:
    """Counts the requests that handlers work on."""

    def __init__(self) -> None:
        """Begin with none."""
        self._number = 0

    def count(self) -> int:
        """Return how many there are."""
        return self._number

    def begin(self) -> None:
        """Count one more."""
        self._number += 1

    def end(self) -> None:
        """Count one less."""
        self._number -= 1


IN_FLIGHT = web.AppKey("IN_FLIGHT", InFlight)
SERVER: web.AppKey[list[HttpServer]] = web.AppKey("SERVER", list)
"""The server of connections, once there is one."""


@web.middleware
async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with a problem what reaches no handler, and end the connections that must not go on."""
    in_flight = request.app[IN_FLIGHT]
    connection = request.protocol
    in_flight.begin()
    try:
        if (fault := request.get(FAULT)) is not None:
            response: web.StreamResponse = problem_response(Problem(fault.kind, fault.detail))
        else:
            response = await handler(request)
    except web.HTTPException as error:  # `OPTIONS *`, `CONNECT`
        kind = Kind.NOT_FOUND if error.status == Kind.NOT_FOUND.status else Kind.BAD_REQUEST
        response = problem_response(Problem(kind, error.text or error.reason))
    finally:
        in_flight.end()
    if isinstance(connection, Connection):
        if connection.last_answer or any(server.leaving for server in request.app[SERVER]):
            response.force_close()
        connection.persists = response.keep_alive is not False and request.keep_alive
        if connection.lent:
            await connection.end_lent(request)
    return response


def add_routes(router: web.UrlDispatcher, plane: DataPlane, routes: Sequence[Route]) -> None:
    """Register every call, and last what answers where no call is."""
    handlers = _Handlers(plane)
    for route in routes:
        handler = handlers.of(route)
        for path in paths_of(route):
            if route.method == "GET":
                router.add_get(path, handler, allow_head=not isinstance(route.meaning, Predict))  # HEAD never predicts
            else:
                router.add_route(route.method, path, handler)
    router.add_route("*", _ANY, handlers.unmatched())


class _Handlers:
    """Makes the handlers of one data plane."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._tracer = plane.tracer

    def of(self, route: Route) -> Handler:
        match route.meaning:
            case Predict(codec):
                return self._surround(self._predict(codec), route.path, predicts=True)
            case FeedbackMeaning(call):
                return self._surround(self._feedback(call), route.path)
            case Document(answer):
                return self._surround(_document(answer), route.path)
            case Probe(answer):
                return _probe(answer)

    def unmatched(self) -> Handler:
        return self._surround(_unmatched, "")

    def _predict(self, codec: Codec) -> Call:
        async def predict(request: web.Request, context: RequestContext) -> web.Response:
            self._plane.admit()
            head, body = BodyHead(request.headers.get("Content-Type"), request.content_length), b""
            if codec.takes_body:
                codec.check(head)
                body = await _read_body(request, context.deadline, request.client_max_size, _BODY_BYTES)
            reply = self._plane.begin(codec.decode(head, body), context)
            if isinstance(reply, Pending):
                reply = await _settled(reply)
            return response_of(codec.encode(reply))

        return predict

    def _feedback(self, call: FeedbackCall) -> Call:
        async def feedback(request: web.Request, context: RequestContext) -> web.Response:
            head = BodyHead(request.headers.get("Content-Type"), request.content_length)
            job_id = call.check(request.headers.get("Authorization", ""), request.match_info["job_id"], head)
            body = await _read_body(request, context.deadline, call.limit, call.setting)
            answer = await call.answer(context.origin, job_id, body)
            identify(answer.headers, context.origin)
            return response_of(answer)

        return feedback

    def _surround(self, call: Call, route: str, *, predicts: bool = False) -> Handler:
        """Return the handler of a call with what surrounds it: ids and sample, the deadline, problems, the trace."""
        plane, instrumentation, measure = self._plane, self._tracer.instrumentation, self._plane.measure

        async def answered(request: web.Request, context: RequestContext) -> web.StreamResponse:
            try:
                return await call(request, context)
            except Exception as error:  # noqa: BLE001 - every request gets an answer
                reply = plane.refuse(_known(error), context, predicts=predicts)
                answer = encode_problem(reply.problem or own_fault(), context.path)
                identify(answer.headers, context.origin)
                return response_of(answer)

        async def traced(request: web.Request) -> web.StreamResponse:
            context = plane.open(request.headers, request.method, route, request.path)
            origin = context.origin
            if origin.kept and instrumentation:
                return await instrumentation.serve(request, origin, lambda request: answered(request, context))
            try:
                response = await answered(request, context)
            except asyncio.CancelledError:  # PREDICTOR_DRAIN is over
                if origin.kept and instrumentation:  # and recorded so
                    gone = web.Response(status=Kind.DRAINING.status)
                    await instrumentation.after_the_fact(request, origin, gone)
                raise
            if origin.kept and instrumentation:
                await instrumentation.after_the_fact(request, origin, response)
            return response

        async def measured(request: web.Request) -> web.StreamResponse:
            now = asyncio.get_running_loop().time
            begin = now()
            response = await traced(request)
            if measure:
                measure(now() - begin, request.method, route, response.status)
            return response

        return measured if measure else traced


async def _settled(pending: Pending) -> Reply:
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def settle(reply: Reply) -> None:
        if not future.done():
            future.set_result(reply)

    pending.callback = settle
    try:
        return await future
    except asyncio.CancelledError:  # PREDICTOR_DRAIN is over
        pending.abandon()
        raise


async def _read_body(request: web.Request, deadline: float, limit: int, setting: str) -> bytes:
    """Return a request's body, read before the deadline and decompressed; `setting` says the limit; raises Problem."""
    coding = coding_of(request.headers.getall("Content-Encoding", []))
    body = await _read_raw(request, deadline)
    check_size(len(body), limit, setting)
    return await _in_turns(decompress(body, coding, limit, setting)) if coding else body


async def _in_turns(slices: Slices[T]) -> T:
    """Do work slice by slice, so that others have their turn between."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)


async def _read_raw(request: web.Request, deadline: float) -> bytes:
    """Return a request's body as it came; raises Problem."""
    try:
        if request.content.is_eof():  # it came with the headers: no timer, no copy
            return request.content.read_nowait()
        async with asyncio.timeout_at(deadline):
            return await request.read()
    except TimeoutError:
        raise Problem(Kind.DEADLINE_EXCEEDED, BODY_LATE) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        # The request holds the error, whose traceback would hold this frame, and so the request with its whole body.
        error.__traceback__ = None
        raise Problem(Kind.BAD_REQUEST, BODY_BROKEN) from None


def _known(error: Exception) -> Exception:
    """Return what aiohttp raises for a caller's fault as a problem, anything else as it is."""
    match error:
        case web.HTTPRequestEntityTooLarge():
            return Problem(Kind.CONTENT_TOO_LARGE, "the body is larger than this server takes (PREDICTOR_BODY_BYTES)")
        case web.HTTPException():
            return Problem(Kind.BAD_REQUEST, error.reason)
    return error


def _document(answer: Callable[[], Answer]) -> Call:
    async def document(_: web.Request, context: RequestContext) -> web.Response:
        found = answer()
        identify(found.headers, context.origin)
        return response_of(found)

    return document


def _probe(answer: Callable[[], Answer]) -> Handler:
    async def probe(_: web.Request) -> web.Response:
        return response_of(answer())

    return probe


async def _unmatched(request: web.Request, _: RequestContext) -> web.Response:
    """Say that the path is unknown, or which methods it has."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource.canonical != _ANYWHERE:
            allowed |= (await resource.resolve(request))[1]
    if not allowed:
        raise Problem(Kind.NOT_FOUND, f"nothing is at {request.path}; GET /metadata says what this server predicts")
    methods = ", ".join(sorted(allowed))
    detail = f"{request.path} takes {methods}, not {request.method}"
    raise Problem(Kind.METHOD_NOT_ALLOWED, detail, headers={"Allow": methods})
