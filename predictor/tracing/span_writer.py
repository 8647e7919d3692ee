"""Writes spans as lines of OTLP JSON to the traces outbox, gathered for a moment.

The SDK's spans come in as a span processor; the spans of a prediction are written directly (`prediction_spans.py`),
since the SDK's life cycle would only cost time.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from predictor import otlp
from predictor.outbox import OutboxError
from predictor.recording import record_schema
from predictor.tracing.prediction_spans import spans_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from predictor.core.result import Origin, Prediction
    from predictor.otlp import JSON
    from predictor.recording.record_schema import Schema

_logger = logging.getLogger("predictor.spans")
_GATHER = 0.1
"""Seconds: a line for each span would repeat the resource, and write and ship it, each time."""
_URLS = frozenset({"http.target", "http.url", "url.full"})
"""Attributes that have the query behind the path; the first two by the names of before."""


class SpanSink(Protocol):
    """Where lines go: the traces outbox."""

    def append(self, line: bytes) -> None:
        """Write one line; raises OutboxError."""


_server: ContextVar[Origin | None] = ContextVar("server", default=None)


class SpanWriter(SpanProcessor):
    """Writes spans to the traces outbox; a span that cannot be written is dropped, never a prediction refused."""

    def __init__(self, outbox: SpanSink, resource: JSON, version: str, *, gather: float = _GATHER) -> None:
        """Take the outbox, the resource (`otlp.resource_json`), the package version and how long to gather."""
        self._outbox = outbox
        self._gather = gather
        self._resource = resource
        self._own = otlp.head("traces", resource, otlp.scope_json(record_schema.SCOPE_NAME, version))
        self._heads: dict[InstrumentationScope | None, bytes] = {}
        self._gathered: dict[bytes, list[bytes]] = {}
        self.dropped = 0

    def head(self, scope: InstrumentationScope | None) -> bytes:
        """Return the beginning of a line of spans of one scope."""
        if scope not in self._heads:
            self._heads[scope] = otlp.span_head(self._resource, scope)
        return self._heads[scope]

    @contextmanager
    def server(self, origin: Origin) -> Iterator[None]:
        """Name the request whose server span ends inside: the span begins with the request's arrival."""
        token = _server.set(origin)
        try:
            yield
        finally:
            _server.reset(token)

    def on_end(self, span: ReadableSpan) -> None:
        """Take a finished span from the SDK."""
        fields = otlp.span_json(span)
        if attributes := fields.get("attributes"):
            fields["attributes"] = list(_without_query(attributes))
        origin = _server.get()
        if origin and fields["spanId"] == origin.span_id:
            fields["startTimeUnixNano"] = str(origin.received_ns)
        self._add(self.head(span.instrumentation_scope), otlp.encode(fields))

    def write_server(self, head: bytes, origin: Origin, rest: bytes) -> None:
        """Write the server span of a request that ends now: ids and times of `origin`, then `rest`."""
        times = (origin.received_ns, origin.received_ns + _ns(origin.elapsed()))
        parent = origin.parent_span_id
        text = otlp.span_bytes(origin.trace_id, origin.span_id, parent, times, rest, remote=parent is not None)
        self._add(head, text)

    def write_spans(self, schema: Schema, predictions: Sequence[Prediction]) -> None:
        """Write `predict` under the request's server span, and `queue` and `inference` under it."""
        for span in spans_of(schema, predictions):
            self._add(self._own, span)

    def flush(self) -> None:
        """Write what has gathered."""
        gathered, self._gathered = self._gathered, {}
        for head, items in gathered.items():
            try:
                self._outbox.append(otlp.line(head, items))
            except OutboxError:
                self.dropped += len(items)  # the outbox has said why

    def shutdown(self) -> None:
        """Write what has gathered."""
        self.flush()

    def _add(self, head: bytes, span: bytes) -> None:
        if not self._gathered:
            asyncio.get_running_loop().call_later(self._gather, self.flush)
        self._gathered.setdefault(head, []).append(span)


def _without_query(attributes: list[JSON]) -> Iterator[JSON]:
    """Yield a span's attributes without what the caller wrote behind the path: it may be anything, also a name."""
    for each in attributes:
        if each["key"] in _URLS and "stringValue" in each["value"]:
            yield {"key": each["key"], "value": {"stringValue": each["value"]["stringValue"].partition("?")[0]}}
        elif each["key"] != "url.query":
            yield each


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
