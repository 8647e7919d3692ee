"""The only reader of the environment: our own variables here, OpenTelemetry's export variables in `otel_env.py`.

A bad value or an unknown `PREDICTOR_` variable stops the start with one sentence.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from predictor.config.malloc_env import sets_malloc
from predictor.config.otel_env import Export, read_export
from predictor.config.parsers import (
    choice,
    count,
    duration,
    folder,
    grpc_port,
    host_names,
    listening,
    named_versions,
    optional_file,
    optional_url,
    origins,
    port,
    size,
    switch,
    text,
)
from predictor.config.urls import hides

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "PREDICTOR_"
DEMO = Path(__file__).parents[1] / "demo" / "iris"
"""The model that comes with the package, which is served where none is named."""
_RECORD_SHIPPED, _RECORD_KEPT = 40 << 10, 1 << 20
"""The largest PREDICTOR_RECORD_BYTES: Loki takes 64 KB of attributes a record."""
_SEMCONV = "OTEL_SEMCONV_STABILITY_OPT_IN"


class SettingsError(Exception):
    """One sentence: which variable, which value, what was wanted."""


class SettingRow(NamedTuple):
    """One line of the table in docs/settings.md."""

    variable: str
    default: str
    meaning: str


def _setting(default: str, parse: Callable[[str], Any], meaning: str, *, secret: bool = False) -> Any:  # noqa: ANN401 - a dataclass field
    return field(metadata={"default": default, "parse": parse, "meaning": meaning}, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says; sizes in bytes, times in seconds."""

    host: str = _setting(
        "127.0.0.1",
        listening,
        "address to listen on, or several with commas between; `::` takes IPv4 too, `unix:/path` is a Unix socket",
    )
    port: int = _setting("8000", port, "port to listen on; 0 takes a free one")
    grpc_port: int | None = _setting(
        "", grpc_port, "if set, port to listen on for gRPC, 0 for a free one; needs the extra `grpc`"
    )
    model: Path = _setting(
        "",
        lambda given: folder(given) if given else DEMO,
        "model to serve: an ONNX file, a folder with a `model.toml`, with versions by number, or with several models; "
        "without it the demo, iris",
    )
    default_model: str = _setting(
        "", text, "of several models, the one for calls that name none; without it the first by name"
    )
    default_versions: tuple[tuple[str, str], ...] = _setting(
        "",
        named_versions,
        "of a model with several versions, the one for calls that name none: `wine@1`, or several with commas between; "
        "without it the highest",
    )
    model_poll: float = _setting(
        "0s", duration(0), "how often to look for changed model files and serve them; 0: only on SIGHUP and on request"
    )
    outbox: Path = _setting("outbox", folder, "folder of the prediction log, on a local file system")
    outbox_bytes: int = _setting(
        "1GiB", size(1 << 20), "limit of the outbox while an endpoint is set, including refused records"
    )
    outbox_full: Literal["refuse", "lose"] = _setting(
        "refuse",
        choice("refuse", "lose"),
        "a full outbox or a failing disk: `refuse` answers 503 before inference, "
        "`lose` answers with `X-Prediction-Logged: false` and declares the lost numbers",
    )
    outbox_fsync: Literal["second", "batch", "never"] = _setting(
        "second",
        choice("second", "batch", "never"),
        "fsync `second`: at least once a second; `batch`: before every answer; `never`: left to the kernel",
    )
    keep_bytes: int = _setting("1GiB", size(1 << 20), "without an endpoint: how much of the log is kept, the newest")
    keep_age: float = _setting("7d", duration(1), "without an endpoint: how long records are kept")
    batch_rows: int = _setting("256", count(1, 4096), "most rows that run together, and most rows of one request")
    record_bytes: int = _setting(
        "16KiB",
        size(1 << 10),
        "of one record: all its tensors, or the rows of a request that it holds, at most; "
        "1 KiB to 40 KiB while an endpoint is set, else to 1 MiB",
    )
    threads: int = _setting(
        "0",
        count(0),
        "batches that run at once; 0 is one for each core this process may use, a CPU quota rounded up included",
    )
    queue_rows: int = _setting("4096", count(1), "rows that may wait; beyond them 503")
    rows_per_second: int = _setting(
        "0",
        count(0),
        "most rows a second that this process predicts and logs; more are refused with 429, 0 is unlimited; a feedback "
        "counts as one row; bursts may have the rows of a second, or one request of `PREDICTOR_BATCH_ROWS`",
    )
    body_bytes: int = _setting(
        "0",
        size(0),
        "largest request body, after decompression; 0 is what the model's rows need as JSON: 1 to 8 MiB, and one row "
        "always",
    )
    buffered_bytes: int = _setting(
        "0",
        size(0),
        "all larger bodies at once, from their first byte to their answer, and answers that callers do not read; "
        "beyond them 503; 0 is an eighth of the memory; at least two bodies of `PREDICTOR_BODY_BYTES`",
    )
    deadline: float = _setting("10s", duration(0.001), "longest time for one request, its body included; then 504")
    connections: int = _setting(
        "0",
        count(0),
        "most connections at once; beyond them the one that has been idle longest is closed; "
        "0 is as many as open files and an eighth of the memory allow",
    )
    idle: float = _setting(
        "75s",
        duration(0.1),
        "a connection that sends no complete header, or does not read its answer, ends after this",
    )
    slow: float = _setting("250ms", duration(0), "predictions slower than this keep their trace")
    shutdown_delay: float = _setting("0s", duration(0), "on SIGTERM: time between not ready and closing the socket")
    drain: float = _setting("10s", duration(0), "on shutdown: longest wait for requests in flight")
    flush: float = _setting("10s", duration(0), "on shutdown: longest time to ship what is left")
    feedback: bool = _setting("false", switch, "`true`: `POST /feedback/{job_id}` accepts the truth about a prediction")
    feedback_token: str = _setting(
        "", text, "if set, feedback must come with it: `Authorization: Bearer …`", secret=True
    )
    feedback_token_file: Path | None = _setting(
        "",
        optional_file,
        "tokens for feedback, one a line; with neither of the two, those of `PREDICTOR_TOKEN_FILE`",
    )
    feedback_bytes: int = _setting("4KiB", size(64), "largest body of a feedback")
    token_file: Path | None = _setting(
        "", optional_file, "if set, predictions must come with one of its tokens, one a line: `Authorization: Bearer …`"
    )
    control_token_file: Path | None = _setting(
        "", optional_file, "if set, calls that load and unload models are accepted with one of its tokens, one a line"
    )
    tls_certificate: Path | None = _setting(
        "", optional_file, "PEM file of the server's certificate and its chain: callers speak HTTPS"
    )
    tls_key: Path | None = _setting("", optional_file, "PEM file of its key, unless that is in the same file")
    allowed_hosts: tuple[str, ...] = _setting(
        "",
        host_names,
        "names that callers may use besides loopback's, with commas between; `*`: any; "
        "without it none if `PREDICTOR_HOST` is loopback, else any",
    )
    cors_origins: tuple[str, ...] = _setting(
        "",
        origins,
        "origins of web pages that may call, for example `https://app.example`, with commas between; `*`: any",
    )
    hash_key_file: Path | None = _setting(
        "", optional_file, "the secret for features and outputs that `model.toml` has hashed in the log"
    )
    signing_key_file: Path | None = _setting(
        "", optional_file, "an Ed25519 private key in PEM that signs the log's checkpoints; needs the extra `sign`"
    )
    display: str = _setting(
        "auto", choice("auto", "on", "off"), "prediction lines on stderr; `auto`: if it is a terminal"
    )
    page: str = _setting(
        "auto",
        choice("auto", "on", "off"),
        "the page at `/`, which shows inputs; `auto`: if `PREDICTOR_HOST` is a loopback address",
    )
    grafana_url: str = _setting("", optional_url, "the page links a prediction to this Grafana")
    fast_lane: str = _setting(
        "on",
        choice("on", "off"),
        "`off`: aiohttp answers every call, alike, at about twice the processor time",
    )
    log: str = _setting("on", choice("on", "off"), "`off` writes no prediction log: for benchmarks only")

    export: Export
    semconv: str = "http"
    """`OTEL_SEMCONV_STABILITY_OPT_IN`: by which names server spans call their attributes."""
    sets_malloc: bool = False
    """Whether the environment says how much memory the C library keeps, so that the server does not."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses, names and Unix sockets (`unix:/path`) to listen on."""
        return tuple(part.strip() for part in self.host.split(","))

    @property
    def refuses(self) -> bool:
        """Whether an unloggable prediction is refused (and not lost)."""
        return self.outbox_full == "refuse"


def _own() -> list[Any]:
    return [item for item in fields(Settings) if item.metadata]


def table() -> list[SettingRow]:
    """Return our own variables with default and meaning, as docs/settings.md lists them."""
    return [
        SettingRow(PREFIX + item.name.upper(), item.metadata["default"], item.metadata["meaning"]) for item in _own()
    ]


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of `environ` (default: the process's); raises SettingsError."""
    if environ is None:
        environ = os.environ
        # The instrumentation reads this itself and would use names that OpenTelemetry has given up.
        os.environ.setdefault(_SEMCONV, "http")
        for variable in [name for name in os.environ if name.startswith("OTEL_") and not os.environ[name].strip()]:
            del os.environ[variable]  # by the specification it is not set; the SDK would refuse, or warn of, its value
    values: dict[str, Any] = {}
    for item in _own():
        variable = PREFIX + item.name.upper()
        given = environ.get(variable, "").strip() or item.metadata["default"]
        try:
            values[item.name] = item.metadata["parse"](given)
        except ValueError as error:
            shown = item.metadata["parse"] is not optional_url and not hides(given)
            raise SettingsError(_sentence(variable, given if shown else None, str(error))) from None
    known = {row.variable for row in table()}
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in known:
            msg = f"{variable} is not a setting; the settings are {', '.join(sorted(known))}{_service_link(variable)}"
            raise SettingsError(msg)
    _check_together(values)
    try:
        settings = Settings(
            **values,
            export=read_export(environ),
            semconv=environ.get(_SEMCONV, "http"),
            sets_malloc=sets_malloc(environ),
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None
    most = _RECORD_SHIPPED if settings.export.logs else _RECORD_KEPT
    if settings.record_bytes > most:
        why = "while an endpoint is set (a sink takes no more)" if settings.export.logs else "in any case"
        msg = f"PREDICTOR_RECORD_BYTES is {settings.record_bytes}, wanted at most {most >> 10} KiB {why}"
        raise SettingsError(msg)
    return settings


def _check_together(values: Mapping[str, Any]) -> None:
    if values["tls_key"] and not values["tls_certificate"]:
        msg = "PREDICTOR_TLS_KEY is set, wanted PREDICTOR_TLS_CERTIFICATE too"
        raise SettingsError(msg)
    if values["grpc_port"] is not None and all(each.strip().startswith("unix:") for each in values["host"].split(",")):
        msg = "PREDICTOR_GRPC_PORT is set and PREDICTOR_HOST has Unix sockets only, wanted an address besides"
        raise SettingsError(msg)


def _sentence(variable: str, given: str | None, wanted: str) -> str:
    if given is None:  # a URL, and a password may be in it
        return f"{variable} is not shown, since a password may be in it; wanted {wanted}{_service_link(variable)}"
    return f"{variable} is {given!r}, wanted {wanted}"


def _service_link(variable: str) -> str:
    if variable == PREFIX + "PORT" or variable.startswith((PREFIX + "PORT_", PREFIX + "SERVICE_")):
        return " (Kubernetes sets it beside a Service called predictor: set enableServiceLinks: false in the pod)"
    return ""
