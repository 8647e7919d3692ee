"""Each server by itself and fresh: its memory, what it writes and sends, and what of its log an outage leaves."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from bench.pinned import BenchError
from bench.running import Running
from bench.setting import Setting
from bench.sinks import Relayed, Sinks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.pinned import Pinned
    from bench.running import Cores
    from bench.variants import Variant

_REST = 1.0  # s after the first answer until the memory at rest is read
_AFTER = 5.0  # s after the load and its records until the memory afterwards is read
_LOOK = 0.2  # s between two looks at the memory under load


class Cost(NamedTuple):
    """What one server took in one run; bytes, and ratios a prediction."""

    rate: float
    p99: float
    cpu: float
    """Seconds of processor time a thousand predictions."""
    rest: int
    peak: int
    after: int
    disk: float
    wire: float
    recorded: float
    """Share of the acknowledged predictions whose record is in a file or at the sink a few seconds later."""


class Costs(NamedTuple):
    """All of them by variant, and why a row has none."""

    measured: dict[str, list[Cost]]
    failed: dict[str, str]


class _Peak:
    """The most memory that a process and its children had since it was entered."""

    def __init__(self, server: Pinned) -> None:
        self._server, self._over = server, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK):
            self.bytes = max(self.bytes, self._server.resident())


def run(
    variants: Sequence[Variant],
    connections: int,
    *,
    rounds: int,
    seconds: int,
    folder: Path,
    cores: Cores,
    say: Callable[[str], None],
) -> Costs:
    """Measure each variant alone, in so many rounds; raises BenchError if one of ours fails."""
    costs = Costs({}, {})
    for number in range(1, rounds + 1):
        for variant in variants:
            if variant.name in costs.failed:
                continue
            room = folder / f"{number}-{variant.name}"
            room.mkdir()
            try:
                cost = _one(variant, connections, seconds, room, cores)
            except BenchError as error:
                if variant.ours:
                    raise
                costs.failed[variant.name] = str(error)
                say(f"{variant.title}: {error}")
                continue
            costs.measured.setdefault(variant.name, []).append(cost)
            say(
                f"{number:3d}/{rounds}  {variant.name:18s} {cost.rate:7.0f}/s  {cost.cpu:.3f} s CPU/1000  "
                f"{cost.rest >> 20} {cost.peak >> 20} {cost.after >> 20} MiB  {cost.disk:.0f} B disk  "
                f"{cost.wire:.0f} B wire  {cost.recorded:.1%} recorded"
            )
    return costs


def _one(variant: Variant, connections: int, seconds: int, folder: Path, cores: Cores) -> Cost:
    sinks = Sinks(folder, cores.load)
    try:
        running = Running(variant, folder, cores, sinks.of(variant, counted=True))
        try:
            return _cost(running, connections, seconds)
        finally:
            running.end()
    finally:
        sinks.end()


def _cost(running: Running, connections: int, seconds: int) -> Cost:
    server, variant = running.server, running.variant
    server.go_on()
    time.sleep(_REST)
    rest = server.resident()
    running.trail.begin()
    cpu, written, wire = server.cpu(), server.written(), _wire(running)
    with _Peak(server) as peak:
        load = running.load(Setting(connections, 1), seconds)
    evidence = running.trail.arrived(load.predictions)
    if variant.ours:
        evidence.check(variant, load.predictions, connections)
    time.sleep(_AFTER)
    return Cost(
        rate=load.rate,
        p99=load.p99,
        cpu=(server.cpu() - cpu) / load.requests * 1000,
        rest=rest,
        peak=max(peak.bytes, rest),
        after=server.resident(),
        disk=(server.written() - written) / load.requests,
        wire=(_wire(running) - wire) / load.requests,
        recorded=min(1.0, evidence.recorded / load.requests),
    )


def _wire(running: Running) -> int:
    return running.sink.wire() if isinstance(running.sink, Relayed) else 0
