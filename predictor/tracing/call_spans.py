"""Server spans of calls by gRPC, in the words of OpenTelemetry's semantic conventions for RPC.

https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from predictor import otlp
from predictor.tracing.server_spans import ERROR, SERVER, trace_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictor.core.result import Origin
    from predictor.otlp import JSON
    from predictor.tracing.span_writer import SpanWriter

SCOPE = "predictor.grpc"
_FAILED = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Statuses that are a server's error; the others are its caller's."""


class CallSpans:
    """Writes the server spans of calls by gRPC."""

    def __init__(self, spans: SpanWriter) -> None:
        """Take where spans go."""
        self._spans = spans
        self._head = spans.head(InstrumentationScope(SCOPE))

    def write(self, origin: Origin, metadata: Mapping[str, str], status: str) -> None:
        """Write the span of a call that ends now with a status such as `OK`."""
        method = origin.route[1:]
        sample = origin.sample
        pairs: dict[str, Any] = dict(sample.attributes) if sample and sample.attributes else {}
        pairs |= call_attributes(method, status)
        state = trace_state(origin, metadata)
        fields: JSON = {"traceState": state} if state else {}
        fields |= {"name": method, "kind": SERVER, "attributes": otlp.attributes(pairs)}
        self._spans.write_server(
            self._head, origin, otlp.span_rest(fields | {"status": ERROR if failed(status) else {}})
        )


def call_attributes(method: str, status: str) -> dict[str, Any]:
    """Return what span and metric say of a call: its `service/method`, and its status."""
    pairs = {"rpc.system.name": "grpc", "rpc.method": method, "rpc.response.status_code": status}
    return pairs | ({"error.type": status} if failed(status) else {})


def failed(status: str) -> bool:
    """Tell whether a call that ended so is the server's failure."""
    return status in _FAILED
