"""Rounds: every variant once in random order, so that each is compared with its neighbours in time."""

from __future__ import annotations

import contextlib
import random
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
from live_collector import LiveCollector
from pinned import BenchError
from running import Running, free_port
from variants import BARE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from running import Cores, Measured
    from variants import Variant

Results = dict[tuple[str, int], list["Measured"]]
"""By (variant's name, connections): one measurement a round."""
_WARM_UP = 1  # s of load before the first round, at most


def run(
    variants: Sequence[Variant],
    connections: Sequence[int],
    *,
    rounds: int,
    seconds: int,
    folder: Path,
    cores: Cores,
    say: Callable[[str], None],
) -> Results:
    """Start all servers, measure every variant at every number of connections in each round; raises BenchError."""
    results: Results = defaultdict(list)
    with contextlib.ExitStack() as stack:
        collector = None
        if any(variant.ships for variant in variants):
            collector = LiveCollector(folder / "collector", free_port(), cores.load)
            stack.callback(collector.end)
        servers = []
        for variant in variants:
            say(f"starting: {variant.title}")
            servers.append(Running(variant, folder, cores, collector))
            stack.callback(servers[-1].end)
        _check_alike(servers)
        for server in servers:
            server.measure(max(connections), min(seconds, _WARM_UP))
        for number in range(1, rounds + 1):
            for count in connections:
                for server in random.sample(servers, len(servers)):
                    measured = server.measure(count, seconds)
                    results[server.variant.name, count].append(measured)
                    say(_progress(number, rounds, count, server.variant, measured))
    return results


def _check_alike(servers: Sequence[Running]) -> None:
    """Raise BenchError unless all answer in the same form: the bare handler encodes what the server does."""
    forms = {server.variant.name: _form(msgspec.json.decode(server.answer)) for server in servers}
    for name, form in forms.items():
        if form != forms[BARE]:
            msg = f"{name} answers with {form}, the bare handler with {forms[BARE]}"
            raise BenchError(msg)


def _form(value: object) -> object:
    match value:
        case dict():
            return {key: _form(item) for key, item in value.items()}
        case list():
            return [_form(item) for item in value]
        case str():
            return f"text of {len(value)}"
    return type(value).__name__


def _progress(number: int, rounds: int, count: int, variant: Variant, measured: Measured) -> str:
    return (
        f"{number:3d}/{rounds}  {count:2d} conn  {variant.name:10s} {measured.rate:7.0f}/s  "
        f"{measured.cpu:6.1f} µs CPU  p50 {measured.p50 / 1000:.2f}  p99 {measured.p99 / 1000:.2f} ms  "
        f"others {measured.others:.0%}  shipped {measured.shipped:.0%}"
    )
