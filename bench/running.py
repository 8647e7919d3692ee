"""One server under measurement beside others, and what it did in one round."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from bench import dialects, nginx, triton_load, wrk
from bench.pinned import BenchError, Pinned, core_time, free_port
from bench.programs import lane_count, start
from bench.setting import Setting
from bench.trail import Trail
from bench.variants import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from bench.sinks import Sink
    from bench.variants import Variant

_IN_LANE = 0.99
"""Share of the predictions that the fast lane must answer where it is on: a pooled connection may change hands."""
_LOOK = 0.1  # s
_IDLE = 0.25
"""Share of a core that a server without work may use: its clock has steps of a tenth of `_LOOK`."""
_SETTLED = 3.0  # s at most to catch up; those whose sink is down go on trying
_COUNTED = 10.0  # s for a server to write its count


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
    """Share of what the sink got that it had when the load ended; 1 if nothing is shipped."""
    collector_cpu: float
    """Microseconds of the sink's processor time a request."""
    acknowledged: int
    """Predictions that were answered."""
    recorded: int
    """Records of them in files or at the sink; what was under way at the end may add some."""
    lane: float | None = None
    """Share of the predictions that the fast lane answered, where it is counted."""


class Running:
    """A variant's server, paused except while it is measured."""

    def __init__(self, variant: Variant, folder: Path, cores: Cores, sink: Sink | None) -> None:
        """Start it, check its first answer and pause it."""
        self.variant = variant
        self._cores = cores
        self._folder = folder / variant.name
        self._folder.mkdir()
        self.sink = sink
        self.trail = Trail(variant, self._folder, sink)
        if variant.nginx:
            nginx.command()  # raises before anything is started
        self._nginx: Pinned | None = None
        port = free_port()
        self._address = f"http://127.0.0.1:{port}"
        nobody = f"http://127.0.0.1:{free_port()}" if variant.sink == "down" else None
        grpc = free_port()
        self._place = f"127.0.0.1:{grpc}"
        command, environ = start(variant, port, self._folder, sink.endpoint if sink else nobody, grpc)
        output = folder / f"{variant.name}.txt"
        self.server = Pinned(variant.title, command, cores.server, environ, output, self._folder)
        try:
            if variant.nginx:
                self._nginx, self._address = nginx.start(port, cores.load, self._folder)
            self.answer = self.check(Setting(1, 1))
        except BaseException:
            self.end()
            raise
        self.server.pause()

    def check(self, setting: Setting) -> bytes:
        """Return the answer to the first request of a setting; raises BenchError unless it is the model's own."""
        self.server.go_on()
        dialect = self.variant.dialect
        questions = dialects.questions(dialect, setting, self._folder)
        self.trail.begin()
        if setting.form == "grpc":
            answer = b""
            numbers = triton_load.ask_grpc(self._place, setting.model, questions.file, self._cores.load)
        else:
            answer = self.server.wait_for(self._address + questions.path, *questions.bodies[0])
            numbers = dialect.numbers(answer) if self.variant.program != "bare" else {}
        self.trail.arrived(self.records_a_request(setting), setting.rows)  # lest it counts for the next measurement
        if self.variant.program != "bare":  # the bare handler has no model
            dialects.check(self.variant.name, numbers, dialect.expected(setting), answer)
        return answer

    def measure(self, setting: Setting, seconds: int) -> Measured:
        """Return one measurement; raises BenchError if the server did not do what the variant says."""
        self.server.go_on()
        self._settle()
        self.trail.begin()
        cpu, collector_cpu = self.server.cpu(), self._collector_cpu()
        in_lane = self.answered_by_lane()
        core, load_core = core_time(self._cores.server), core_time(self._cores.load)
        load = self.load(setting, seconds)
        core_after, load_after, own = (
            core_time(self._cores.server),
            core_time(self._cores.load),
            self.server.cpu() - cpu,
        )
        self.server.check_core()
        at_end = self.trail.size()
        evidence = self.trail.arrived(load.predictions * self.records_a_request(setting), setting.rows)
        if self.variant.ours:
            evidence.check(self.variant, load.predictions, setting.connections, setting.rows)
        lane = None
        if in_lane is not None:
            lane = lane_share(
                self.variant, (self.answered_by_lane() or 0) - in_lane, load.predictions, setting.connections
            )
        used, collector_used = self.server.cpu() - cpu, self._collector_cpu() - collector_cpu
        self.server.pause()
        return Measured(
            rate=load.rate,
            cpu=used / load.requests * 1e6,
            p50=load.p50,
            p99=load.p99,
            others=max(0.0, core_after.share_since(core) - own / (core_after.whole - core.whole)),
            load_core=load_after.share_since(load_core),
            shipped=at_end / max(1, self.trail.size()) if self.sink else 1.0,
            collector_cpu=collector_used / load.requests * 1e6,
            acknowledged=load.predictions * self.records_a_request(setting),
            recorded=evidence.recorded,
            lane=lane,
        )

    def load(self, setting: Setting, seconds: int) -> wrk.Load:
        """Return what the client saw; it is over before anything is looked at."""
        questions = dialects.questions(self.variant.dialect, setting, self._folder)
        client = wrk.run if setting.client == "wrk" else triton_load.run
        try:
            address, core = self._address + questions.path, self._cores.load
            if setting.form == "grpc":
                asked = setting.model, questions.file, setting.connections
                return triton_load.run_grpc(self._place, *asked, seconds, core)
            return client(address, questions.file, setting.connections, seconds, core, self.variant.load)
        except BenchError as error:
            msg = f"{self.variant.name}: {error}"
            raise BenchError(msg) from error

    def records_a_request(self, setting: Setting) -> int:
        """Return how many rows its log must have of a request: KServe's agent logs the request as a whole."""
        return 1 if self.variant.records == "events" else setting.rows

    def _settle(self) -> None:
        """Wait until it has caught up with what it was paused in: requests that the last load left under way."""
        until = time.monotonic() + _SETTLED
        before = self.server.cpu()
        while True:
            time.sleep(_LOOK)
            now = self.server.cpu()
            if now - before < _IDLE * _LOOK or time.monotonic() > until:
                return
            before = now

    def pause(self) -> None:
        """Stop it where it is."""
        self.server.pause()

    def end(self) -> None:
        """End the server, and what stands before it."""
        if self._nginx:
            self._nginx.end()
        self.server.end()

    def answered_by_lane(self) -> int | None:
        """Return how many requests the fast lane has answered, None if nobody counts."""
        if not self.variant.lane or self.variant.tree != ROOT:
            return None
        file = lane_count(self._folder)
        file.unlink(missing_ok=True)
        os.kill(self.server.pid, signal.SIGUSR1)
        until = time.monotonic() + _COUNTED
        while not file.exists():
            if time.monotonic() > until:
                msg = f"{self.variant.name} does not say how many requests its fast lane has answered"
                raise BenchError(msg)
            time.sleep(0.005)
        return int(file.read_text(encoding="ascii"))

    def _collector_cpu(self) -> float:
        return self.sink.cpu() if self.sink else 0.0


def lane_share(variant: Variant, counted: int, predictions: int, connections: int) -> float:
    """Return the share of the predictions that the fast lane answered; raises BenchError if it is not the variant's.

    wrk leaves with a request under way on each connection, and each may be counted.
    """
    least, most = (0.0, 0.0) if variant.lane == "off" else (_IN_LANE * predictions, predictions + connections)
    if not least <= counted <= most:
        msg = f"{variant.name}: the fast lane answered {counted} of {predictions} predictions, wanted it {variant.lane}"
        raise BenchError(msg)
    return min(1.0, counted / predictions)
