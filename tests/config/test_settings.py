"""The settings: what each variable takes, and the sentence that stops the start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from predictor.config.malloc_env import MALLOC, TUNABLES
from predictor.config.otel_env import Endpoint
from predictor.config.settings import DEMO, Settings, SettingsError, load, table

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HERE = {ENDPOINT: "http://127.0.0.1:4318"}


def refusal(**environ: str) -> str:
    """Return the sentence with which an environment is refused."""
    with pytest.raises(SettingsError) as caught:
        load(environ)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def logs(**environ: str) -> Endpoint:
    """Return where logs go."""
    target = load(environ).export.logs
    assert target
    return target


def test_defaults() -> None:
    """An empty environment is a server on this machine alone, whose log stays here and refuses rather than loses."""
    settings = load({})
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.model == DEMO
    assert settings.outbox == Path("outbox")
    assert settings.outbox_bytes == settings.keep_bytes == 1 << 30
    assert settings.refuses
    assert settings.outbox_fsync == "second"
    assert settings.keep_age == 7 * 86400
    assert settings.batch_rows == 256
    assert settings.slow == 0.25
    assert settings.shutdown_delay == 0
    assert (settings.display, settings.log) == ("auto", "on")
    assert settings.export.logs is settings.export.traces is None
    assert settings.export.metrics is False


@pytest.mark.parametrize("row", table(), ids=lambda row: row.variable)
def test_empty_is_unset(row: object) -> None:
    """A variable that is set to nothing or to blanks has its default."""
    variable = row.variable  # type: ignore[attr-defined]
    assert load({variable: ""}) == load({variable: "  "}) == load({})


@pytest.mark.parametrize(
    ("variable", "given", "field", "value"),
    [
        ("HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("PORT", "0", "port", 0),
        ("PORT", "65535", "port", 65535),
        ("MODEL", "/models/x", "model", Path("/models/x")),
        ("DEFAULT_VERSIONS", "wine@1, iris@2026-11", "default_versions", (("wine", "1"), ("iris", "2026-11"))),
        ("OUTBOX", "~/outbox", "outbox", Path.home() / "outbox"),
        ("OUTBOX_BYTES", "64MiB", "outbox_bytes", 64 << 20),
        ("OUTBOX_BYTES", "1.5 GiB", "outbox_bytes", 3 << 29),
        ("OUTBOX_BYTES", "2GB", "outbox_bytes", 2 * 10**9),
        ("OUTBOX_BYTES", "1048576", "outbox_bytes", 1 << 20),
        ("OUTBOX_BYTES", "2000kb", "outbox_bytes", 2 * 10**6),
        ("OUTBOX_FULL", "lose", "outbox_full", "lose"),
        ("OUTBOX_FULL", "REFUSE", "outbox_full", "refuse"),
        ("OUTBOX_FSYNC", "batch", "outbox_fsync", "batch"),
        ("OUTBOX_FSYNC", "never", "outbox_fsync", "never"),
        ("KEEP_BYTES", "10MB", "keep_bytes", 10**7),
        ("KEEP_AGE", "2h", "keep_age", 7200.0),
        ("BATCH_ROWS", "1", "batch_rows", 1),
        ("THREADS", "3", "threads", 3),
        ("QUEUE_ROWS", "10", "queue_rows", 10),
        ("BODY_BYTES", "1", "body_bytes", 1),
        ("DEADLINE", "250ms", "deadline", 0.25),
        ("DEADLINE", "1.5", "deadline", 1.5),
        ("IDLE", "2min", "idle", 120.0),
        ("SLOW", "0", "slow", 0.0),
        ("SHUTDOWN_DELAY", "5s", "shutdown_delay", 5.0),
        ("DRAIN", "0s", "drain", 0.0),
        ("FLUSH", "1d", "flush", 86400.0),
        ("DISPLAY", "on", "display", "on"),
        ("LOG", "off", "log", "off"),
    ],
)
def test_values(variable: str, given: str, field: str, value: object) -> None:
    """Each setting takes its values, with units where it has some."""
    assert getattr(load({f"PREDICTOR_{variable}": f" {given} "}), field) == value


@pytest.mark.parametrize(
    ("variable", "given", "wanted"),
    [
        ("PORT", "65536", "a port from 0 to 65535"),
        ("PORT", "-1", "a port from 0 to 65535"),
        ("PORT", "http", "a port from 0 to 65535"),
        ("PORT", "٣", "a port from 0 to 65535"),
        ("DEFAULT_VERSIONS", "wine", "versions such as wine@1, with commas between"),
        ("OUTBOX_BYTES", "1GX", "a size such as 64MiB or 1GiB, at least 1048576 bytes"),
        ("OUTBOX_BYTES", "1023KiB", "a size such as 64MiB or 1GiB, at least 1048576 bytes"),
        ("OUTBOX_BYTES", "9" * 400, "a size such as 64MiB or 1GiB, at least 1048576 bytes"),
        ("DEADLINE", "9" * 400, "a time such as 250ms, 10s or 5m, at least 0.001 s"),
        ("OUTBOX_BYTES", "-1", "a size such as 64MiB or 1GiB, at least 1048576 bytes"),
        ("KEEP_BYTES", "much", "a size such as 64MiB or 1GiB, at least 1048576 bytes"),
        ("BODY_BYTES", "-1", "a size such as 64MiB or 1GiB, at least 0 bytes"),
        ("OUTBOX_FULL", "drop", "one of refuse, lose"),
        ("OUTBOX_FSYNC", "always", "one of second, batch, never"),
        ("KEEP_AGE", "0", "a time such as 250ms, 10s or 5m, at least 1 s"),
        ("BATCH_ROWS", "0", "a whole number from 1 to 4096"),
        ("BATCH_ROWS", "1.5", "a whole number from 1 to 4096"),
        ("BATCH_ROWS", "many", "a whole number from 1 to 4096"),
        ("QUEUE_ROWS", "0", "a whole number from 1 on"),
        ("THREADS", "-1", "a whole number from 0 on"),
        ("DEADLINE", "0", "a time such as 250ms, 10s or 5m, at least 0.001 s"),
        ("DEADLINE", "inf", "a time such as 250ms, 10s or 5m, at least 0.001 s"),
        ("DEADLINE", "nan", "a time such as 250ms, 10s or 5m, at least 0.001 s"),
        ("DEADLINE", "5 parsecs", "a time such as 250ms, 10s or 5m, at least 0.001 s"),
        ("IDLE", "0.05", "a time such as 250ms, 10s or 5m, at least 0.1 s"),
        ("SLOW", "-1s", "a time such as 250ms, 10s or 5m, at least 0 s"),
        ("DISPLAY", "yes", "one of auto, on, off"),
        ("LOG", "no", "one of on, off"),
    ],
)
def test_refusals(variable: str, given: str, wanted: str) -> None:
    """A bad value is refused with variable, value and what was wanted."""
    assert refusal(**{f"PREDICTOR_{variable}": given}) == f"PREDICTOR_{variable} is {given!r}, wanted {wanted}"


def test_one_version_of_each_model() -> None:
    """A model that is named twice would have two default versions, and a name without a version none."""
    twice = refusal(PREDICTOR_DEFAULT_VERSIONS="wine@1,iris@1,wine@2")
    assert twice.endswith("wanted one version of each model, and wine has two")
    for given in ("wine@1,iris", "wine@", "@1", "wine@1,"):
        assert refusal(PREDICTOR_DEFAULT_VERSIONS=given).endswith("versions such as wine@1, with commas between")


def test_unknown_variable() -> None:
    """A misspelt variable is refused, with all that exist."""
    sentence = refusal(PREDICTOR_OUTBOX_BYTE="1GiB")
    assert sentence.startswith("PREDICTOR_OUTBOX_BYTE is not a setting; the settings are PREDICTOR_ALLOWED_HOSTS, ")
    assert all(row.variable in sentence for row in table())
    assert "Kubernetes" not in sentence


@pytest.mark.parametrize(
    "environ",
    [
        {"PREDICTOR_PORT": "tcp://10.0.0.7:8000"},
        {"PREDICTOR_SERVICE_HOST": "10.0.0.7"},
        {"PREDICTOR_SERVICE_PORT": "8000"},
        {"PREDICTOR_SERVICE_PORT_HTTP": "8000"},
        {"PREDICTOR_PORT_8000_TCP": "tcp://10.0.0.7:8000"},
        {"PREDICTOR_PORT_8000_TCP_PROTO": "tcp"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_service_links(environ: dict[str, str]) -> None:
    """What Kubernetes sets beside a Service called predictor is refused with that cause and its remedy."""
    sentence = refusal(**environ)
    assert sentence.startswith(next(iter(environ)))
    assert sentence.endswith(
        "(Kubernetes sets it beside a Service called predictor: set enableServiceLinks: false in the pod)"
    )


def test_other_variables_are_others() -> None:
    """Variables of others are none of the server's business, even where their names are alike."""
    assert load({"PREDICTORS": "x", "MY_PREDICTOR_PORT": "x", "OTEL_LOG_LEVEL": "debug"}) == load({})


def test_one_endpoint() -> None:
    """One endpoint is the base of both signals' paths, with or without a slash at its end."""
    for url in ("http://otel:4318", "http://otel:4318/"):
        export = load({ENDPOINT: url}).export
        assert export.logs
        assert export.traces
        assert export.logs.url == "http://otel:4318/v1/logs"
        assert export.traces.url == "http://otel:4318/v1/traces"
        assert export.logs.timeout == 10.0
        assert export.metrics is False
    assert logs(**{ENDPOINT: "https://otel/prefix"}).url == "https://otel/prefix/v1/logs"


def test_endpoint_of_a_signal() -> None:
    """A signal's own endpoint is taken as it is, and leaves the other signal where it was."""
    export = load({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://otel:4318/custom"}).export
    assert export.logs == Endpoint("http://otel:4318/custom")
    assert export.traces is None
    export = load(HERE | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://tempo:4318/t"}).export
    assert export.logs == Endpoint("http://127.0.0.1:4318/v1/logs")
    assert export.traces == Endpoint("http://tempo:4318/t")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "secret-otel:4318",
            "ftp://secret",
            "http://",
            "http://secret:port",
            "http://secret:99999",
            "secret",
            "//secret",
        ),
        *("http://user:se/cret@otel:4318", "http://user:1/secret@otel", "http://user:1?secret@otel"),
        *("http://user:1#secret@otel", "http://user:secret@", "http://otel:4318#secret", "http://secret host:4318"),
        *("http://otel:4318/\x1bsecret", "http://[secret:4318", "user:secret@otel:4318", "http://secret..example"),
    ],
)
@pytest.mark.parametrize("variable", [ENDPOINT, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"])
def test_endpoint_that_is_no_url(variable: str, url: str) -> None:
    """An endpoint that is no HTTP URL is refused with an example, and no part of it is repeated."""
    sentence = refusal(**{variable: url})
    assert sentence.startswith(f"{variable} is not a usable URL (it is not shown")
    assert "wanted an http:// or https:// URL such as http://127.0.0.1:4318" in sentence
    assert "secret" not in sentence
    assert "cret@" not in sentence


@pytest.mark.parametrize(
    "url",
    [
        "http://otel:4318",
        "https://user:secret@otel",
        "http://[::1]:4318/x",
        "http://otel_1:4318",
        "http://10.0.0.1/a?b=c",
    ],
)
def test_endpoint_that_is_a_url(url: str) -> None:
    """What HTTP can use is taken as it is, a name and a password included."""
    assert logs(OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=url).url == url


def test_base_endpoint_with_a_query() -> None:
    """A base URL with a query is refused, since the signal's path would be added behind that."""
    assert refusal(**{ENDPOINT: "http://otel:4318/?key=secret"}) == (
        f"{ENDPOINT} has a query, wanted a base URL, to which /v1/logs is added"
    )


@pytest.mark.parametrize("header", ["Authorization", "authorization"])
def test_two_authorizations(header: str) -> None:
    """A name and a password in the endpoint beside an authorization header stop the start with both variables."""
    userinfo = {ENDPOINT: "http://user:secret@otel:4318"}
    sentence = refusal(**userinfo, OTEL_EXPORTER_OTLP_HEADERS=f"{header}=Bearer%20t")
    assert ENDPOINT in sentence
    assert "OTEL_EXPORTER_OTLP_HEADERS" in sentence
    assert "secret" not in sentence
    assert logs(**userinfo, OTEL_EXPORTER_OTLP_HEADERS="x-scope=1").headers


@pytest.mark.parametrize("url", ["https://user:secret@g", "user:secret@g", "secret", "http://g/?secret"])
def test_grafana_url_is_not_shown(url: str) -> None:
    """A Grafana that cannot be linked to is refused, and no part of its URL is repeated."""
    assert "secret" not in refusal(PREDICTOR_GRAFANA_URL=url)


@pytest.mark.parametrize(
    "variable",
    [
        *("PREDICTOR_HOST", "PREDICTOR_PORT", "PREDICTOR_MODEL", "PREDICTOR_OUTBOX", "PREDICTOR_BATCH_ROWS"),
        *("PREDICTOR_DEADLINE", "PREDICTOR_PAGE", "PREDICTOR_TOKEN_FILE", "PREDICTOR_TLS_CERTIFICATE"),
        *("PREDICTOR_HASH_KEY_FILE", "PREDICTOR_ALLOWED_HOSTS", "PREDICTOR_CORS_ORIGINS", "OTEL_PROPAGATORS"),
        *("OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_PROTOCOL"),
        *("OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_LOGS_EXPORTER", "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER"),
        *("OTEL_RESOURCE_ATTRIBUTES", "OTEL_METRIC_EXPORT_INTERVAL", "PREDICTOR_DEFAULT_VERSIONS"),
    ],
)
@pytest.mark.parametrize("given", ["http://user:secret@otel:4318", "127.0.0.1,http://user:secret@otel"])
def test_a_url_elsewhere_is_not_shown(variable: str, given: str) -> None:
    """A URL in a variable that takes none stops the start with the variable's name, and is not repeated either."""
    sentence = refusal(**HERE, **{variable: given})
    assert variable in sentence
    assert "wanted" in sentence
    assert "secret" not in sentence


def test_userinfo_without_a_scheme_is_not_shown() -> None:
    """What stands before an @ may end with a password: it is not repeated."""
    assert "secret" not in refusal(PREDICTOR_HOST="user:secret@127.0.0.1")


@pytest.mark.parametrize("given", ["127.0.0.1", "::", "fe80::1%eth0", "localhost", "unix:/run/a@b.sock", "::1, host_1"])
def test_where_to_listen(given: str) -> None:
    """Addresses, names and Unix sockets are taken as they are."""
    assert load({"PREDICTOR_HOST": given}).host == given


@pytest.mark.parametrize("signal", ["", "LOGS_"])
def test_compression(signal: str) -> None:
    """Bodies are compressed by gzip if the general variable or the signal's says so; another way is refused."""
    variable = f"OTEL_EXPORTER_OTLP_{signal}COMPRESSION"
    assert logs(**HERE, **{variable: "gzip"}).gzip
    assert not logs(**HERE, **{variable: "none"}).gzip
    assert refusal(**HERE, **{variable: "zstd"}) == f"{variable} is 'zstd', wanted gzip or none"


def test_compression_of_a_signal() -> None:
    """A signal's own compression goes before the general one."""
    export = load(HERE | {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "none"})
    assert export.export.logs
    assert export.export.traces
    assert (export.export.logs.gzip, export.export.traces.gzip) == (True, False)


@pytest.mark.parametrize("variable", [ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_grpc_port(variable: str) -> None:
    """Port 4317 is refused with the name of the right one."""
    sentence = refusal(**{variable: "http://user:secret@otel:4317"})
    assert "secret" not in sentence
    assert variable in sentence
    assert "gRPC" in sentence
    assert "4318" in sentence


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL"])
def test_protocol(variable: str) -> None:
    """Both HTTP protocols are taken, gRPC is refused with the right port."""
    for given in ("http/json", "http/protobuf", ""):
        assert load(HERE | {variable: given}).export.logs
    sentence = refusal(**HERE, **{variable: "grpc"})
    assert sentence.startswith(f"{variable} is 'grpc', wanted http/json or http/protobuf")
    assert "4318" in sentence
    assert load({variable: "grpc"}).export.logs is None, "without an endpoint the protocol does not matter"


def test_headers() -> None:
    """Headers are pairs with URL-encoded values; a signal's own replace the general ones."""
    general = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20a%3Db%2Cc, x-scope-orgid = tenant,,"}
    assert logs(**HERE, **general).headers == {"Authorization": "Bearer a=b,c", "x-scope-orgid": "tenant"}
    export = load(HERE | general | {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=b"}).export
    assert export.traces
    assert export.traces.headers == {"a": "b"}


@pytest.mark.parametrize("given", ["token s3cret", "tok en=s3cret", "t=s3cret%0d%0aX: y", "=s3cret"])
def test_bad_headers(given: str) -> None:
    """A bad header is refused by its place: its value may be a secret."""
    sentence = refusal(**HERE, OTEL_EXPORTER_OTLP_HEADERS=f"ok=1,{given}")
    assert sentence.startswith("OTEL_EXPORTER_OTLP_HEADERS: entry 2 is not a header, wanted name=value")
    assert "s3cret" not in sentence


def test_headers_are_not_shown() -> None:
    """Header values do not come out where settings are shown."""
    assert "s3cret" not in repr(load(HERE | {"OTEL_EXPORTER_OTLP_HEADERS": "t=s3cret"}))


def test_timeout() -> None:
    """The time-out is seconds, a signal's own before the general one."""
    general = {"OTEL_EXPORTER_OTLP_TIMEOUT": "2.5"}
    assert logs(**HERE, **general).timeout == 2.5
    assert logs(**HERE, **general, OTEL_EXPORTER_OTLP_LOGS_TIMEOUT="7").timeout == 7
    for given in ("0", "-1", "10s", "inf", "nan"):
        sentence = refusal(**HERE, OTEL_EXPORTER_OTLP_TIMEOUT=given)
        assert sentence.startswith(f"OTEL_EXPORTER_OTLP_TIMEOUT is {given!r}, wanted seconds greater than 0")


@pytest.mark.parametrize("signal", ["", "LOGS_", "TRACES_", "METRICS_"])
def test_timeout_in_milliseconds(signal: str) -> None:
    """A time-out of more than ten minutes is milliseconds to whoever wrote it: the start says so, for each signal."""
    variable = f"OTEL_EXPORTER_OTLP_{signal}TIMEOUT"
    wanted = {"OTEL_METRICS_EXPORTER": "otlp"} | HERE
    assert load(wanted | {variable: "600"}).export.logs
    sentence = refusal(**wanted, **{variable: "10000"})
    assert sentence == (
        f"{variable} is '10000', wanted seconds, at most 600 (as OpenTelemetry's Python SDK reads it); "
        "if 10000 milliseconds are meant, write 10"
    )


@pytest.mark.parametrize(
    ("name", "field"),
    [("CERTIFICATE", "certificate"), ("CLIENT_CERTIFICATE", "client_certificate"), ("CLIENT_KEY", "client_key")],
)
def test_certificates(tmp_path: Path, name: str, field: str) -> None:
    """TLS files must exist; a signal's own goes before the general one."""
    file, own = tmp_path / "a.pem", tmp_path / "b.pem"
    file.touch()
    own.touch()
    general = {f"OTEL_EXPORTER_OTLP_{name}": str(file)}
    assert getattr(logs(**HERE, **general), field) == file
    assert getattr(logs(**HERE, **general, **{f"OTEL_EXPORTER_OTLP_LOGS_{name}": str(own)}), field) == own
    gone = str(tmp_path / "gone")
    sentence = refusal(**HERE, **{f"OTEL_EXPORTER_OTLP_{name}": gone})
    assert sentence == f"OTEL_EXPORTER_OTLP_{name} is {gone!r}, wanted a file that exists"


def test_exporters() -> None:
    """An exporter `none` keeps its signal here; any other than otlp is refused."""
    export = load(HERE | {"OTEL_TRACES_EXPORTER": "none"}).export
    assert export.logs
    assert export.traces is None
    export = load(HERE | {"OTEL_LOGS_EXPORTER": " NONE "}).export
    assert export.logs is None
    assert export.traces
    for signal in ("LOGS", "TRACES", "METRICS"):
        sentence = refusal(**HERE, **{f"OTEL_{signal}_EXPORTER": "console"})
        known = "otlp, none or prometheus" if signal == "METRICS" else "otlp or none"
        assert sentence == f"OTEL_{signal}_EXPORTER is 'console', wanted {known}"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        (HERE, False),
        (HERE | {"OTEL_METRICS_EXPORTER": "otlp"}, True),
        (HERE | {"OTEL_METRICS_EXPORTER": "none"}, False),
        (HERE | {"OTEL_METRICS_EXPORTER": ""}, False),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://otel:4318/v1/metrics"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://otel:4318/x", "OTEL_METRICS_EXPORTER": "none"}, False),
        (HERE | {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_metrics_only_when_asked_for(environ: dict[str, str], *, wanted: bool) -> None:
    """Metrics leave only if their exporter or their endpoint was named, and never without an endpoint."""
    assert load(environ).export.metrics is wanted


def test_metrics_endpoint() -> None:
    """The endpoint of metrics is held to the rules of the others, since the SDK would only fail at it."""
    for url in ("http://otel:4317", "otel"):
        assert "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" in refusal(OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=url)


def test_disabled_sdk() -> None:
    """Without the SDK there are no spans and no metrics; the prediction log stays."""
    export = load(HERE | {"OTEL_SDK_DISABLED": "True"}).export
    assert export.logs
    assert export.traces is None
    assert load(HERE | {"OTEL_SDK_DISABLED": "false"}).export.traces


def test_settings_are_frozen() -> None:
    """Nobody changes a setting while the server runs."""
    settings: Settings = load({})
    with pytest.raises(AttributeError):
        settings.port = 1  # type: ignore[misc]


def test_reading_settings_is_light() -> None:
    """A bad setting is told before anything heavy is imported."""
    script = "import sys, predictor.config.settings; print(*{'aiohttp', 'onnxruntime', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


@pytest.mark.parametrize(
    ("size", "endpoint", "wanted"),
    [
        ("1KiB", True, 1024),
        ("40KiB", True, 40 << 10),
        ("41KiB", True, "wanted at most 40 KiB while an endpoint is set"),
        ("1MiB", False, 1 << 20),
        ("1025KiB", False, "wanted at most 1024 KiB in any case"),
        ("1000", False, "at least 1024 bytes"),
    ],
)
def test_bytes_of_a_record(size: str, wanted: int | str, *, endpoint: bool) -> None:
    """A record is no larger than the sink takes, while there is one."""
    environ = {"PREDICTOR_RECORD_BYTES": size}
    if endpoint:
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:4318"
    if isinstance(wanted, int):
        assert load(environ).record_bytes == wanted
    else:
        with pytest.raises(SettingsError, match=wanted):
            load(environ)


@pytest.mark.parametrize("variable", [*MALLOC, TUNABLES])
def test_an_operators_malloc(variable: str) -> None:
    """Each variable on how much memory the C library keeps is noticed, and one that is set to nothing is not."""
    value = "glibc.cpu.hwcaps=x:glibc.malloc.arena_max=1" if variable == TUNABLES else "65536"
    assert load({variable: value}).sets_malloc
    assert not load({variable: ""}).sets_malloc
    assert not load({TUNABLES: "glibc.pthread.rseq=0"}).sets_malloc


@pytest.mark.parametrize("absent", ["grpc", "google"])
def test_a_port_for_grpc_without_its_libraries(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    """Whichever library is not there, the sentence names the command that installs all of them."""
    monkeypatch.delitem(sys.modules, "google.protobuf", raising=False)
    monkeypatch.setitem(sys.modules, absent, None)  # as if it was not installed
    assert "gRPC installed: " in refusal(PREDICTOR_GRPC_PORT="0")
