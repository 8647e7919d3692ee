"""OpenTelemetry's variables: each is checked, refused, or said to have no effect; none fails late or silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import opentelemetry.environment_variables
import opentelemetry.sdk.environment_variables
import pytest

from predictor.config import otel_prometheus, otel_variables
from predictor.config.settings import SettingsError, load
from tests.support.server import run

if TYPE_CHECKING:
    from pathlib import Path

SPECIFICATION = {
    "": "ENTITIES SDK_DISABLED RESOURCE_ATTRIBUTES SERVICE_NAME LOG_LEVEL PROPAGATORS TRACES_SAMPLER "
    "TRACES_SAMPLER_ARG CONFIG_FILE EXPERIMENTAL_CONFIG_FILE TRACES_EXPORTER METRICS_EXPORTER LOGS_EXPORTER",
    "BSP_": "SCHEDULE_DELAY EXPORT_TIMEOUT MAX_QUEUE_SIZE MAX_EXPORT_BATCH_SIZE",
    "BLRP_": "SCHEDULE_DELAY EXPORT_TIMEOUT MAX_QUEUE_SIZE MAX_EXPORT_BATCH_SIZE",
    "ATTRIBUTE_": "VALUE_LENGTH_LIMIT COUNT_LIMIT",
    "SPAN_": "ATTRIBUTE_VALUE_LENGTH_LIMIT ATTRIBUTE_COUNT_LIMIT EVENT_COUNT_LIMIT LINK_COUNT_LIMIT",
    "EVENT_": "ATTRIBUTE_COUNT_LIMIT",
    "LINK_": "ATTRIBUTE_COUNT_LIMIT",
    "LOGRECORD_": "ATTRIBUTE_VALUE_LENGTH_LIMIT ATTRIBUTE_COUNT_LIMIT",
    "METRIC": "S_EXEMPLAR_FILTER _EXPORT_INTERVAL _EXPORT_TIMEOUT",
    "EXPORTER_OTLP_": "ENDPOINT INSECURE CERTIFICATE CLIENT_KEY CLIENT_CERTIFICATE HEADERS COMPRESSION TIMEOUT "
    "PROTOCOL SPAN_INSECURE METRIC_INSECURE METRICS_TEMPORALITY_PREFERENCE METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
    "EXPORTER_ZIPKIN_": "ENDPOINT TIMEOUT",
    "EXPORTER_PROMETHEUS_": "HOST PORT",
}
"""https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ by what the names begin with."""


def test_every_variable_has_a_word() -> None:
    """Each variable of the specification and of the Python SDK is read, checked, refused or said to have no effect."""
    modules = (opentelemetry.environment_variables, opentelemetry.sdk.environment_variables)
    known = {name for module in modules for name in vars(module) if name.startswith("OTEL_")}
    known |= {f"OTEL_{begin}{name}" for begin, names in SPECIFICATION.items() for name in names.split()}
    groups = [otel_variables.SERVER, set(otel_variables.SDK), set(otel_variables.REFUSED), set(otel_variables.IGNORED)]
    assert known <= set().union(*groups)
    assert sum(map(len, groups)) == len(set().union(*groups)), "each in one group"


@pytest.mark.parametrize(
    ("variable", "given", "wanted"),
    [
        (
            "OTEL_PROPAGATORS",
            "b4",
            "names with commas between them, of those that are installed: b3, b3multi, baggage,",
        ),
        ("OTEL_PROPAGATORS", "tracecontext,ottrace", "names with commas between them"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "one of always_on, always_off, traceidratio, parentbased_always_on"),
        ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "nowhere", "names with commas between them"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "a=1,b",
            "name=value,name=value with URL-encoded values (entry 2 is not a pair)",
        ),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1", "a whole number from 0 on"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "many", "a whole number from 0 on"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "10s", "milliseconds greater than 0"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "0", "milliseconds greater than 0"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "some", "one of trace_based, always_on, always_off"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "x", "one of cumulative, delta, lowmemory"),
        ("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "x-(", "regular expressions with commas"),
        ("OTEL_PYTHON_AIOHTTP_SERVER_EXCLUDED_URLS", "[", "regular expressions with commas"),
        ("OTEL_SDK_DISABLED", "yes", "true or false"),
    ],
)
def test_bad_values(variable: str, given: str, wanted: str) -> None:
    """What the SDK would fail at, or fall back from, stops the start with variable, value and what was wanted."""
    with pytest.raises(SettingsError) as told:
        load({variable: given})
    assert str(told.value).startswith(f"{variable} is {given!r}, wanted {wanted}")


@pytest.mark.parametrize(
    ("variable", "given"),
    [
        *(("OTEL_PROPAGATORS", given) for given in ("b3", "b3multi", "jaeger", "xray", "tracecontext,baggage", "none")),
        ("OTEL_TRACES_SAMPLER", "ParentBased_TraceIdRatio"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b=%20,"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1e3"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "DELTA"),
        ("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "x-.*,user-agent"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", ""),
    ],
)
def test_good_values(variable: str, given: str) -> None:
    """What the SDK takes is taken, without a word."""
    assert load({variable: given}).export.ignored == ()


@pytest.mark.parametrize("given", ["1.5", "-0.1", "half", "nan"])
def test_ratio_of_the_sampler(given: str) -> None:
    """A ratio that is none stops the start, where the sampler has one."""
    sampler = {"OTEL_TRACES_SAMPLER": "traceidratio"}
    with pytest.raises(SettingsError, match=r"OTEL_TRACES_SAMPLER_ARG is .*, wanted a number from 0 to 1"):
        load(sampler | {"OTEL_TRACES_SAMPLER_ARG": given})
    assert load(sampler | {"OTEL_TRACES_SAMPLER_ARG": "0.05"}).export.ignored == ()


@pytest.mark.parametrize("variable", sorted(otel_variables.REFUSED))
def test_refused(variable: str) -> None:
    """What would leave more undone than its name tells stops the start."""
    with pytest.raises(SettingsError, match=f"^{variable} is set, wanted the server without it: "):
        load({variable: "x"})
    assert load({variable: ""})


@pytest.mark.parametrize(
    "variable", [*sorted(otel_variables.IGNORED), "OTEL_EXPORTER_OTLP_ENDPONT", "OTEL_TRACES_SAMPLER_ARG"]
)
def test_ignored(variable: str) -> None:
    """What has no effect is said so, also a name that nobody has."""
    (sentence,) = load({variable: "1"}).export.ignored
    assert sentence.startswith(f"{variable} has no effect: ")
    assert load({variable: " "}).export.ignored == ()


def test_metrics_without_an_endpoint() -> None:
    """Metrics that are asked for without an endpoint go nowhere, and that is said."""
    (sentence,) = load({"OTEL_METRICS_EXPORTER": "otlp"}).export.ignored
    assert sentence.startswith("OTEL_METRICS_EXPORTER has no effect: ")


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"])
def test_scrape_address_without_scrapes(variable: str) -> None:
    """An address to be scraped at has no effect while another exporter is named, or none, and that is said."""
    for exporter, said in (("", "not set"), ("none", "none")):
        (sentence,) = load({variable: "1", "OTEL_METRICS_EXPORTER": exporter}).export.ignored
        assert sentence == f"{variable} has no effect: OTEL_METRICS_EXPORTER is {said}, not prometheus"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, ("localhost", 9464)),
        ({"OTEL_EXPORTER_PROMETHEUS_HOST": "::", "OTEL_EXPORTER_PROMETHEUS_PORT": "0"}, ("::", 0)),
        ({"OTEL_EXPORTER_PROMETHEUS_HOST": " 0.0.0.0 ", "OTEL_EXPORTER_PROMETHEUS_PORT": ""}, ("0.0.0.0", 9464)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://otel:4318/v1/metrics"}, ("localhost", 9464)),
    ],
)
def test_where_metrics_are_scraped(environ: dict[str, str], wanted: tuple[str, int]) -> None:
    """The exporter prometheus has OpenTelemetry's variables and defaults, and keeps metrics from leaving by OTLP."""
    export = load({"OTEL_METRICS_EXPORTER": "Prometheus"} | environ).export
    assert export.scrape == wanted
    assert not export.metrics
    assert export.ignored == ()
    assert load({"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_SDK_DISABLED": "true"} | environ).export.scrape is None


@pytest.mark.parametrize(
    ("variable", "given", "wanted"),
    [
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "66000", "a port from 0 to 65535"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "http", "a port from 0 to 65535"),
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "unix:/run/metrics.sock", "an address or a name"),
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1,::1", "an address or a name"),
    ],
)
def test_bad_scrape_address(variable: str, given: str, wanted: str) -> None:
    """Where nobody can scrape, the start ends with variable, value and what was wanted."""
    with pytest.raises(SettingsError) as told:
        load({"OTEL_METRICS_EXPORTER": "prometheus", variable: given})
    assert str(told.value).startswith(f"{variable} is {given!r}, wanted {wanted}")


def test_exporter_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, who asks for Prometheus is told how to install it."""
    monkeypatch.setattr(otel_prometheus, "entry_points", lambda **_: ())
    with pytest.raises(SettingsError, match=r"exporter installed: .*install 'opentelemetry-exporter-prometheus"):
        load({"OTEL_METRICS_EXPORTER": "prometheus"})


def test_service_links_are_no_variables() -> None:
    """What Kubernetes sets beside a Service called otel-collector is not spoken of."""
    links = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_OTLP", "PORT", "PORT_4318_TCP", "PORT_4318_TCP_ADDR")
    assert load({f"OTEL_COLLECTOR_{link}": "x" for link in links}).export.ignored == ()


@pytest.mark.parametrize("verb", ["serve", "check"])
@pytest.mark.parametrize(
    ("variable", "given"),
    [
        ("OTEL_PROPAGATORS", "ottrace"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x"),
        ("OTEL_METRICS_EXPORTER", "statsd"),
    ],
)
def test_no_start(tmp_path: Path, verb: str, variable: str, given: str) -> None:
    """Both verbs end with status 2 and one sentence that names the variable."""
    done = run(verb, outbox=tmp_path / "outbox", PREDICTOR_PORT="0", **{variable: given})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"predictor: {variable} is '{given}', wanted ")


def test_check_says_what_is_ignored(outbox: Path) -> None:
    """`predictor check` says what has no effect, and which signal stays here by its exporter."""
    done = run("check", outbox=outbox, OTEL_BSP_MAX_QUEUE_SIZE="1", OTEL_LOGS_EXPORTER="none")
    assert done.returncode == 0
    assert "note    environment: OTEL_BSP_MAX_QUEUE_SIZE has no effect: " in done.stderr
    assert "ok      logs: not shipped (OTEL_LOGS_EXPORTER=none)" in done.stderr
