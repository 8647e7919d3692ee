"""Server spans from a template, in the words of the official instrumentation of aiohttp's server.

For the fast lane, which has no request of aiohttp to show to the instrumentation. tests/tracing/test_tracer.py sends
the same requests by either way and holds the spans equal: names and order of the attributes, captured headers, limits.
"""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import propagate, trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.instrumentation.aiohttp_server.version import __version__ as instrumentation_version
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.http import (
    OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS,
    OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST,
    OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE,
    get_custom_header_attributes,
    get_custom_headers,
    normalise_request_header_name,
    normalise_response_header_name,
    redact_url,
)
from yarl import URL

from predictor import otlp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from predictor.core.result import Origin
    from predictor.otlp import JSON
    from predictor.tracing.span_writer import SpanWriter

_OFFICIAL = InstrumentationScope("opentelemetry.instrumentation.aiohttp_server", instrumentation_version)
UNREADABLE = "predictor.tracing"
"""The scope of server spans of requests that the instrumentation cannot read, such as one whose Host makes no URL."""
SERVER = 2
ERROR: JSON = {"code": 2}
_MOST_TEMPLATES = 256
"""Callers choose their headers: of so many different ones the encoded span is remembered."""
_LONGEST = 1024
"""Characters of host and user agent together; longer ones are encoded each time."""


class Exchanged(NamedTuple):
    """A request and its answer, as far as its server span speaks of them."""

    method: str
    route: str
    scheme: str
    headers: Mapping[str, str]
    """Of the request: names in any case."""
    status: int
    answer_headers: Sequence[tuple[str, str]]
    """In the order of the answer."""


class _Words(NamedTuple):
    """What the attributes depend on, if no header is captured."""

    method: str
    route: str
    scheme: str
    host: str
    user_agent: str
    status: int


class ServerSpans:
    """Writes the server spans of requests that aiohttp does not serve."""

    def __init__(self, spans: SpanWriter, semconv: str) -> None:
        """Take where spans go, and `OTEL_SEMCONV_STABILITY_OPT_IN`."""
        self._spans = spans
        wanted = {word.strip() for word in semconv.split(",")}
        self._new = bool(wanted & {"http", "http/dup"})
        self._old = "http/dup" in wanted or not self._new
        self._limits = SpanLimits()  # reads OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT and its like, as the SDK does
        self._request_captures = _capture(
            OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST, normalise_request_header_name
        )
        self._answer_captures = _capture(
            OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE, normalise_response_header_name
        )
        self._official = spans.head(_OFFICIAL)
        self._unreadable = spans.head(InstrumentationScope(UNREADABLE))
        self._template = lru_cache(_MOST_TEMPLATES)(self._plain)

    def write(self, origin: Origin, exchanged: Exchanged) -> None:
        """Write the server span of a request that is answered now."""
        method, route, scheme, headers, status, answer_headers = exchanged
        words = _Words(method, route, scheme, headers.get("Host", ""), headers.get("User-Agent", ""), status)
        sample = origin.sample
        own = dict(sample.attributes) if sample and sample.attributes else {}
        state = trace_state(origin, headers)
        if own or state or self._request_captures or self._answer_captures:
            request = self._request_captures(headers) if self._request_captures else {}
            answer = self._answer_captures(dict(answer_headers)) if self._answer_captures else {}
            head, rest = self._whole(words, own, request, answer, state)
        elif len(words.host) + len(words.user_agent) <= _LONGEST:
            head, rest = self._template(words)
        else:
            head, rest = self._plain(words)
        self._spans.write_server(head, origin, rest)

    def _plain(self, words: _Words) -> tuple[bytes, bytes]:
        return self._whole(words, {}, {}, {}, "")

    def _whole(
        self, words: _Words, own: dict[str, Any], request: Mapping[str, Any], answer: Mapping[str, Any], state: str
    ) -> tuple[bytes, bytes]:
        """Return the beginning of a line of such spans, and what the span has beside ids and times."""
        try:
            first = self._first_attributes(words)
        except Exception:  # noqa: BLE001 - whatever the instrumentation would stumble over
            fields: JSON = {"traceState": state} if state else {}
            return self._unreadable, otlp.span_rest(fields | {"name": words.route, "kind": SERVER, "status": {}})
        attributes = BoundedAttributes(
            self._limits.max_span_attributes,
            first | own,
            immutable=False,
            max_value_len=self._limits.max_span_attribute_length,
        )
        for name, value in request.items():
            attributes[name] = value
        failed = words.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if self._old:
            attributes["http.status_code"] = words.status
        if self._new:
            attributes["http.response.status_code"] = words.status
            if failed:
                attributes["error.type"] = str(words.status)
        for name, value in answer.items():
            attributes[name] = value
        fields = {"traceState": state} if state else {}
        fields |= {"name": f"{words.method} {words.route}", "kind": SERVER}
        if encoded := otlp.attributes(attributes):
            fields["attributes"] = encoded
        if attributes.dropped:
            fields["droppedAttributesCount"] = attributes.dropped
        return self._official, otlp.span_rest(fields | {"status": ERROR if failed else {}})

    def _first_attributes(self, words: _Words) -> dict[str, Any]:
        """Return what the span begins with, in the instrumentation's order; raises ValueError for an odd host."""
        url = URL.build(scheme=words.scheme, authority=words.host).join(URL(words.route))
        pairs: list[tuple[str, str, Any]] = [
            ("http.method", "http.request.method", words.method),
            ("http.scheme", "url.scheme", words.scheme),
        ]
        if url.host:
            pairs += [("net.host.name", "server.address", url.host), ("http.host", "", url.host)]
        if url.port:
            pairs.append(("net.host.port", "server.port", url.port))
        pairs += [("http.target", "url.path", words.route), ("http.url", "", redact_url(str(url)))]
        if words.user_agent:
            pairs.append(("http.user_agent", "user_agent.original", words.user_agent))
        pairs += [
            ("http.flavor", "network.protocol.version", "1.1"),
            ("http.route", "http.route", words.route),
            ("http.server_name", "", words.host),
        ]
        found: dict[str, Any] = {}
        for old, new, value in pairs:
            if self._old and old:
                found[old] = value
            if self._new and new:
                found[new] = value
        return found


def _capture(variable: str, name: Callable[[str], str]) -> Callable[[Mapping[str, str]], Mapping[str, Any]] | None:
    """Return what takes the headers of `variable` out of a message, None if there are none to take."""
    wanted = get_custom_headers(variable)
    hidden = get_custom_headers(OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS)
    if not wanted:
        return None
    return lambda headers: get_custom_header_attributes(headers, wanted, hidden, name)


def trace_state(origin: Origin, headers: Mapping[str, str]) -> str:
    """Return the trace state that a server span carries on: the sampler's, or else the caller's."""
    if origin.sample:
        return str(origin.sample.trace_state.to_header()) if origin.sample.trace_state else ""
    if origin.parent_span_id is None or "tracestate" not in headers:
        return ""
    return trace.get_current_span(propagate.extract(headers)).get_span_context().trace_state.to_header()
