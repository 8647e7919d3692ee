"""The judge of our OTLP JSON: the SDK's own logger and spans through the official encoder and the official bindings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.json.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
from opentelemetry.proto_json.logs.v1.logs import LogsData
from opentelemetry.proto_json.trace.v1.trace import TracesData
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from opentelemetry.sdk.trace import ReadableSpan

VERSION = "1.2.3"
RESOURCE = Resource({"service.name": "predictor", "service.instance.id": "0199", "process.pid": 7, "é": ["a", "b"]})


class Logger:
    """The SDK's logger under one resource and scope; what it emitted comes out as the official encoder's JSON."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        """Take the scope's attributes."""
        self._kept = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call] # the SDK's own
        provider = LoggerProvider(RESOURCE, shutdown_on_exit=False)
        provider.add_log_record_processor(SimpleLogRecordProcessor(self._kept))
        self._logger = provider.get_logger("predictor", VERSION, attributes=dict(scope))

    def emit(
        self,
        *,
        name: str,
        attributes: Mapping[str, Any],
        body: str,
        severity: tuple[int, str],
        times: tuple[int, int],
        ids: tuple[str, str, bool] | None = None,
    ) -> Self:
        """Emit one event; `times` are its own and the observation's, `ids` trace id, span id and sampled."""
        context = None
        if ids:
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if ids[2] else trace.TraceFlags.DEFAULT)
            span = trace.SpanContext(int(ids[0], 16), int(ids[1], 16), is_remote=False, trace_flags=flags)
            context = trace.set_span_in_context(trace.NonRecordingSpan(span))
        self._logger.emit(
            timestamp=times[0],
            observed_timestamp=times[1],
            context=context,
            severity_number=SeverityNumber(severity[0]),
            severity_text=severity[1],
            body=body,
            attributes=dict(attributes),
            event_name=name,
        )
        return self

    def encoded(self) -> str:
        """Return everything emitted, in a form to compare."""
        return comparable(encode_logs(self._kept.get_finished_logs()).to_dict())


def spans(finished: Sequence[ReadableSpan]) -> str:
    """Return SDK spans as the official encoder writes them, in a form to compare."""
    return comparable(encode_spans(finished).to_dict())


def comparable(data: Any) -> str:  # noqa: ANN401 - parsed JSON
    """Return parsed JSON as one text that is equal exactly if every value is: 1 is not 1.0, 0.0 is not -0.0."""
    return json.dumps(data, sort_keys=True, indent=1)


def parsed(line: bytes) -> Any:  # noqa: ANN401 - parsed JSON
    """Return a line as the standard library reads it, once the official bindings have read it without a loss."""
    data = json.loads(line)
    kind = LogsData if "resourceLogs" in data else TracesData
    assert comparable(kind.from_json(line).to_dict()) == comparable(data)
    return data
