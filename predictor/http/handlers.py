"""aiohttp's handlers: read a request, have it answered by the table of calls, return a response."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web
from multidict import CIMultiDict

from predictor.api.answers import NO_STORE, identify
from predictor.api.dataplane import Pending
from predictor.api.json_body import body_head
from predictor.api.problem_details import own_fault
from predictor.api.routes import Control, Document, FeedbackMeaning, ModelDocument, Predict, Probe, paths_of
from predictor.api.v2.errors import encode_refusal
from predictor.core.problems import Kind, Problem
from predictor.http.connection import Connection
from predictor.http.documents import document, model_document, model_in_path, probe
from predictor.http.limits import FREE_BYTES
from predictor.http.missing_calls import methods_at, no_such_call
from predictor.http.request_body import decoded, read_body
from predictor.http.request_faults import FAULT
from predictor.http.responses import problem_response, response_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from predictor.api.access import Access
    from predictor.api.answers import Answer
    from predictor.api.catalog import Catalog, ServedVersion
    from predictor.api.dataplane import CallKey, DataPlane, Reply, RequestContext
    from predictor.api.pattern.feedback import FeedbackCall
    from predictor.api.routes import Route
    from predictor.core.memory_budget import MemoryBudget
    from predictor.http.responses import Handler
    from predictor.http.server import HttpServer

    Call = Callable[[web.Request, RequestContext], Awaitable[web.Response]]

_CONTROL_BYTES = 64 << 10
"""Of the body of a call that loads or unloads."""
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


ACCESS: web.AppKey[Access] = web.AppKey("ACCESS")
IN_FLIGHT = web.AppKey("IN_FLIGHT", InFlight)
MEMORY: web.AppKey[MemoryBudget] = web.AppKey("MEMORY")
SERVER: web.AppKey[list[HttpServer]] = web.AppKey("SERVER", list)
"""The server of connections, once there is one."""


@web.middleware
async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with a problem what reaches no handler, and end the connections that must not go on."""
    in_flight = request.app[IN_FLIGHT]
    connection = request.protocol
    in_flight.begin()
    if isinstance(connection, Connection):
        connection.working = True
    try:
        if (fault := request.get(FAULT)) is not None:
            response: web.StreamResponse = problem_response(Problem(fault.kind, fault.detail))
        else:
            request.app[ACCESS].check_host(request.headers)
            response = await handler(request)
    except Problem as problem:  # of the check
        response = response_of(encode_refusal(problem, request.path))
    except web.HTTPException as error:  # `OPTIONS *`, `CONNECT`
        kind = Kind.NOT_FOUND if error.status == Kind.NOT_FOUND.status else Kind.BAD_REQUEST
        response = problem_response(Problem(kind, error.text or error.reason))
    finally:
        in_flight.end()
        if isinstance(connection, Connection):
            connection.rest()
    if isinstance(connection, Connection):
        if connection.last_answer or any(server.leaving for server in request.app[SERVER]):
            response.force_close()
        connection.persists = response.keep_alive is not False and request.keep_alive
        if connection.lent:
            await connection.end_lent(request)
    return response


def add_routes(
    router: web.UrlDispatcher,
    plane: DataPlane,
    catalog: Catalog,
    routes: Sequence[Route],
    access: Access,
    memory: MemoryBudget,
) -> None:
    """Register every call, and last what answers where no call is."""
    handlers = _Handlers(plane, catalog, access, memory)
    for route in routes:
        handler = handlers.of(route)
        for path in paths_of(route):
            # `/v1/models/iris:predict` is another call's path, not that of a model with a colon in its name.
            path = path.replace("{model}", "{model:[^/:]+}") if path.startswith("/v1/") else path  # noqa: PLW2901
            if route.method == "GET":
                router.add_get(path, handler, allow_head=not isinstance(route.meaning, Predict))  # HEAD never predicts
            else:
                router.add_route(route.method, path, handler)
    router.add_route("*", _ANY, handlers.unmatched())


class _Handlers:
    """Makes the handlers of one data plane."""

    def __init__(self, plane: DataPlane, catalog: Catalog, access: Access, memory: MemoryBudget) -> None:
        self._plane = plane
        self._catalog = catalog
        self._access = access
        self._memory = memory
        self._tracer = plane.tracer

    def of(self, route: Route) -> Handler:
        match route.meaning:
            case Predict(call):
                return self._surround(self._predict(call), route.path, predicts=True)
            case FeedbackMeaning(call):
                return self._surround(self._feedback(call), route.path)
            case Control(answer):
                return self._surround(self._control(answer), route.path)
            case ModelDocument(answer):
                return self._surround(model_document(answer), route.path)
            case Document(answer):
                return self._surround(document(answer), route.path)
            case Probe(answer):
                return probe(answer)

    def unmatched(self) -> Handler:
        async def unmatched(request: web.Request, context: RequestContext) -> web.Response:
            methods = await methods_at(request)
            if request.method == "OPTIONS" and methods:
                permitted = self._access.preflight(request.headers, methods)
                if permitted is not None:
                    response = web.Response(status=HTTPStatus.NO_CONTENT, headers=CIMultiDict([NO_STORE, *permitted]))
                    response.headers["X-Trace-Id"] = context.origin.trace_id
                    return response
            raise no_such_call(request, methods)

        return self._surround(unmatched, "")

    def _predict(self, call: CallKey) -> Call:
        async def predict(request: web.Request, context: RequestContext) -> web.Response:
            self._access.check_caller(request.headers, request.method, self._access.tokens)
            if context.served is None:
                raise self._catalog.unknown(*model_in_path(request))
            codec = context.served.codecs.get(call)
            if codec is None:
                raise no_such_call(request, set(), recorded=True)
            self._plane.admit(context)
            with self._memory.share(FREE_BYTES) as share:  # until the answer
                reply = self._plane.begin(await decoded(request, context.deadline, codec, share), context)
                if isinstance(reply, Pending):
                    reply = await _settled(reply)
            return response_of(codec.encode(reply))

        return predict

    def _feedback(self, call: FeedbackCall) -> Call:
        async def feedback(request: web.Request, context: RequestContext) -> web.Response:
            self._access.check_caller(request.headers, request.method, self._access.feedback_tokens)
            head = body_head(request.headers, request.content_length)
            job_id = call.check(request.match_info.get("job_id", ""), head)
            with self._memory.share(FREE_BYTES) as share:
                body = await read_body(request, context.deadline, call.limit, call.setting, share)
                answer = await call.answer(context.origin, job_id, body)
            identify(answer.headers, context.origin)
            return response_of(answer)

        return feedback

    def _control(self, call: Callable[[str, bytes], Awaitable[Answer]]) -> Call:
        async def control(request: web.Request, context: RequestContext) -> web.Response:
            self._access.check_control(request.headers, request.method)
            with self._memory.share(FREE_BYTES) as share:
                body = await read_body(request, context.deadline, _CONTROL_BYTES, "this call", share)
                answer = await call(request.match_info.get("model", ""), body)
            identify(answer.headers, context.origin)
            return response_of(answer)

        return control

    def _answers(self, call: Call, *, predicts: bool) -> Call:
        """Return a call that answers with a problem what it raises, and says which pages may read its answer."""
        plane, access = self._plane, self._access

        async def answers(request: web.Request, context: RequestContext) -> web.Response:
            try:
                response = await call(request, context)
            except Exception as error:  # noqa: BLE001 - every request gets an answer
                reply = plane.refuse(_known(error), context, predicts=predicts)
                answer = encode_refusal(reply.problem or own_fault(), context.path)
                identify(answer.headers, context.origin)
                response = response_of(answer)
            response.headers.extend(access.answer_headers(request.headers))
            return response

        return answers

    def _surround(self, call: Call, route: str, *, predicts: bool = False) -> Handler:
        """Return the handler of a call with what surrounds it: ids and sample, the deadline, problems, the trace."""
        plane, catalog = self._plane, self._catalog
        instrumentation, measure = self._tracer.instrumentation, plane.measure
        answered = self._answers(call, predicts=predicts)

        async def of_a_version(request: web.Request) -> web.StreamResponse:
            served = catalog.find(*model_in_path(request))
            if served is None:
                return await traced(request)
            served.hold()
            try:
                return await traced(request, served)
            finally:
                served.release()

        async def traced(request: web.Request, served: ServedVersion | None = None) -> web.StreamResponse:
            context = plane.open(request.headers, request.method, route, request.path, served)
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

        handler = of_a_version if predicts else traced

        async def measured(request: web.Request) -> web.StreamResponse:
            now = asyncio.get_running_loop().time
            begin = now()
            response = await handler(request)
            if measure:
                measure(now() - begin, request.method, route, response.status)
            return response

        return measured if measure else handler


async def _settled(pending: Pending) -> Reply:
    try:
        return await pending.reply()
    except asyncio.CancelledError:  # PREDICTOR_DRAIN is over
        pending.abandon()
        raise


def _known(error: Exception) -> Exception:
    """Return what aiohttp raises for a caller's fault as a problem, anything else as it is."""
    return Problem(Kind.BAD_REQUEST, error.reason) if isinstance(error, web.HTTPException) else error
