"""Traces: the ids of a request, the head sample, and what is kept although the head sample passed it over.

Ids are drawn once, as the text that the record carries, and handed to the SDK when a request is traced; the sampler
of `OTEL_TRACES_SAMPLER` is asked once too. So the record, its flag and the instrumentation's span always agree.
"""

from __future__ import annotations

import re
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import propagate, trace
from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor, create_aiohttp_middleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

from predictor import ids
from predictor.prediction import Origin
from predictor.rate import PerSecond

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp import web
    from multidict import CIMultiDictProxy
    from opentelemetry.sdk.resources import Resource

    from predictor.prediction import Prediction
    from predictor.record import Schema
    from predictor.spans import SpanLog

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_KEPT_A_SECOND = 10
"""Traces kept beside the sample: enough to look at, too few to cost anything when everything is an outlier."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_COMPANIONS = {"tracestate", "baggage"}


class _Drawn(NamedTuple):
    trace_id: int
    span_id: int
    result: SamplingResult


_drawn: ContextVar[_Drawn | None] = ContextVar("drawn", default=None)


class Tracing:
    """Draws ids and keeps traces; without a span log only the former."""

    def __init__(self, resource: Resource, spans: SpanLog | None) -> None:
        """Set up the SDK's provider and the official instrumentation if there is somewhere to write spans to."""
        self._spans = spans
        self._fields = tuple(propagate.get_global_textmap().fields - _COMPANIONS)
        self._rate = PerSecond(_KEPT_A_SECOND)
        if spans is None:
            return
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        provider = TracerProvider(resource=resource, sampler=_Asked(), id_generator=_DrawnIds(), shutdown_on_exit=False)
        provider.add_span_processor(spans)
        instrumentor = AioHttpServerInstrumentor()
        instrumentor.instrument(tracer_provider=provider)  # reads its settings; its replaced Application is not used
        instrumentor.uninstrument()
        self._middleware = create_aiohttp_middleware(tracer_provider=provider)

    def begin(self, headers: CIMultiDictProxy[str], method: str, route: str) -> Origin:
        """Draw the ids of a request, honouring its trace context, and ask the sampler."""
        received, received_ns = time.monotonic(), time.time_ns()
        context = parent_id = None
        trace_id = 0
        for name in self._fields:
            if name in headers:
                context = propagate.extract(headers)
                parent = trace.get_current_span(context).get_span_context()
                if parent.is_valid:
                    trace_id, parent_id = parent.trace_id, f"{parent.span_id:016x}"
        trace_id, span_id = trace_id or ids.trace_id(), ids.span_id()
        request_id = headers.get("X-Request-Id")
        if request_id is not None and not _REQUEST_ID.fullmatch(request_id):
            request_id = None
        origin = Origin(f"{trace_id:032x}", f"{span_id:016x}", route, received_ns, received, request_id, parent_id)
        if self._spans is not None:
            result = self._sampler.should_sample(context, trace_id, f"{method} {route}", trace.SpanKind.SERVER)
            if result.decision is Decision.RECORD_AND_SAMPLE:
                origin.kept = "head"
                _drawn.set(_Drawn(trace_id, span_id, result))
        return origin

    async def traced(self, request: web.Request, origin: Origin, handler: Handler) -> web.StreamResponse:
        """Answer a request that `begin` sampled through the official instrumentation."""
        if self._spans is None:
            return await handler(request)
        with self._spans.server(origin):
            response: web.StreamResponse = await self._middleware(request, handler=handler)
        return response

    def keep(self, origin: Origin, *, outlier: bool = False, slow: bool = False, error: bool = False) -> None:
        """Set `origin.kept` if the request matters although it was not sampled."""
        if self._spans is None or origin.kept or not (outlier or slow or error):
            return
        if self._rate.allow():
            origin.kept = "error" if error else "outlier" if outlier else "slow"

    async def after_the_fact(self, request: web.Request, origin: Origin, response: web.StreamResponse) -> None:
        """Write the server span of an answered request that was kept: the instrumentation sees it answered."""

        async def answered(_: web.Request) -> web.StreamResponse:
            return response

        result = SamplingResult(Decision.RECORD_AND_SAMPLE)
        _drawn.set(_Drawn(int(origin.trace_id, 16), int(origin.span_id, 16), result))
        await self.traced(request, origin, answered)

    def predicted(self, schema: Schema, predictions: Sequence[Prediction]) -> None:
        """Write the spans under the server span of a request whose `origin.kept` is set."""
        if self._spans is not None:
            self._spans.predicted(schema, predictions)


class _DrawnIds(IdGenerator):
    """Gives the SDK the ids that were drawn for the request, then random ones."""

    def generate_trace_id(self) -> int:
        drawn = _drawn.get()
        return drawn.trace_id if drawn else ids.trace_id()

    def generate_span_id(self) -> int:
        drawn = _drawn.get()
        if drawn is None:
            return ids.span_id()
        _drawn.set(None)  # the server span has it; spans under it draw their own
        return drawn.span_id


class _Asked(Sampler):
    """Answers what the provider's own sampler answered when `begin` asked it."""

    def should_sample(self, *_: object, **__: object) -> SamplingResult:
        drawn = _drawn.get()
        return drawn.result if drawn else SamplingResult(Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return "the answer given when the request began"
