"""OpenTelemetry's variables of its Prometheus exporter: where this process is scraped.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#prometheus-exporter
"""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple

from predictor.config import parsers
from predictor.config.urls import quoted
from predictor.core import extras

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPORTER = "prometheus"
"""The value of `OTEL_METRICS_EXPORTER` that asks for it."""
HOST, PORT = "OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"
_HOST, _PORT = "localhost", "9464"
"""The specification's defaults."""
_ADDRESS = re.compile(r"[0-9A-Za-z._:%-]+")


class ScrapeAddress(NamedTuple):
    """Where `/metrics` is asked for; port 0 takes a free one."""

    host: str = _HOST
    port: int = int(_PORT)


def address(environ: Mapping[str, str]) -> ScrapeAddress:
    """Return where to listen; raises ValueError with a sentence that names the variable."""
    host = environ.get(HOST, "").strip() or _HOST
    if not _ADDRESS.fullmatch(host):
        msg = f"{HOST} is {quoted(host)}, wanted an address or a name such as localhost, 0.0.0.0 or ::"
        raise ValueError(msg)
    given = environ.get(PORT, "").strip() or _PORT
    try:
        port = parsers.port(given)
    except ValueError as error:
        msg = f"{PORT} is {quoted(given)}, wanted {error}"
        raise ValueError(msg) from None
    if not entry_points(group="opentelemetry_metrics_exporter", name=EXPORTER):
        msg = f"OTEL_METRICS_EXPORTER is {EXPORTER!r}, wanted its exporter installed: {extras.command('prometheus')}"
        raise ValueError(msg)
    return ScrapeAddress(host, port)
