"""Metrics, only when asked for: the standard OTLP exporter, fed from what the parts count anyway."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.util.http import sanitize_method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.sdk.resources import Resource

    from predictor.api.catalog import Catalog
    from predictor.server.log_service import LogService


class Instrument(NamedTuple):
    """A number that is read when metrics are exported."""

    name: str
    unit: str
    meaning: str
    read: Callable[[], float | Iterable[Observation]]
    rises_only: bool = True


class Metrics:
    """The meter provider of this process; exports every `OTEL_METRIC_EXPORT_INTERVAL` (60 s)."""

    def __init__(self, resource: Resource, version: str, instruments: Iterable[Instrument]) -> None:
        """Start exporting to the endpoint that OpenTelemetry's variables name."""
        self._provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource)
        meter = self._provider.get_meter("predictor", version)
        for instrument in instruments:
            create = meter.create_observable_counter if instrument.rises_only else meter.create_observable_gauge
            create(instrument.name, [_reader(instrument.read)], instrument.unit, instrument.meaning)
        self._duration = meter.create_histogram(
            "http.server.request.duration",
            "s",
            "Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=_SEMCONV_BUCKETS,
        )

    def request(self, seconds: float, method: str, route: str, status: int) -> None:
        """Record an answered request; `route` is empty where nothing is at the path."""
        pairs: dict[str, str | int] = {
            # From a closed list: callers must not be able to make new series.
            "http.request.method": sanitize_method(method) or "_OTHER",
            "http.response.status_code": status,
            "url.scheme": "http",
        }
        if route:
            pairs["http.route"] = route
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            pairs["error.type"] = str(status)
        self._duration.record(seconds, pairs)

    async def shutdown(self, seconds: float) -> None:
        """Export once more, for at most `seconds`."""
        await asyncio.to_thread(self._provider.shutdown, timeout_millis=seconds * 1000)


def instruments(book: LogService, catalog: Catalog) -> tuple[Instrument, ...]:
    """Return what is read of the prediction log, and of the models that are served."""
    logs = book.counters["logs"]
    return (
        Instrument("predictor.outbox.size", "By", "Bytes under the outbox.", lambda: book.usage.used, rises_only=False),
        Instrument("predictor.outbox.backlog", "By", "Bytes not shipped.", book.backlog_bytes, rises_only=False),
        Instrument(
            "predictor.outbox.age", "s", "Age of the oldest unshipped record.", book.backlog_age, rises_only=False
        ),
        Instrument("predictor.log.records", "{record}", "Records of the stream.", lambda: book.stream.sequence),
        Instrument("predictor.log.shipped", "{record}", "Records accepted by the sink.", lambda: logs.shipped),
        Instrument("predictor.log.retried", "{request}", "Requests in vain.", lambda: logs.retried),
        Instrument("predictor.log.refused", "{record}", "Records refused by the sink.", lambda: logs.refused),
        Instrument(
            "predictor.model.queue", "{row}", "Rows that wait for a model.", lambda: _queues(catalog), rises_only=False
        ),
        Instrument("predictor.log.lost", "{record}", "Records declared lost.", lambda: book.stream.lost),
    )


def _queues(catalog: Catalog) -> Iterable[Observation]:
    """Yield the rows that wait for each version; what is served can be told from it."""
    for version in catalog.versions():
        names = {"prediction.model.name": version.name, "prediction.model.version": version.version}
        yield Observation(version.pipeline.queued_rows, names)


def _reader(read: Callable[[], float | Iterable[Observation]]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        found = read()
        return [Observation(found)] if isinstance(found, (int, float)) else found

    return observe


_SEMCONV_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserverrequestduration"""
