"""One server under measurement, and what it did in one round."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, NamedTuple

import wrk
from evidence import Evidence, since, sizes
from pinned import Pinned, core_time
from variants import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from live_collector import LiveCollector
    from variants import Variant

_SAMPLE = b'{"data":[[6.7,3.0,5.2,2.3]]}'
_QUIET = 0.7  # s without anything new at the Collector: over twice what the shipper and the exporter hold back
_ARRIVED = 30.0  # s for the rest to arrive after a round


class Cores(NamedTuple):
    """Which core serves, and which one loads and collects."""

    server: int
    load: int


class Measured(NamedTuple):
    """One variant in one round."""

    rate: float
    """Requests a second."""
    cpu: float
    """Microseconds of processor time a request, until everything is shipped."""
    p50: float
    """Microseconds, as p99."""
    p99: float
    others: float
    """Share of the server's core that something else took."""
    load_core: float
    """Share of the load generator's core that was in use."""
    shipped: float
    """Share of what the Collector got that it had when the load ended; 1 if nothing is shipped."""
    collector_cpu: float
    """Microseconds of the Collector's processor time a request."""


class Running:
    """A variant's server, paused except while it is measured."""

    def __init__(self, variant: Variant, folder: Path, cores: Cores, collector: LiveCollector | None) -> None:
        """Start it, wait for its first answer and pause it."""
        self.variant = variant
        self._cores = cores
        self._collector = collector if variant.ships else None
        self._outbox = folder / variant.name
        port = free_port()
        self._url = f"http://127.0.0.1:{port}/predict"
        environ = variant.environment(port, self._outbox, collector.endpoint if collector else None)
        output = folder / f"{variant.name}.txt"
        self.server = Pinned(variant.title, variant.command(port), cores.server, environ, output, ROOT)
        try:
            self.answer = self.server.wait_for(self._url, _SAMPLE)
            self._arrived({}, 1)
        except BaseException:
            self.server.end()
            raise
        self.server.pause()

    def measure(self, connections: int, seconds: int) -> Measured:
        """Return one measurement; raises BenchError if the server did not do what the variant says."""
        if self._collector:
            self._collector.clear()
        self.server.go_on()
        time.sleep(0.1)  # for what it has to catch up with after the pause
        files, cpu, collector_cpu = sizes(self._files()), self.server.cpu(), self._collector_cpu()
        core, load_core = core_time(self._cores.server), core_time(self._cores.load)
        load = wrk.run(self._url, connections, seconds, self._cores.load)
        core_after, load_after, own = (
            core_time(self._cores.server),
            core_time(self._cores.load),
            self.server.cpu() - cpu,
        )
        self.server.check_core()
        at_end = self._sink_size()
        evidence = self._arrived(files, load.requests)
        evidence.check(self.variant, load.requests, connections)
        used, collector_used = self.server.cpu() - cpu, self._collector_cpu() - collector_cpu
        self.server.pause()
        return Measured(
            rate=load.rate,
            cpu=used / load.requests * 1e6,
            p50=load.p50,
            p99=load.p99,
            others=max(0.0, core_after.share_since(core) - own / (core_after.whole - core.whole)),
            load_core=load_after.share_since(load_core),
            shipped=at_end / self._sink_size() if self._collector else 1.0,
            collector_cpu=collector_used / load.requests * 1e6,
        )

    def end(self) -> None:
        """End the server."""
        self.server.end()

    def _files(self) -> list[Path]:
        """Return where its records and spans end up."""
        if self._collector:
            return [path for path in self._collector.files if path.exists()]
        return sorted(self._outbox.glob("v1/*/*/*.jsonl"))

    def _arrived(self, before: dict[Path, int], acknowledged: int) -> Evidence:
        """Return what the files show once all that was acknowledged has arrived, or the time for it is over."""
        until = time.monotonic() + _ARRIVED
        while True:
            self._wait_until_quiet()
            evidence = since(before, self._files())
            if not self._collector or len(evidence.predictions) >= acknowledged or time.monotonic() > until:
                return evidence

    def _wait_until_quiet(self) -> None:
        if self._collector is None:
            return
        size, since_when = self._sink_size(), time.monotonic()
        while time.monotonic() - since_when < _QUIET:
            time.sleep(0.05)
            if (now := self._sink_size()) != size:
                size, since_when = now, time.monotonic()

    def _sink_size(self) -> int:
        return self._collector.size() if self._collector else 0

    def _collector_cpu(self) -> float:
        return self._collector.cpu() if self._collector else 0.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
