"""Traces: the ids of a request, the head sample, and what is kept although the head sample passed it over.

Ids are drawn once, as the text that the record carries, and handed to the SDK when a request is traced; the sampler
of `OTEL_TRACES_SAMPLER` is asked once too. So the record, its flag and the instrumentation's span always agree.
"""

from __future__ import annotations

import re
import time
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor, create_aiohttp_middleware
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import CarrierT, Getter, default_getter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.util.http import (
    OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST,
    OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE,
    get_custom_headers,
    get_excluded_urls,
)

from predictor import ids
from predictor.drawn import Asked, DrawnIds, asks, hand_on
from predictor.prediction import Origin
from predictor.rate import PerSecond
from predictor.specimens import Specimens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp import web
    from multidict import CIMultiDictProxy
    from opentelemetry.sdk.resources import Resource

    from predictor.prediction import Prediction
    from predictor.record import Schema
    from predictor.spans import SpanLog
    from predictor.specimens import Like

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_KEPT_A_SECOND = 10
"""Traces kept beside the sample: enough to look at, too few to cost anything when everything is an outlier."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CAPTURE = (
    OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST,
    OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE,
)
_COMPANIONS = {"tracestate", "baggage"}


class Tracing:
    """Draws ids and keeps traces; without a span log only the former."""

    def __init__(self, resource: Resource, spans: SpanLog | None) -> None:
        """Set up the SDK's provider and the official instrumentation if there is somewhere to write spans to."""
        self._spans = spans
        if not isinstance(propagate.get_global_textmap(), _Lenient):
            propagate.set_global_textmap(_Lenient([propagate.get_global_textmap()]))  # the instrumentation's, too
        self._fields = tuple(propagate.get_global_textmap().fields - _COMPANIONS)
        self._rate = PerSecond(_KEPT_A_SECOND)
        self._specimens = Specimens(captured=any(get_custom_headers(name) for name in _CAPTURE))
        if spans is None:
            return
        self._excluded = lru_cache(get_excluded_urls("AIOHTTP_SERVER").url_disabled)  # as the instrumentation does
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        self._asks = asks(self._sampler)
        provider = TracerProvider(resource=resource, sampler=Asked(), id_generator=DrawnIds(), shutdown_on_exit=False)
        provider.add_span_processor(spans)
        instrumentor = AioHttpServerInstrumentor()
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of the Application it derives
            instrumentor.instrument(tracer_provider=provider)  # reads its settings; its Application is not used
        instrumentor.uninstrument()
        self._tracer = provider.get_tracer(__name__)
        self._middleware = create_aiohttp_middleware(tracer_provider=provider)

    def begin(self, headers: CIMultiDictProxy[str], method: str, route: str) -> Origin:
        """Draw the ids of a request, honouring its trace context, and ask the sampler."""
        received, received_ns = time.monotonic(), time.time_ns()
        context = trace_id = parent_id = None
        for name in self._fields:
            if name in headers:
                context = propagate.extract(headers)
                parent = trace.get_current_span(context).get_span_context()
                if parent.is_valid:
                    trace_id, parent_id = f"{parent.trace_id:032x}", f"{parent.span_id:016x}"
        request_id = headers.get("X-Request-Id")
        if request_id is not None and not _REQUEST_ID.fullmatch(request_id):
            request_id = None
        trace_id = trace_id or ids.trace_id()
        origin = Origin(trace_id, ids.span_id(), route, received_ns, received, request_id, parent_id)
        if self._spans is not None and (context is not None or self._asks(trace_id)) and not self._excluded(route):
            name = f"{method} {route}"
            result = self._sampler.should_sample(context, int(trace_id, 16), name, trace.SpanKind.SERVER)
            if result.decision is Decision.RECORD_AND_SAMPLE:
                origin.kept, origin.sample = "head", result
        return origin

    async def traced(
        self, request: web.Request, origin: Origin, handler: Handler, like: Like | None = None
    ) -> web.StreamResponse:
        """Answer a request that `begin` sampled through the official instrumentation; its span stands for its like."""
        if self._spans is None:
            return await handler(request)
        response: web.StreamResponse | None = None

        async def answered(request: web.Request) -> web.StreamResponse:
            nonlocal response
            response = await handler(request)
            return response

        hand_on(origin)
        with self._spans.server(origin) as server:
            try:
                await self._middleware(request, handler=answered)
            except Exception:  # noqa: BLE001 - it cannot read a header, such as a Host that makes no URL
                if response is None:
                    with self._tracer.start_as_current_span(origin.route, kind=trace.SpanKind.SERVER):
                        await answered(request)
        if like and server.fields:
            self._specimens.keep(like, server.head, server.fields)
        assert response is not None  # noqa: S101 - tells mypy: it was answered here or there
        return response

    def keep(self, origin: Origin, *, outlier: bool = False, slow: bool = False, error: bool = False) -> None:
        """Set `origin.kept` if the request matters although it was not sampled, and no record denies it yet."""
        if self._spans is None or origin.kept or origin.recorded or not (outlier or slow or error):
            return
        if not self._excluded(origin.route) and self._rate.allow():
            origin.kept = "error" if error else "outlier" if outlier else "slow"

    async def after_the_fact(
        self, request: web.Request, origin: Origin, response: web.StreamResponse, *, express: bool = False
    ) -> None:
        """Write the server span of an answered request that was kept: the instrumentation sees it answered."""
        like = self._specimens.like(request.headers, origin, response.status) if express else None

        async def answered(_: web.Request) -> web.StreamResponse:
            return response

        await self.traced(request, origin, answered, like)

    def copied(self, headers: CIMultiDictProxy[str], origin: Origin, status: int) -> bool:
        """Write the server span of an answered express request that was kept if the span of its like is known."""
        like = self._specimens.like(headers, origin, status)
        specimen = self._specimens.get(like) if like else None
        if specimen and self._spans:
            self._spans.copy(specimen, origin)
        return specimen is not None

    def predicted(self, schema: Schema, predictions: Sequence[Prediction]) -> None:
        """Write the spans under the server span of a request whose `origin.kept` is set."""
        if self._spans is not None:
            self._spans.predicted(schema, predictions)


class _Without(Getter[CarrierT]):
    """A getter that has no baggage: nothing here uses it, and the SDK takes quadratic time to read it."""

    def __init__(self, getter: Getter[CarrierT]) -> None:
        self._getter = getter

    def get(self, carrier: CarrierT, key: str) -> list[str] | None:
        return None if key == "baggage" else self._getter.get(carrier, key)

    def keys(self, carrier: CarrierT) -> list[str]:
        return self._getter.keys(carrier)


class _Lenient(CompositePropagator):
    """The propagators of `OTEL_PROPAGATORS`; one that fails (the SDK's own does on broken UTF-8) finds nothing."""

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        context = context or Context()
        try:
            return super().extract(carrier, context, _Without(getter))
        except Exception:  # noqa: BLE001 - the specification says that it never raises
            return context
