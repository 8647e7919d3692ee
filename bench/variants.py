"""What is measured: a bare handler, and the server with more and more switched on."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
BARE = "bare"
OFF = "off"


@dataclass(frozen=True, slots=True)
class Variant:
    """One server to measure: its name on the command line, how the page calls it, and what its log must show."""

    name: str
    title: str
    environ: dict[str, str] = field(default_factory=dict)
    logs: bool = True
    ships: bool = False
    traced: float = 0.0
    """Share of the requests that must have spans."""

    def command(self, port: int) -> list[str]:
        """Return what starts it."""
        if self.name == BARE:
            return [sys.executable, str(ROOT / "bench" / "bare.py"), str(port)]
        return [sys.executable, "-m", "predictor"]

    def environment(self, port: int, outbox: Path, endpoint: str | None) -> dict[str, str]:
        """Return its whole environment: nothing that the caller has set may change what is measured."""
        ours = {"PREDICTOR_PORT": str(port), "PREDICTOR_OUTBOX": str(outbox)}
        if self.ships and endpoint:
            ours["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        foreign = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PREDICTOR_"))}
        return foreign | ours | self.environ


VARIANTS = (
    Variant(BARE, "bare aiohttp", logs=False),
    Variant(OFF, "logging off", {"PREDICTOR_LOG": "off"}, logs=False),
    Variant("on", "logging on, kept on disk"),
    Variant("shipped", "+ shipped to a Collector", {"OTEL_TRACES_EXPORTER": "none"}, ships=True),
    Variant(
        "traced5",
        "+ 5 % traced",
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.05"},
        ships=True,
        traced=0.05,
    ),
    Variant("traced100", "+ 100 % traced", {"OTEL_TRACES_SAMPLER": "always_on"}, ships=True, traced=1.0),
)
