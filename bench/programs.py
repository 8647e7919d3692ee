"""What starts each server: its command and its whole environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import environments
from bench.model_repository import repository
from bench.pinned import BenchError, free_port
from bench.setting import IMAGES, IRIS
from bench.variants import BARE, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.variants import Variant

_BENCH = ROOT / "bench"
_PEERS = _BENCH / "peers"
_FOREIGN = (
    "BENCH_",
    "OTEL_",
    "PREDICTOR_",
    "MLSERVER_",
    "BENTOML_",
    "KSERVE_",
)  # what the caller has set changes nothing


class Start(NamedTuple):
    """How a server is started."""

    command: list[str]
    environ: dict[str, str]


def start(variant: Variant, port: int, folder: Path, sink: str | None, grpc: int | None = None) -> Start:
    """Return how to start it on `port`; it writes below `folder` and ships to the URL `sink`.

    A server of a repository speaks gRPC on a port `grpc` too, if it can and there is one.

    Raises BenchError if it cannot be installed.
    """
    environ = foreign_free()
    if variant.peer:
        environ["PYTHONPATH"] = str(_PEERS)
        environ.pop("PYTHONDONTWRITEBYTECODE")  # the environments are our own, and large
        command, more = _peer(variant, port, folder, sink, grpc if variant.repository else None)
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
    elif variant.tree != ROOT:
        command, more = [str(_python_of(variant.tree)), "-m", "predictor"], _predictor(variant, port, folder, sink)
    elif variant.lane:
        command, more = [sys.executable, "-m", "bench.lane_counter"], _predictor(variant, port, folder, sink)
        more |= {"PYTHONPATH": str(ROOT), "BENCH_LANE_COUNT": str(lane_count(folder))}
    else:
        command, more = [sys.executable, "-m", "predictor"], _predictor(variant, port, folder, sink)
    if grpc and variant.repository and variant.program == "predictor":
        more |= {"PREDICTOR_GRPC_PORT": str(grpc)}
    return Start(command, environ | more | variant.environ)


def foreign_free() -> dict[str, str]:
    """Return the environment without what would change a server."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return environ | {"ORT_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1"}  # the tree stays as it is


def lane_count(folder: Path) -> Path:
    """Return the file into which a server that counts its lane's answers writes the count."""
    return folder / "lane-count"


def _python_of(tree: Path) -> Path:
    """Return the Python of another checkout; raises BenchError unless it runs that checkout's server."""
    python = tree / ".venv" / "bin" / "python"
    asked = [str(python), "-c", "import predictor; print(predictor.__file__)"]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=True, cwd="/", env=environ)
    except (OSError, subprocess.CalledProcessError) as error:
        msg = f"{tree} has no .venv with the server in it: {error}"
        raise BenchError(msg) from error
    if not Path(done.stdout.strip()).is_relative_to(tree):
        msg = f"the .venv of {tree} runs the server of another place, {done.stdout.strip()}"
        raise BenchError(msg)
    return python


def _predictor(variant: Variant, port: int, folder: Path, sink: str | None) -> dict[str, str]:
    model = variant.tree / "models" / "iris"
    if variant.repository or variant.per_request:
        model = repository(folder.parent, per_request=variant.per_request)
        model = model if variant.repository else model / "iris"
    environ = {
        "PREDICTOR_PORT": str(port),
        "PREDICTOR_OUTBOX": str(folder / "outbox"),
        "PREDICTOR_MODEL": str(model),
        "PREDICTOR_QUEUE_ROWS": "16384",  # 32 connections with 256 rows each may all wait
    }
    if sink:
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink
        # A full outbox refuses, as it should; here it is to be seen what an outage of the whole run costs.
        environ["PREDICTOR_OUTBOX_BYTES"] = "64GiB"
    return environ


def _peer(
    variant: Variant, port: int, folder: Path, sink: str | None, grpc: int | None
) -> tuple[list[str], dict[str, str]]:
    python = environments.python(variant.peer)
    models = {"BENCH_MODELS": str(repository(folder.parent))} if variant.repository else {}
    match variant.program:
        case "kserve":
            return [
                str(python),
                str(_PEERS / "on_kserve.py"),
                "--http_port",
                str(port),
                "--enable_grpc",
                "true" if grpc else "false",
                "--grpc_port",
                str(grpc or 0),
            ], models
        case "kserve-agent":
            agent = environments.agent()
            script = [str(_PEERS / "with_kserve_agent"), str(python), str(agent), str(port)]
            return [*script, str(free_port()), str(sink)], models
        case "mlserver":
            _write_settings(folder, IMAGES if variant.repository else ())
            return [str(python.with_name("mlserver")), "start", str(folder)], models | {
                "MLSERVER_HOST": "127.0.0.1",
                "MLSERVER_HTTP_PORT": str(port),
                "MLSERVER_GRPC_PORT": str(grpc or free_port()),
                "MLSERVER_METRICS_PORT": str(free_port()),
                "MLSERVER_DEBUG": "false",
                "MLSERVER_PARALLEL_WORKERS": "0",  # on one core a worker process of its own only adds a hop
            }
        case "litserve":
            return [str(python), str(_PEERS / "on_litserve.py"), str(port), str(folder / "litserve.jsonl")], {}
    serve = [str(python.with_name("bentoml")), "serve", "on_bentoml:IrisService", "--host", "127.0.0.1"]
    return [*serve, "--port", str(port), "--working-dir", str(_PEERS)], {
        "BENCH_LOG": str(folder / "monitoring"),
        "BENTOML_HOME": str(folder / "home"),
        "BENTOML_DO_NOT_TRACK": "True",  # would report usage to its maker
    }


def _write_settings(folder: Path, images: Sequence[str]) -> None:
    """Write what MLServer is told of each model."""
    for name in (IRIS, *images):
        place = folder / "settings" / name
        place.mkdir(parents=True)
        implementation = "on_mlserver.IrisModel" if name == IRIS else "on_mlserver.ImageModel"
        settings = {"name": name, "implementation": implementation}
        (place / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
