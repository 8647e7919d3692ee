"""The real Collector for tests: the binary that `make collector` builds, started on free ports of loopback."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from typing import TYPE_CHECKING

from tests.support import external_programs
from tests.support.program import Program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def binary() -> Path:
    """Return the Collector's path; skips the test without it."""
    return external_programs.collector()


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Collector(Program):
    """One Collector, which can be killed and started again on the same port."""

    def __init__(self, config: str, folder: Path, port: int) -> None:
        """Start nothing yet."""
        super().__init__("the Collector", folder / "collector.log")
        self.config = config
        self.folder = folder
        self.port = port

    @property
    def url(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT takes; the signals are at `/v1/logs` and `/v1/traces` under it."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and return when it answers."""
        super().start()
        self.wait_ready()

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process."""
        path = self.folder / "collector.yaml"
        path.write_text(self.config)
        with self.log.open("ab") as log:
            return subprocess.Popen([binary(), "--config", path], stdout=log, stderr=log)

    def answers(self) -> bool:
        """Tell whether its receiver answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("POST", "/v1/logs", b"{}", {"Content-Type": "application/json"})
            connection.getresponse().read()  # 400 where it wants https
        except OSError:
            return False
        else:
            return True
        finally:
            connection.close()


def start(config: str, folder: Path, port: int) -> Collector:
    """Start a Collector whose OTLP/HTTP receiver is at `port` in `config`; stop it when you are done."""
    collector = Collector(config, folder, port)
    collector.start()
    return collector


def to_files(
    port: int, logs: Path, traces: Path, *, tls: Mapping[str, str] | None = None, cuttable: bool = False
) -> str:
    """Return the configuration of a Collector that writes each signal to a file, as OTLP JSON lines.

    `tls` is what its receiver needs for https.
    With `rotation` the exporter does not buffer: what was acknowledged is in the file, even if the Collector is killed.
    Files that are `cuttable` may be cut to nothing in between instead.
    """
    writes: dict[str, object] = {"append": True, "flush_interval": "100ms"}
    if not cuttable:
        writes = {"rotation": {"max_megabytes": 100_000}}
    exporters = {f"file/{name}": {"path": str(path)} | writes for name, path in (("logs", logs), ("traces", traces))}
    return _config(port, exporters, {"logs": "file/logs", "traces": "file/traces"}, tls)


def to_sink(port: int, url: str) -> str:
    """Return the configuration of a Collector that hands everything to an OTLP/HTTP sink and keeps no queue."""
    exporter = {
        "endpoint": url,
        "encoding": "json",
        "compression": "none",
        "timeout": "5s",
        "sending_queue": {"enabled": False},  # its 200 is the sink's 200
        "retry_on_failure": {"enabled": False},
    }
    return _config(port, {"otlp_http": exporter}, {"logs": "otlp_http", "traces": "otlp_http"})


def _config(
    port: int,
    exporters: Mapping[str, object],
    pipelines: Mapping[str, str],
    tls: Mapping[str, str] | None = None,
) -> str:
    receiver: dict[str, object] = {"endpoint": f"127.0.0.1:{port}"} | ({"tls": tls} if tls else {})
    return json.dumps(  # JSON is YAML
        {
            "receivers": {"otlp": {"protocols": {"http": receiver}}},
            "exporters": exporters,
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {
                    signal: {"receivers": ["otlp"], "exporters": [exporter]} for signal, exporter in pipelines.items()
                },
            },
        }
    )
