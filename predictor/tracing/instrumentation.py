"""The official instrumentation of aiohttp's server, for the requests that aiohttp serves and a trace is kept of."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor, create_aiohttp_middleware
from opentelemetry.sdk.trace import TracerProvider

from predictor.tracing.sdk_bridge import AnsweredSampler, AssignedIds, assign_ids
from predictor.tracing.server_spans import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web
    from opentelemetry.sdk.resources import Resource

    from predictor.core.result import Origin
    from predictor.tracing.span_writer import SpanWriter

    Middleware = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Instrumentation:
    """Makes the server span of a request of aiohttp: with the ids, the sample and the beginning that it has already."""

    def __init__(self, resource: Resource, spans: SpanWriter) -> None:
        """Set up a provider of the SDK that writes to `spans`, and the official instrumentation on it."""
        self._spans = spans
        provider = TracerProvider(
            resource=resource, sampler=AnsweredSampler(), id_generator=AssignedIds(), shutdown_on_exit=False
        )
        provider.add_span_processor(spans)
        instrumentor = AioHttpServerInstrumentor()
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of the Application it derives
            instrumentor.instrument(tracer_provider=provider)  # reads its settings; its Application is not used
        instrumentor.uninstrument()
        self._tracer = provider.get_tracer(UNREADABLE)
        self._middleware = create_aiohttp_middleware(tracer_provider=provider)

    async def serve(self, request: web.Request, origin: Origin, handler: Middleware) -> web.StreamResponse:
        """Answer a request by `handler` inside its server span."""
        response: web.StreamResponse | None = None

        async def answered(request: web.Request) -> web.StreamResponse:
            nonlocal response
            response = await handler(request)
            return response

        assign_ids(origin)
        with self._spans.server(origin):
            try:
                await self._middleware(request, handler=answered)
            except Exception:  # noqa: BLE001 - it cannot read a header, such as a Host that makes no URL
                if response is None:
                    with self._tracer.start_as_current_span(origin.route, kind=trace.SpanKind.SERVER):
                        await answered(request)
        assert response is not None  # noqa: S101 - tells mypy: it was answered here or there
        return response

    async def after_the_fact(self, request: web.Request, origin: Origin, response: web.StreamResponse) -> None:
        """Write the server span of a request that turned out to matter when it was answered."""

        async def answered(_: web.Request) -> web.StreamResponse:
            return response

        await self.serve(request, origin, answered)
