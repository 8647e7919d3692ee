"""Metrics, only when asked for: read of what the parts count anyway, whichever way they leave."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.util.http import sanitize_method

from predictor.core.problems import Kind
from predictor.tracing.call_spans import call_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

    from predictor.api.catalog import Catalog, ServedVersion
    from predictor.server.log_service import LogService


class Instrument(NamedTuple):
    """A number that is read when metrics are exported."""

    name: str
    unit: str
    meaning: str
    read: Callable[[], float | Iterable[Observation]]
    rises_only: bool = True


class Metrics:
    """The meter provider of this process."""

    def __init__(
        self, reader: MetricReader, resource: Resource, version: str, instruments: Iterable[Instrument]
    ) -> None:
        """Let `reader` collect the instruments and the duration of requests."""
        self._provider = MeterProvider([reader], resource)
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
        self._call_duration = meter.create_histogram(
            "rpc.server.call.duration",
            "s",
            "Duration of calls by gRPC.",
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

    def call(self, seconds: float, method: str, status: str) -> None:
        """Record a call by gRPC that has ended with a status such as `OK`; `method` is one that is served."""
        self._call_duration.record(seconds, call_attributes(method, status))

    async def shutdown(self, seconds: float) -> None:
        """Export once more, for at most `seconds`, or the moment that the provider needs to end at all."""
        await asyncio.to_thread(self._provider.shutdown, timeout_millis=max(seconds, _LEAST) * 1000)


def exporter() -> MetricReader:
    """Return what exports by OTLP to OpenTelemetry's endpoint, every `OTEL_METRIC_EXPORT_INTERVAL` (60 s)."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415 - takes long to import
        OTLPMetricExporter,
    )
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415 - only for that

    return PeriodicExportingMetricReader(OTLPMetricExporter())


def instruments(book: LogService, catalog: Catalog, refusals: Mapping[Kind, int]) -> tuple[Instrument, ...]:
    """Return what is read of the prediction log, of the models that are served, and of the calls that were refused."""
    logs, usage = book.counters["logs"], book.usage

    def by_version(read: Callable[[ServedVersion], float]) -> Callable[[], Iterable[Observation]]:
        return lambda: [Observation(read(each), _names(each)) for each in catalog.versions()]

    def refused() -> Iterable[Observation]:
        # Each from 0 on: an alert cannot see the first rise of a series that begins with it.
        return [Observation(refusals.get(kind, 0), {"error.type": kind.word}) for kind in Kind]

    return (
        Instrument("predictor.outbox.size", "By", "Bytes under the outbox.", lambda: usage.used, rises_only=False),
        Instrument("predictor.outbox.limit", "By", "Bytes it may have.", lambda: book.limit_bytes, rises_only=False),
        Instrument("predictor.outbox.backlog", "By", "Bytes not shipped.", book.backlog_bytes, rises_only=False),
        Instrument(
            "predictor.outbox.age", "s", "Age of the oldest unshipped record.", book.backlog_age, rises_only=False
        ),
        Instrument("predictor.log.records", "{record}", "Records of the stream.", lambda: book.stream.sequence),
        Instrument("predictor.log.shipped", "{record}", "Records accepted by the sink.", lambda: logs.shipped),
        Instrument("predictor.log.retried", "{request}", "Failed requests.", lambda: logs.retried),
        Instrument("predictor.log.refused", "{record}", "Records refused by the sink.", lambda: logs.refused),
        Instrument("predictor.log.lost", "{record}", "Records declared lost.", lambda: book.stream.lost),
        Instrument("predictor.log.unrecorded", "{row}", "Refusals without a record.", lambda: book.refusals.unrecorded),
        Instrument("predictor.request.refused", "{request}", "Calls answered with a problem.", refused),
        # What is served can be told from these, also before anything is asked.
        Instrument(
            "predictor.model.queue",
            "{row}",
            "Rows that wait for a model.",
            by_version(lambda each: each.pipeline.queued_rows),
            rises_only=False,
        ),
        Instrument(
            "predictor.model.rows", "{row}", "Rows that have run.", by_version(lambda each: each.pipeline.totals.rows)
        ),
        Instrument(
            "predictor.model.batches", "{batch}", "Batches.", by_version(lambda each: each.pipeline.totals.batches)
        ),
        Instrument(
            "predictor.model.inference.time",
            "s",
            "Time in which batches ran.",
            by_version(lambda each: each.pipeline.totals.seconds),
        ),
    )


def _names(version: ServedVersion) -> dict[str, str]:
    return {"prediction.model.name": version.name, "prediction.model.version": version.version}


def _reader(read: Callable[[], float | Iterable[Observation]]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        found = read()
        return [Observation(found)] if isinstance(found, (int, float)) else found

    return observe


_LEAST = 0.1
"""Seconds: with none at all the SDK ends no reader and raises."""
_SEMCONV_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserverrequestduration"""
