"""The tracer: ids of a request, the head sample, and what is kept although the sample passed it over.

Ids are drawn once, as the text that the record carries, and handed to the SDK when a request is traced; the sampler
of `OTEL_TRACES_SAMPLER` is asked once too. So the record, its flag and the server span always agree.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import CarrierT, Getter, default_getter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.util.http import get_excluded_urls

from predictor.core import ids
from predictor.core.rate_limit import TokenBucket
from predictor.core.result import Origin
from predictor.tracing.call_spans import CallSpans
from predictor.tracing.instrumentation import Instrumentation
from predictor.tracing.sdk_bridge import constant_answer, wanted_traces
from predictor.tracing.server_spans import ServerSpans

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.resources import Resource

    from predictor.core.result import Prediction
    from predictor.recording.record_schema import Schema
    from predictor.tracing.span_writer import SpanWriter

_KEPT_A_SECOND = 10
"""Traces kept beside the sample: enough to look at, too few to cost anything when everything is an outlier."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_COMPANIONS = {"tracestate", "baggage"}
_W3C = {"traceparent", "tracestate", "baggage"}
"""What the propagators read unless `OTEL_PROPAGATORS` says otherwise."""
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
"""A traceparent as nearly all are; the SDK takes five times as long to read it, and is asked about any other."""


class Tracer:
    """Draws ids and keeps traces; without a span writer only the former."""

    def __init__(self, resource: Resource, spans: SpanWriter | None, semconv: str = "http") -> None:
        """Take where spans are written to, if anywhere, and `OTEL_SEMCONV_STABILITY_OPT_IN`, which names attributes."""
        self._spans = spans
        if not isinstance(propagate.get_global_textmap(), _Lenient):
            propagate.set_global_textmap(_Lenient([propagate.get_global_textmap()]))  # the instrumentation's, too
        self.fields = frozenset(propagate.get_global_textmap().fields)
        """Headers that say something of a trace."""
        self._parent_fields = tuple(self.fields - _COMPANIONS)
        self._w3c = self.fields == _W3C
        self._rate = TokenBucket(_KEPT_A_SECOND, _KEPT_A_SECOND)
        self.instrumentation: Instrumentation | None = None
        """What makes the server spans of requests that aiohttp serves."""
        self.server_spans: ServerSpans | None = None
        """What makes those of all others by HTTP."""
        self.call_spans: CallSpans | None = None
        """What makes those of calls by gRPC."""
        if spans is None:
            return
        self._excluded = lru_cache(get_excluded_urls("AIOHTTP_SERVER").url_disabled)  # as the instrumentation does
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        self._may_want = wanted_traces(self._sampler)
        self._constant = constant_answer(self._sampler)
        self._heeds_parents = type(self._sampler) is not TraceIdRatioBased
        self.instrumentation = Instrumentation(resource, spans)
        self.server_spans = ServerSpans(spans, semconv)
        self.call_spans = CallSpans(spans)

    def begin(self, headers: Mapping[str, str], method: str, route: str) -> Origin:
        """Draw the ids of a request, honouring its trace context, and ask the sampler.

        A call by gRPC has a `route`, `/service/method`, and no `method`.
        """
        received, received_ns = time.monotonic(), time.time_ns()
        trace_id, parent_id = self._parent(headers)
        request_id = headers.get("X-Request-Id")
        if request_id is not None and not _REQUEST_ID.fullmatch(request_id):
            request_id = None
        trace_id = trace_id or ids.trace_id()
        origin = Origin(trace_id, ids.span_id(), route, received_ns, received, request_id, parent_id)
        if self._spans is not None:
            ask = (parent_id is not None and self._heeds_parents) or self._may_want(trace_id)
            if ask and not self._excluded(route):
                result = self._constant if parent_id is None else None
                if result is None:
                    context = propagate.extract(headers) if parent_id else None
                    name = f"{method} {route}" if method else route[1:]  # of a call by gRPC
                    result = self._sampler.should_sample(context, int(trace_id, 16), name, trace.SpanKind.SERVER)
                if result.decision is Decision.RECORD_AND_SAMPLE:
                    origin.kept, origin.sample = "head", result
        return origin

    def _parent(self, headers: Mapping[str, str]) -> tuple[str | None, str | None]:
        """Return the trace id and the span id of the caller, if it has some."""
        for name in self._parent_fields:
            if name in headers:
                if self._w3c and (match := _TRACEPARENT.fullmatch(headers[name])):
                    return match[1], match[2]
                parent = trace.get_current_span(propagate.extract(headers)).get_span_context()
                if parent.is_valid:
                    return f"{parent.trace_id:032x}", f"{parent.span_id:016x}"
        return None, None

    def keep(self, origin: Origin, *, outlier: bool = False, slow: bool = False, error: bool = False) -> None:
        """Set `origin.kept` if the request matters although it was not sampled, and no record denies it yet."""
        if self._spans is None or origin.kept or origin.recorded or not (outlier or slow or error):
            return
        if not self._excluded(origin.route) and not self._rate.take(1):
            origin.kept = "error" if error else "outlier" if outlier else "slow"

    def write_spans(self, schema: Schema, predictions: Sequence[Prediction]) -> None:
        """Write the spans under the server span of a request whose `origin.kept` is set."""
        if self._spans is not None:
            self._spans.write_spans(schema, predictions)


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
