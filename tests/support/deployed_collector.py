"""The configuration that is deployed: the pieces in `otel/collector` in a real Collector, moved by environment only."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.collector import Collector, binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER = Path(__file__).parents[2] / "otel" / "collector"
PIECES = ("stdout", "loki", "tempo", "kubernetes")
"""What may come after `base`, in this order."""


@cache
def read(piece: str) -> dict[str, Any]:
    """Return what one piece says."""
    said: dict[str, Any] = yaml.safe_load((FOLDER / f"{piece}.yaml").read_text(encoding="utf-8"))
    return said


def arguments(pieces: Sequence[str]) -> list[str]:
    """Return the Collector's arguments for `base` and these pieces."""
    return [f"--config={FOLDER / piece}.yaml" for piece in ("base", *pieces)]


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment with nothing said about OpenTelemetry but `more`."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | more


def validate(*pieces: str) -> subprocess.CompletedProcess[str]:
    """Let the Collector judge a combination of pieces."""
    command = [str(binary()), "validate", *arguments(pieces)]
    more = {"NODE_NAME": "node"}  # Kubernetes says it where kubernetes.yaml is used
    return subprocess.run(command, env=environment(**more), capture_output=True, text=True, timeout=60, check=False)


def _free_ports(number: int) -> list[int]:
    """Return ports of loopback that nobody listens on, each another one."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [int(probe.getsockname()[1]) for probe in probes]


class Deployed(Collector):
    """A Collector with these pieces, on free ports of loopback; what it prints is in `stdout`."""

    def __init__(self, folder: Path, *pieces: str, **more: str) -> None:
        """Take the pieces, and variables such as LOKI_ENDPOINT."""
        self.grpc, self.health, self.metrics, port = _free_ports(4)
        super().__init__(config="", folder=folder, port=port)
        self.stdout = folder / "stdout"
        self._arguments = arguments(pieces)
        self._environment = environment(
            OTLP_GRPC_PORT=str(self.grpc),
            OTLP_HTTP_PORT=str(port),
            HEALTH_PORT=str(self.health),
            METRICS_PORT=str(self.metrics),
            **more,
        )

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process."""
        with self.log.open("ab") as log, self.stdout.open("ab") as stdout:
            return subprocess.Popen([binary(), *self._arguments], env=self._environment, stdout=stdout, stderr=log)


@contextmanager
def deployed(folder: Path, *pieces: str, **more: str) -> Iterator[Deployed]:
    """Run a Collector with these pieces."""
    collector = Deployed(folder, *pieces, **more)
    collector.start()
    try:
        yield collector
    finally:
        collector.stop()
