"""The usual wiring: aiohttp, its instrumentor, and the SDK's batch processors and OTLP exporters in the process.

What somebody who knows all of these would write: uvloop, msgspec for the JSON, the model in a thread pool with the
context carried over, a span around it, one log record a row with the attributes that the server's own records have.
Everything else is as OTEL_… variables and the SDK's defaults have it.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop
from aiohttp import web
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger, set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from bench.peers.iris import FEATURES, Iris

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_LABELS = ("setosa", "versicolor", "virginica")


class _Body(msgspec.Struct):
    data: list[list[float]]


_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode


class _Service:
    """The two routes; both give one record a row."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._model, self._pool = Iris(), pool
        self._tracer, self._logger = trace.get_tracer("obvious"), get_logger("obvious")

    async def one(self, request: web.Request) -> web.Response:
        job, (answer,) = await self._predict(request, "/predict")
        return _answer({"job_id": job, **answer})

    async def batch(self, request: web.Request) -> web.Response:
        job, answers = await self._predict(request, "/predict/batch")
        return _answer({"job_id": job, "predictions": answers})

    async def _predict(self, request: web.Request, route: str) -> tuple[str, list[dict[str, Any]]]:
        received, started, job = time.time_ns(), time.monotonic(), str(uuid.uuid4())
        rows = _decode(await request.read()).data
        with self._tracer.start_as_current_span("predict") as span:
            began = time.monotonic()
            context = contextvars.copy_context()
            loop = asyncio.get_running_loop()
            answers = await loop.run_in_executor(self._pool, context.run, self._model.answers, rows)
            inference = time.monotonic() - began
            span.set_attributes({"prediction.job_id": job, "prediction.model.name": "iris"})
            for index, (row, answer) in enumerate(zip(rows, answers, strict=True)):
                timing = {"inference": inference, "total": time.monotonic() - started}
                self._log(received, {"prediction.job_id": job, "prediction.index": index}, row, answer, timing, route)
        return job, answers

    def _log(
        self,
        received: int,
        ids: dict[str, Any],
        row: list[float],
        answer: dict[str, Any],
        timing: dict[str, float],
        route: str,
    ) -> None:
        probabilities = answer["prediction"]
        confidence = max(probabilities)
        label = _LABELS[probabilities.index(confidence)]
        attributes = {
            **ids,
            **{f"prediction.input.{name}": value for name, value in zip(FEATURES, row, strict=True)},
            "prediction.output": json.dumps(probabilities),
            "prediction.label": label,
            "prediction.confidence": confidence,
            "prediction.outlier": answer["is_outlier"],
            "prediction.outlier_score": answer["outlier_score"],
            **{f"prediction.duration.{name}": value for name, value in timing.items()},
            "prediction.model.name": "iris",
            "prediction.model.version": "1",
            "http.route": route,
            "event.name": "prediction",
        }
        outlier = answer["is_outlier"]
        record = LogRecord(
            timestamp=received,
            observed_timestamp=time.time_ns(),
            context=trace.set_span_in_context(trace.get_current_span()),
            severity_number=SeverityNumber.WARN if outlier else SeverityNumber.INFO,
            severity_text="WARN" if outlier else "INFO",
            body=f"{label} {confidence:.3f} iris@1 job={ids['prediction.job_id']}",
            attributes=attributes,
            event_name="prediction",
        )
        self._logger.emit(record)


def _answer(content: dict[str, Any]) -> web.Response:
    return web.Response(body=_encode(content), content_type="application/json")


def main() -> None:
    """Serve on 127.0.0.1 and the port given, until a signal ends it; then flush what is left."""
    tracers, loggers = TracerProvider(), LoggerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    trace.set_tracer_provider(tracers)
    set_logger_provider(loggers)
    AioHttpServerInstrumentor().instrument()
    with ThreadPoolExecutor(4) as pool:
        service = _Service(pool)
        routes: dict[str, Callable[[web.Request], Awaitable[web.Response]]] = {
            "/predict": service.one,
            "/predict/batch": service.batch,
        }
        app = web.Application()
        for path, handler in routes.items():
            app.router.add_post(path, handler)
        web.run_app(
            app, host="127.0.0.1", port=int(sys.argv[1]), loop=uvloop.new_event_loop(), access_log=None, print=None
        )
    loggers.shutdown()
    tracers.shutdown()


if __name__ == "__main__":
    main()
