"""Loki, a Collector toward it, and servers toward that, configured as an overlay configures them.

Only addresses, paths and ports differ, all of them by environment; and the Collector does without the piece that asks
the Kubernetes API, which touches spans only.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from predictor.outbox import ended
from scripts.manifests import rendering
from tests.stack.loki import Loki
from tests.stack.programs import Program
from tests.stack.rendered import pod
from tests.support import external_programs, loki_client
from tests.support.collector import free_port
from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.loki_client import Entry

every_overlay = pytest.mark.parametrize("stack", rendering.overlays(), indirect=True)
_HOUR = 3600 * 10**9  # ns
_FLUSH = "180s"  # how long a server may ship at its end; Loki may just have been started


class Stack:
    """One Loki and one Collector, and what servers toward them need."""

    def __init__(self, overlay: str, folder: Path, tempo: str) -> None:
        """Prepare programs with an overlay's configuration and start nothing; `tempo` is the URL that takes spans."""
        self.overlay = overlay
        self.loki = _loki(overlay, folder / "loki", port := free_port())
        self.loki_data = folder / "loki" / "data"
        self.log = loki_client.Loki(f"http://127.0.0.1:{port}")
        self._otlp = free_port()
        self.collector = _collector(
            overlay, folder / "collector", self._otlp, LOKI_ENDPOINT=f"{self.log.url}/otlp", TEMPO_ENDPOINT=tempo
        )

    @property
    def endpoint(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT takes."""
        return f"http://127.0.0.1:{self._otlp}"

    def stop(self) -> None:
        """End both."""
        self.collector.stop()
        self.loki.stop()

    def server(self, outbox: Path, namespace: str, **settings: str) -> Server:
        """Return a server with the overlay's settings, not started; its namespace tells its records from others'."""
        changes = {
            "PREDICTOR_HOST": "127.0.0.1",
            "PREDICTOR_PORT": "0",
            "PREDICTOR_OUTBOX": str(outbox),
            "PREDICTOR_FLUSH": _FLUSH,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
        }
        predictor = pod(self.overlay, "predictor")
        return Server(outbox, **predictor.environment(namespace, **changes | settings))

    @property
    def added(self) -> dict[str, str]:
        """The resource attributes that the Collector adds, by its own environment."""
        said = pod(self.overlay, "collector").environment("collector").get("OTEL_RESOURCE_ATTRIBUTES", "")
        return dict(pair.split("=", 1) for pair in said.split(",") if pair)

    def stored(self, namespace: str, **paging: int) -> list[Entry]:
        """Return everything that Loki has of a namespace and of the last two days."""
        return self.log.entries(of(namespace), time.time_ns() - 48 * _HOUR, **paging)

    def series(self, namespace: str, since: int) -> list[dict[str, str]]:
        """Return the index labels of each Loki stream that a namespace has, Loki's own labels among them."""
        asked: dict[str, str | int] = {"match[]": of(namespace), "start": since - 1}
        found: list[dict[str, str]] = self.log.get("/loki/api/v1/series", **asked)
        return found


def of(namespace: str) -> str:
    """Return the selector of a namespace's Loki streams, one for each process."""
    return f'{{service_name="predictor", k8s_namespace_name="{namespace}"}}'


def ship_out(server: Server) -> None:
    """End a server, which ships what is left: its outbox must be empty then."""
    server.process.terminate()
    assert server.wait(200) == 0, server.stderr_lines  # s, more than it may take to ship
    left = [str(path) for path in (server.outbox / "v1").rglob("*") if path.name != ended.NAME]
    assert not left, f"not shipped: {left}"


def _loki(overlay: str, folder: Path, port: int) -> Loki:
    loki = pod(overlay, "loki")
    environment = loki.environment(
        "loki",
        LOKI_ADDRESS="127.0.0.1",
        LOKI_HTTP_PORT=str(port),
        LOKI_GRPC_PORT=str(free_port()),
        LOKI_DATA=str(folder / "data"),
    )
    return Loki(loki.lay_out(folder), environment, folder, f"http://127.0.0.1:{port}")


def _collector(overlay: str, folder: Path, port: int, **endpoints: str) -> Program:
    collector = pod(overlay, "collector")
    environment = collector.environment(
        "collector",
        POD_IP="127.0.0.1",
        OTLP_GRPC_PORT=str(free_port()),
        OTLP_HTTP_PORT=str(port),
        HEALTH_PORT=str(health := free_port()),
        METRICS_PORT=str(free_port()),
        **endpoints,
    )
    arguments = [each for each in collector.lay_out(folder) if not each.endswith("/kubernetes.yaml")]
    command: list[str | Path] = [external_programs.collector(), *arguments]
    return Program("collector", command, environment, folder, f"http://127.0.0.1:{health}")
