"""OpenTelemetry's own export variables: where logs and traces go, with which headers, and how metrics are wanted.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/ - what the SDK reads itself (resource, sampler, service
name, metrics exporter) is left to it; `otel_variables` holds that to what it takes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from predictor.config import otel_prometheus, otel_variables, urls
from predictor.config.urls import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictor.config.otel_prometheus import ScrapeAddress

_GRPC_PORT = 4317
_LONGEST_TIMEOUT = 600.0  # s; who writes more means the milliseconds of the specification
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one signal goes: the whole URL (`…/v1/logs`), headers, seconds for one request, and how."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # they may hold a token
    timeout: float = 10.0
    certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    gzip: bool = False
    proxy: str | None = field(default=None, repr=False)
    """Its URL, which may hold a password."""

    @property
    def way(self) -> str:
        """The proxy as a part of a sentence, without its userinfo; nothing without one."""
        if not self.proxy:
            return ""
        scheme, place, *_ = urlsplit(self.proxy)
        return f" by the proxy {scheme}://{_host(place)}"

    @property
    def shown(self) -> str:
        """The URL without what must not be printed: userinfo, query, fragment."""
        scheme, place, path, *_ = urlsplit(self.url)
        return f"{scheme}://{_host(place)}{path}"


@dataclass(frozen=True, slots=True)
class Export:
    """What leaves this process; None stays here."""

    logs: Endpoint | None = None
    traces: Endpoint | None = None
    metrics: bool = False
    """Whether metrics leave by OTLP."""
    scrape: ScrapeAddress | None = None
    """Where metrics are scraped instead."""
    off: frozenset[str] = frozenset()
    """Signals, `logs` and `traces`, of which `OTEL_<SIGNAL>_EXPORTER` says that they stay here."""
    ignored: tuple[str, ...] = field(default=(), compare=False)
    """A sentence for each variable that is set and has no effect."""


def read_export(environ: Mapping[str, str]) -> Export:
    """Return what leaves; raises ValueError with a sentence that names the variable."""
    otel_variables.check(environ)
    given = environ.get("OTEL_SDK_DISABLED", "").strip().lower()
    if given not in {"", "true", "false"}:
        msg = f"OTEL_SDK_DISABLED is {quoted(given)}, wanted true or false"
        raise ValueError(msg)
    disabled = given == "true"
    # Not without an endpoint: the SDK's exporter would take one on this machine that nobody has named.
    asked_for = any(
        environ.get(name, "").strip() for name in ("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
    )
    # Held to the same rules, though the SDK's exporter reads it itself.
    metrics = asked_for and not disabled and _endpoint(environ, "METRICS") is not None
    scraped = _exporter(environ, "METRICS") == otel_prometheus.EXPORTER
    return Export(
        logs=_endpoint(environ, "LOGS"),
        traces=None if disabled else _endpoint(environ, "TRACES"),
        metrics=metrics,
        scrape=otel_prometheus.address(environ) if scraped and not disabled else None,
        off=frozenset(signal.lower() for signal in ("LOGS", "TRACES") if _exporter(environ, signal) == "none"),
        ignored=tuple(otel_variables.ignored(environ)),
    )


def _exporter(environ: Mapping[str, str], signal: str) -> str:
    variable = f"OTEL_{signal}_EXPORTER"
    value = environ.get(variable, "").strip().lower() or "otlp"
    known = ("otlp", "none", *((otel_prometheus.EXPORTER,) if signal == "METRICS" else ()))
    if value not in known:
        msg = f"{variable} is {quoted(value)}, wanted {', '.join(known[:-1])} or {known[-1]}"
        raise ValueError(msg)
    return value


def _endpoint(environ: Mapping[str, str], signal: str) -> Endpoint | None:
    def setting(name: str) -> tuple[str, str]:
        for variable in (f"OTEL_EXPORTER_OTLP_{signal}_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
            if value := environ.get(variable, "").strip():
                return variable, value
        return f"OTEL_EXPORTER_OTLP_{name}", ""

    wanted = _exporter(environ, signal) == "otlp"
    variable, url = setting("ENDPOINT")
    if not wanted or not url:
        return None
    _check_protocol(*setting("PROTOCOL"))
    _check_url(variable, url)
    if variable == "OTEL_EXPORTER_OTLP_ENDPOINT":
        if urlsplit(url).query:
            msg = f"{variable} has a query, wanted a base URL, to which /v1/logs is added"
            raise ValueError(msg)
        url = f"{url.rstrip('/')}/v1/{signal.lower()}"
    headers = _headers(*setting("HEADERS"))
    if urls.has_userinfo(url) and any(name.lower() == "authorization" for name in headers):
        msg = (
            f"{variable} has a name and a password before its host, and {setting('HEADERS')[0]} has an authorization "
            "header: a request has one authorization, wanted one of the two"
        )
        raise ValueError(msg)
    return Endpoint(
        url=url,
        headers=headers,
        timeout=_timeout(*setting("TIMEOUT")),
        certificate=_file(*setting("CERTIFICATE")),
        client_certificate=_file(*setting("CLIENT_CERTIFICATE")),
        client_key=_file(*setting("CLIENT_KEY")),
        gzip=_gzip(*setting("COMPRESSION")),
        proxy=urls.proxy(environ, url),
    )


def _check_protocol(variable: str, value: str) -> None:
    if value and value not in {"http/json", "http/protobuf"}:
        msg = f"{variable} is {quoted(value)}, wanted http/json or http/protobuf: records leave by OTLP/HTTP, port 4318"
        raise ValueError(msg)


def _check_url(variable: str, url: str) -> None:
    if not urls.usable(url):
        msg = (
            f"{variable} is not a usable URL (it is not shown, since a password may be in it), "
            "wanted an http:// or https:// URL such as http://127.0.0.1:4318"
        )
        if "@" in url:
            msg += "; in a password, each of @ / ? # is written as % and two hexadecimal digits"
        raise ValueError(msg)
    if urlsplit(url).port == _GRPC_PORT:
        msg = f"{variable} is {urls.shown(url)!r}: port 4317 speaks gRPC, wanted OTLP/HTTP, whose port is 4318"
        raise ValueError(msg)


def _gzip(variable: str, value: str) -> bool:
    if value.lower() not in {"", "none", "gzip"}:
        msg = f"{variable} is {quoted(value)}, wanted gzip or none"
        raise ValueError(msg)
    return value.lower() == "gzip"


def _headers(variable: str, value: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for number, pair in enumerate(filter(None, (part.strip() for part in value.split(","))), start=1):
        name, equals, content = pair.partition("=")
        content = unquote(content.strip())
        if not equals or not _HEADER_NAME.fullmatch(name.strip()) or not content.isprintable():
            # The value may be a secret, so the sentence names the place only.
            msg = f"{variable}: entry {number} is not a header, wanted name=value,name=value with URL-encoded values"
            raise ValueError(msg)
        headers[name.strip()] = content
    return headers


def _timeout(variable: str, value: str) -> float:
    try:
        seconds = float(value or 10)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        msg = f"{variable} is {quoted(value)}, wanted seconds greater than 0 (as OpenTelemetry's Python SDK reads it)"
        raise ValueError(msg)
    if seconds > _LONGEST_TIMEOUT:
        meant = f"if {value} milliseconds are meant, write {seconds / 1000:g}"
        msg = (
            f"{variable} is {quoted(value)}, wanted seconds, at most {_LONGEST_TIMEOUT:g} "
            f"(as OpenTelemetry's Python SDK reads it); {meant}"
        )
        raise ValueError(msg)
    return seconds


def _file(variable: str, value: str) -> Path | None:
    if not value:
        return None
    path = Path(value)
    if not path.is_file():
        msg = f"{variable} is {quoted(value)}, wanted a file that exists"
        raise ValueError(msg)
    return path


def _host(place: str) -> str:
    """Return host and port without userinfo."""
    return place.rpartition("@")[2]
