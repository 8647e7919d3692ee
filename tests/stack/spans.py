"""A receiver of spans in Tempo's place, which tells what came through the Collector."""

from __future__ import annotations

import gzip
from http.server import BaseHTTPRequestHandler

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.loopback_server import Loopback


class Receiver(Loopback):
    """Takes OTLP/HTTP protobuf from a Collector and remembers the names of spans by their trace and job."""

    def __init__(self) -> None:
        """Listen on a free port of loopback and serve nothing yet."""
        self._spans: list[tuple[str, str, str]] = []
        super().__init__(self._handler())

    @property
    def endpoint(self) -> str:
        """What TEMPO_ENDPOINT takes."""
        return self.url

    def trace(self, trace_id: str) -> set[str]:
        """Return the names of the spans of a trace."""
        return {name for trace, _, name in self._spans if trace == trace_id}

    def of_job(self, job_id: str) -> set[str]:
        """Return the ids of the traces that have a span of this prediction job."""
        return {trace for trace, job, _ in self._spans if job == job_id}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        spans = self._spans

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # the Collector keeps its connection

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        for span in scope.spans:
                            job = [a.value.string_value for a in span.attributes if a.key == "prediction.job_id"]
                            spans.append((span.trace_id.hex(), "".join(job), span.name))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
