"""SpanLog: spans as lines of OTLP JSON, gathered for a moment.

The SDK's spans come in as a span processor; the spans of a prediction are written directly, since all of them is
known at once and the SDK's life cycle would only cost time.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import StatusCode

from predictor import ids, otlp, record
from predictor.outbox import OutboxError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from predictor.otlp import JSON
    from predictor.prediction import Origin, Prediction
    from predictor.record import Schema

_logger = logging.getLogger("predictor.spans")
_INTERNAL = 1
_GATHER = 0.1
"""Seconds: a line for each span would repeat the resource, and write and ship it, each time."""
_origin: ContextVar[Origin | None] = ContextVar("origin", default=None)


class Lines(Protocol):
    """Where lines go: the traces outbox."""

    def append(self, line: bytes) -> None:
        """Write one line; raises OutboxError."""


class SpanLog(SpanProcessor):
    """Writes spans to the traces outbox; a span that cannot be written is dropped, never a prediction refused."""

    def __init__(self, outbox: Lines, resource: JSON, version: str, *, gather: float = _GATHER) -> None:
        """Take the outbox, the resource (`otlp.resource_json`), the package version and how long to gather."""
        self._outbox = outbox
        self._gather = gather
        self._resource = resource
        self._own = otlp.head("traces", resource, otlp.scope_json(record.SCOPE_NAME, version))
        self._heads: dict[InstrumentationScope | None, bytes] = {}
        self._gathered: dict[bytes, list[bytes]] = {}
        self.dropped = 0

    @contextmanager
    def server(self, origin: Origin) -> Iterator[None]:
        """Tell which request the server span that ends inside belongs to: it begins at the request's arrival."""
        token = _origin.set(origin)
        try:
            yield
        finally:
            _origin.reset(token)

    def on_end(self, span: ReadableSpan) -> None:
        """Take a finished span from the SDK."""
        fields = otlp.span_json(span)
        origin = _origin.get()
        if origin and fields["spanId"] == origin.span_id:
            fields["startTimeUnixNano"] = str(origin.received_ns)
        scope = span.instrumentation_scope
        if scope not in self._heads:
            self._heads[scope] = otlp.span_head(self._resource, scope)
        self._add(self._heads[scope], fields)

    def predicted(self, schema: Schema, predictions: Sequence[Prediction]) -> None:
        """Write `predict` under the request's server span, and `queue` and `inference` under it."""
        first = predictions[0]
        origin = first.origin
        begin = origin.received_ns
        span_id = f"{ids.span_id():016x}"
        failed: JSON = {"status": {"code": StatusCode.ERROR.value}} if first.error else {}
        whole = (begin, begin + _ns(first.total))
        pairs = _told(schema, predictions)
        self._add(self._own, _span(origin, origin.span_id, span_id, "predict", whole, pairs) | failed)
        if first.queue is not None and first.inference is not None:
            started = begin + _ns(first.queue)
            finished = started + _ns(first.inference)
            for name, times in (("queue", (begin, started)), ("inference", (started, finished))):
                self._add(self._own, _span(origin, span_id, f"{ids.span_id():016x}", name, times, {}))

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

    def _add(self, head: bytes, fields: JSON) -> None:
        if not self._gathered:
            asyncio.get_running_loop().call_later(self._gather, self.flush)
        self._gathered.setdefault(head, []).append(otlp.encode(fields))


def _span(origin: Origin, parent: str, span_id: str, name: str, times: tuple[int, int], pairs: dict[str, Any]) -> JSON:
    fields: JSON = {
        "traceId": origin.trace_id,
        "spanId": span_id,
        "parentSpanId": parent,
        "flags": otlp.LOCAL_PARENT,
        "name": name,
        "kind": _INTERNAL,
        "startTimeUnixNano": str(times[0]),
        "endTimeUnixNano": str(times[1]),
    }
    return fields | ({"attributes": otlp.attributes(pairs)} if pairs else {})


def _told(schema: Schema, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Return the attributes of `predict`: label and confidence if there is one row; never the features."""
    first = predictions[0]
    pairs: dict[str, Any] = {
        "prediction.job_id": first.job_id,
        "prediction.model": schema.model,
        "prediction.rows": len(predictions),
        "prediction.batch.size": first.batch_size,
        "prediction.kept": first.origin.kept,
        "error.type": first.error.word if first.error else None,
    }
    if first.outlier is not None:
        pairs["prediction.outlier"] = any(prediction.outlier for prediction in predictions)
    if len(predictions) == 1 and first.label is not None and first.probabilities:
        pairs["prediction.label"] = schema.labels[first.label]
        pairs["prediction.confidence"] = first.probabilities[first.label]
    return {name: value for name, value in pairs.items() if value is not None}


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
