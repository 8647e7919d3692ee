"""OpenTelemetry's variables that the server does not read itself: each is checked, refused, or reported.

The SDK and the instrumentation read some, and fail late, or only warn, at a bad value: it is refused here, by name.
Others have no effect in this server; the server reports each one that is set. docs/settings.md has the same tables.
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from predictor.config.urls import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SIGNALS = ("LOGS", "TRACES", "METRICS")
OTLP = (
    *("ENDPOINT", "PROTOCOL", "HEADERS", "TIMEOUT", "COMPRESSION"),
    *("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"),
)
"""What the server reads after `OTEL_EXPORTER_OTLP_` and `OTEL_EXPORTER_OTLP_<SIGNAL>_`."""
SERVER = frozenset(
    {f"OTEL_EXPORTER_OTLP_{signal}{name}" for name in OTLP for signal in ("", *(f"{each}_" for each in SIGNALS))}
    | {f"OTEL_{signal}_EXPORTER" for signal in SIGNALS}
    | {"OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"}
    | {"OTEL_SDK_DISABLED", "OTEL_SEMCONV_STABILITY_OPT_IN"}
)
"""What `otel_env` and `settings` read."""

_SAMPLERS = ("always_on", "always_off", "traceidratio")
_RATIOS = ("traceidratio", "parentbased_traceidratio")
_SERVICE_LINK = re.compile(r"OTEL_\w+_(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\d+_\w+)?)")
"""What Kubernetes sets in each pod beside a Service called otel-…"""


def _one_of(*words: str) -> Callable[[str], str | None]:
    return lambda given: None if given.lower() in words else f"one of {', '.join(words)}"


def _whole(given: str) -> str | None:
    return None if given.isascii() and given.isdigit() else "a whole number from 0 on"


def _milliseconds(given: str) -> str | None:
    try:
        fine = 0 < float(given) < float("inf")
    except ValueError:
        fine = False
    return None if fine else "milliseconds greater than 0"


def _propagators(given: str) -> str | None:
    there = {entry.name for entry in entry_points(group="opentelemetry_propagator")} | {"none"}
    if all(name.strip() in there or name.strip().lower() == "none" for name in given.split(",")):
        return None
    return f"names with commas between them, of those that are installed: {', '.join(sorted(there))}"


def _detectors(given: str) -> str | None:
    there = {entry.name for entry in entry_points(group="opentelemetry_resource_detector")} | {"*"}
    if all(name.strip() in there for name in given.split(",") if name.strip()):
        return None
    return f"names with commas between them, of those that are installed: {', '.join(sorted(there))}"


def _patterns(given: str) -> str | None:
    try:
        for pattern in given.split(","):
            re.compile(pattern.strip())
    except re.error:
        return "regular expressions with commas between them"
    return None


def _pairs(given: str) -> str | None:
    for number, pair in enumerate(given.split(","), start=1):
        name, equals, _ = pair.partition("=")
        if pair.strip() and not (equals and name.strip()):
            return f"name=value,name=value with URL-encoded values (entry {number} is not a pair)"
    return None


def _anything(_: str) -> None:
    return None


SDK: Mapping[str, Callable[[str], str | None]] = {
    "OTEL_SERVICE_NAME": _anything,
    "OTEL_RESOURCE_ATTRIBUTES": _pairs,
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": _detectors,
    "OTEL_TRACES_SAMPLER": _one_of(*_SAMPLERS, *(f"parentbased_{name}" for name in _SAMPLERS)),
    "OTEL_TRACES_SAMPLER_ARG": _anything,  # what it may be depends on the sampler
    "OTEL_PROPAGATORS": _propagators,
    "OTEL_ATTRIBUTE_COUNT_LIMIT": _whole,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": _whole,
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": _whole,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": _whole,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": _whole,
    "OTEL_SPAN_LINK_COUNT_LIMIT": _whole,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": _whole,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": _whole,
    "OTEL_METRIC_EXPORT_INTERVAL": _milliseconds,
    "OTEL_METRIC_EXPORT_TIMEOUT": _milliseconds,
    "OTEL_METRICS_EXEMPLAR_FILTER": _one_of("trace_based", "always_on", "always_off"),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": _one_of("cumulative", "delta", "lowmemory"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": _one_of(
        "explicit_bucket_histogram", "base2_exponential_bucket_histogram"
    ),
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": _one_of("true", "false"),
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": _patterns,
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE": _patterns,
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS": _patterns,
    "OTEL_PYTHON_AIOHTTP_SERVER_EXCLUDED_URLS": _patterns,
    "OTEL_PYTHON_EXCLUDED_URLS": _patterns,
    "OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS": _anything,
}
"""What the SDK and the instrumentation read, and what is wanted of a value; None if it will do."""

_CONFIGURATION = "the server is configured by variables only, so all of the file would be ignored"
_PROVIDER = "the server makes its own providers"
_CREDENTIALS = "only metrics would use it; give `OTEL_EXPORTER_OTLP_HEADERS`"
REFUSED: Mapping[str, str] = {
    "OTEL_CONFIG_FILE": _CONFIGURATION,
    "OTEL_EXPERIMENTAL_CONFIG_FILE": _CONFIGURATION,
    "OTEL_PYTHON_CONTEXT": "the server needs the SDK's own, of context variables",
    "OTEL_PYTHON_TRACER_PROVIDER": _PROVIDER,
    "OTEL_PYTHON_METER_PROVIDER": _PROVIDER,
    "OTEL_PYTHON_LOGGER_PROVIDER": _PROVIDER,
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER": _CREDENTIALS,
    **{f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{signal}_CREDENTIAL_PROVIDER": _CREDENTIALS for signal in SIGNALS},
}
"""What stops the start, since more would be ignored than its name tells; and why."""

_QUEUE = "nothing waits in memory: the outbox is the queue"
_RECORDS = "a record's attributes are those of its table, with bounds of their own"
_SCHEME = "it is for gRPC; here the URL's scheme says whether TLS is used"
_AUTOMATIC = "it is for programs that OpenTelemetry's distribution sets up"
IGNORED: Mapping[str, str] = {
    "OTEL_LOG_LEVEL": "the server's own lines begin at info, those of its libraries at warning",
    "OTEL_ENTITIES": "the Python SDK does not read it; `OTEL_RESOURCE_ATTRIBUTES` is read",
    **{
        f"OTEL_{kind}_{name}": _QUEUE
        for kind in ("BSP", "BLRP")
        for name in ("SCHEDULE_DELAY", "EXPORT_TIMEOUT", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE")
    },
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": _RECORDS,
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": _RECORDS,
    "OTEL_EXPORTER_OTLP_INSECURE": _SCHEME,
    **{f"OTEL_EXPORTER_OTLP_{signal}_INSECURE": _SCHEME for signal in SIGNALS},
    "OTEL_EXPORTER_OTLP_SPAN_INSECURE": _SCHEME,
    "OTEL_EXPORTER_OTLP_METRIC_INSECURE": _SCHEME,
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT": "spans leave by OTLP only",
    "OTEL_EXPORTER_ZIPKIN_TIMEOUT": "spans leave by OTLP only",
    "OTEL_PYTHON_ID_GENERATOR": "a request's ids are drawn once, for its record and its spans",
    **{f"OTEL_PYTHON_{kind}_CONFIGURATOR": _AUTOMATIC for kind in ("TRACER", "METER", "LOGGER")},
}
"""What has no effect; and why."""


def check(environ: Mapping[str, str]) -> None:
    """Hold what the SDK reads to what it takes; raises ValueError with a sentence that names the variable."""
    for variable, given in _given(environ):
        if variable in REFUSED:
            msg = f"{variable} is set, wanted the server without it: {REFUSED[variable].replace('`', '')}"
            raise ValueError(msg)
        wanted = SDK.get(variable, _anything)(given)
        if wanted:
            msg = f"{variable} is {quoted(given)}, wanted {wanted}"
            raise ValueError(msg)
    sampler, ratio = _of(environ, "OTEL_TRACES_SAMPLER").lower(), _of(environ, "OTEL_TRACES_SAMPLER_ARG")
    if sampler in _RATIOS and ratio:
        try:
            fine = 0 <= float(ratio) <= 1
        except ValueError:
            fine = False
        if not fine:
            msg = f"OTEL_TRACES_SAMPLER_ARG is {quoted(ratio)}, wanted a number from 0 to 1"
            raise ValueError(msg)


def ignored(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that is set and has no effect."""
    for variable, _ in _given(environ):
        if variable in IGNORED:
            yield f"{variable} has no effect: {IGNORED[variable].replace('`', '')}"
        elif variable not in SERVER and variable not in SDK and not _SERVICE_LINK.fullmatch(variable):
            yield f"{variable} has no effect: nothing here reads a variable of this name"
    sampler = _of(environ, "OTEL_TRACES_SAMPLER").lower()
    if _of(environ, "OTEL_TRACES_SAMPLER_ARG") and sampler not in _RATIOS:
        yield (
            f"OTEL_TRACES_SAMPLER_ARG has no effect: OTEL_TRACES_SAMPLER is {sampler or 'not set'}, "
            f"and only {' and '.join(_RATIOS)} have an argument"
        )
    exporter = _of(environ, "OTEL_METRICS_EXPORTER").lower()
    if exporter != "prometheus":
        for variable in ("OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"):
            if _of(environ, variable):
                yield f"{variable} has no effect: OTEL_METRICS_EXPORTER is {exporter or 'not set'}, not prometheus"
    endpoint = any(_of(environ, f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT") for signal in ("", "METRICS_"))
    if exporter == "otlp" and not endpoint:
        yield "OTEL_METRICS_EXPORTER has no effect: OTEL_EXPORTER_OTLP_ENDPOINT is not set, so metrics go nowhere"


def _given(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield OpenTelemetry's variables that are set; one that is set to nothing is not, by the specification."""
    for variable in sorted(environ):
        if variable.startswith("OTEL_") and (given := environ[variable].strip()):
            yield variable, given


def _of(environ: Mapping[str, str], variable: str) -> str:
    return dict(_given(environ)).get(variable, "")
