"""What starts each server: its command and its whole environment."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from bench import environments
from bench.pinned import free_port
from bench.variants import BARE, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from bench.variants import Variant

_BENCH = ROOT / "bench"
_PEERS = _BENCH / "peers"
_FOREIGN = ("OTEL_", "PREDICTOR_", "MLSERVER_", "BENTOML_", "KSERVE_")  # what the caller has set changes nothing


class Start(NamedTuple):
    """How a server is started."""

    command: list[str]
    environ: dict[str, str]


def start(variant: Variant, port: int, folder: Path, sink: str | None) -> Start:
    """Return how to start it on `port`; it writes below `folder` and ships to the URL `sink`.

    Raises BenchError if it cannot be installed.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    environ |= {"ORT_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1"}  # the tree stays as it is
    if variant.peer:
        environ["PYTHONPATH"] = str(_PEERS)
        environ.pop("PYTHONDONTWRITEBYTECODE")  # the environments are our own, and large
        command, more = _peer(variant, port, folder, sink)
    elif variant.program == BARE:
        command, more = [sys.executable, str(_BENCH / "bare.py"), str(port)], {}
    elif variant.program == "obvious":
        command, more = [sys.executable, "-m", "bench.obvious", str(port)], {}
        more = {
            "PYTHONPATH": str(ROOT),  # it starts in a folder of its own
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink or "",
            "OTEL_SERVICE_NAME": "obvious",
            "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
        }
    else:
        command, more = [sys.executable, "-m", "predictor"], _predictor(port, folder, sink)
    return Start(command, environ | more | variant.environ)


def _predictor(port: int, folder: Path, sink: str | None) -> dict[str, str]:
    environ = {
        "PREDICTOR_PORT": str(port),
        "PREDICTOR_OUTBOX": str(folder / "outbox"),
        "PREDICTOR_MODEL": str(ROOT / "models" / "iris"),
        "PREDICTOR_QUEUE_ROWS": "16384",  # 32 connections with 256 rows each may all wait
    }
    if sink:
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink
        # A full outbox refuses, as it should; here it is to be seen what an outage of the whole run costs.
        environ["PREDICTOR_OUTBOX_BYTES"] = "64GiB"
    return environ


def _peer(variant: Variant, port: int, folder: Path, sink: str | None) -> tuple[list[str], dict[str, str]]:
    python = environments.python(variant.peer)
    match variant.program:
        case "kserve":
            return [str(python), str(_PEERS / "on_kserve.py"), "--http_port", str(port), "--enable_grpc", "false"], {}
        case "kserve-agent":
            agent = environments.agent()
            script = [str(_PEERS / "with_kserve_agent"), str(python), str(agent), str(port)]
            return [*script, str(free_port()), str(sink)], {}
        case "mlserver":
            return [str(python.with_name("mlserver")), "start", str(folder)], {
                "MLSERVER_HOST": "127.0.0.1",
                "MLSERVER_HTTP_PORT": str(port),
                "MLSERVER_GRPC_PORT": str(free_port()),
                "MLSERVER_METRICS_PORT": str(free_port()),
                "MLSERVER_DEBUG": "false",
                "MLSERVER_PARALLEL_WORKERS": "0",  # on one core a worker process of its own only adds a hop
                "MLSERVER_MODEL_NAME": "iris",
                "MLSERVER_MODEL_IMPLEMENTATION": "on_mlserver.IrisModel",
            }
        case "litserve":
            return [str(python), str(_PEERS / "on_litserve.py"), str(port), str(folder / "litserve.jsonl")], {}
    serve = [str(python.with_name("bentoml")), "serve", "on_bentoml:IrisService", "--host", "127.0.0.1"]
    return [*serve, "--port", str(port), "--working-dir", str(_PEERS)], {
        "BENCH_LOG": str(folder / "monitoring"),
        "BENTOML_HOME": str(folder / "home"),
        "BENTOML_DO_NOT_TRACK": "True",  # would report usage to its maker
    }
