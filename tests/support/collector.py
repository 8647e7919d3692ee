"""The real Collector for tests: the binary that `make collector` builds, started on free ports of loopback."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support import external_programs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PATIENCE = 30.0  # s


def binary() -> Path:
    """Return the Collector's path; skips the test without it."""
    return external_programs.collector()


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Collector:
    """One Collector, which can be killed and started again on the same port."""

    config: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT takes; the signals are at `/v1/logs` and `/v1/traces` under it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the Collector itself said."""
        return self.folder / "collector.log"

    def start(self) -> None:
        """Start it and return when it answers."""
        self.process = self.launch()
        end = time.monotonic() + _PATIENCE
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                pytest.fail(f"the Collector does not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.02)  # another program's start can only be polled

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process."""
        path = self.folder / "collector.yaml"
        path.write_text(self.config)
        with self.log.open("ab") as log:
            return subprocess.Popen([binary(), "--config", path], stdout=log, stderr=log)

    def stop(self) -> None:
        """Let it finish (SIGTERM)."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(_PATIENCE)
            finally:
                self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
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
