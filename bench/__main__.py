"""Measure the server beside a bare aiohttp handler, the obvious wiring and its peers: `python -m bench --help`.

`--against CHECKOUT` compares the servers of two checkouts instead, round by round; the other one needs a .venv.
Parts: `connections` (one row a request, 1 to 128 connections), `rows` (1, 16 and 256 rows a request), `protocol` (the
Open Inference Protocol V2 with rows and images, JSON and binary) and `alone` (each server by itself: memory, bytes, and
what an outage of its sink does).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import against, alone, environments, live_collector, nginx, page, protocol, tables, triton_load, wrk
from bench.pinned import BenchError
from bench.rounds import Rounds
from bench.running import Cores
from bench.setting import Setting
from bench.variants import BARE, ROOT, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.variants import Variant

_ROOM = 16 << 30
"""Bytes: four outboxes of at most 1 GiB, two that keep all of a run, and what one round leaves at the sinks."""

_NOISE = 0.03
"""Share of the server's core: with more taken by others, requests a second say little about the server."""

_PARTS = ("connections", "rows", "protocol", "alone")
_VARIANTS = (*VARIANTS, *protocol.VARIANTS)
_BASES = {
    "connections": tables.Bases(),
    "rows": tables.Bases(),
    "protocol": tables.Bases((protocol.OFF, "logging off"), (protocol.LOOP, "ONNX Runtime alone")),
}
_NOT_WITH_ROWS = {"on", "traced100", "down", "slow", "obvious"}
"""What the part `rows` leaves out: it is about the rows, and each variant takes minutes."""
_ALONE_ROUNDS = 3  # of seven minutes each: memory and bytes differ little


def main() -> int:
    """Run the benchmark and print or write its page; what makes the figures worthless is one sentence, status 1."""
    names = [variant.name for variant in _VARIANTS if variant.name != BARE]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=_PARTS, help="(all; with --against, connections)")
    parser.add_argument("--rounds", type=int, default=8, help="rounds, each with every variant once (%(default)s)")
    parser.add_argument("--seconds", type=int, default=2, help="of load a measurement, five times alone (%(default)s)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 128], help="(%(default)s)")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 16, 256], help="rows a request (%(default)s)")
    parser.add_argument("--at", type=int, default=32, help="connections of the other two parts (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="variants beside the bare handler")
    parser.add_argument("--write", type=Path, help="put the tables into this page instead of printing them alone")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="the checkout to compare with")
    arguments = parser.parse_args()
    arguments.parts = arguments.parts or (_PARTS[:1] if arguments.against else _PARTS)
    if arguments.against and (arguments.write or "alone" in arguments.parts):
        parser.error("--against prints the parts `connections` and `rows` only")
    try:
        tools = [wrk.version(), live_collector.version()]
        if "protocol" in arguments.parts:
            tools.append(triton_load.version())
        tools += _peers_found(
            {v.peer for v in _VARIANTS if v.peer and v.name in arguments.only and not arguments.against}
        )
        if any(variant.nginx and variant.name in arguments.only for variant in VARIANTS):
            with contextlib.suppress(nginx.NotInstalledError):
                tools.append(nginx.version())
        cores = choose_cores()
        if arguments.against:
            return _compare(arguments, tools, cores)
        noisy = [_part(part, arguments, tools, cores) for part in arguments.parts]
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return int(any(noisy))


def _part(part: str, arguments: argparse.Namespace, tools: Sequence[str], cores: Cores) -> bool:
    """Measure one part and print or write it; return whether it was too noisy to be written."""
    variants = [variant for variant in _VARIANTS if variant.name in (BARE, *arguments.only) and _belongs(variant, part)]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _check_room(Path(folder))
        if part == "alone":
            rounds, seconds = min(arguments.rounds, _ALONE_ROUNDS), 5 * arguments.seconds
            costs = alone.run(
                variants, arguments.at, rounds=rounds, seconds=seconds, folder=Path(folder), cores=cores, say=_say
            )
            noise, lines = 0.0, page.costs_page(variants, arguments.at, costs, tools)
        else:
            settings = _settings(part, arguments)
            side_by_side = Rounds(Path(folder), cores, _say)
            results = side_by_side.run(variants, settings, rounds=arguments.rounds, seconds=arguments.seconds)
            noise, lines = page.noise(results), page.rounds_page(variants, settings, results, tools, _BASES[part])
    print("\n".join(lines), flush=True)
    if arguments.write and noise <= _NOISE:
        page.write(ROOT / arguments.write, part, lines)
    elif arguments.write:
        _say(f"bench: {part} is not written, other processes took {noise:.0%} of the server's core")
        return True
    return False


def _compare(arguments: argparse.Namespace, tools: Sequence[str], cores: Cores) -> int:
    """Measure the parts with two checkouts side by side and print their tables."""
    tree = arguments.against.resolve()
    for part in arguments.parts:
        chosen = [variant for variant in VARIANTS if variant.name in arguments.only and _belongs(variant, part)]
        variants, settings = against.pairs(chosen, tree), _settings(part, arguments)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            _check_room(Path(folder))
            side_by_side = Rounds(Path(folder), cores, _say)
            results = side_by_side.run(variants, settings, rounds=arguments.rounds, seconds=arguments.seconds)
        lines = [*page.head(arguments.rounds, tools), *against.page(variants, settings, results, tree)]
        if results.measured:
            lines += ["", page.others(results)]
        print("\n".join(lines), flush=True)
    return 0


def _settings(part: str, arguments: argparse.Namespace) -> list[Setting]:
    if part == "protocol":
        return list(protocol.SETTINGS)
    if part == "rows":
        return [Setting(arguments.at, rows) for rows in arguments.rows]
    return [Setting(connections, 1) for connections in arguments.connections]


def _peers_found(peers: set[str]) -> list[str]:
    """Install what is to be measured, before anything is, and return the versions; the tables say what is missing."""
    found = []
    for peer in sorted(peers):
        with contextlib.suppress(BenchError):
            found.append(environments.described(peer))
    return found


def _belongs(variant: Variant, part: str) -> bool:
    if variant in protocol.VARIANTS or part == "protocol":
        return variant in protocol.VARIANTS and part == "protocol"
    if part == "rows" and variant.name in _NOT_WITH_ROWS:
        return False
    if variant.beside:
        return part == "connections"
    return part == "alone" or not variant.alone


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def choose_cores() -> Cores:
    """Return the last two cores, since the first one most often serves the interrupts; stay on the load core."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        msg = "this needs two cores: one for the server, one for the load"
        raise BenchError(msg)
    cores = Cores(server=allowed[-1], load=allowed[-2])
    os.sched_setaffinity(0, {cores.load})
    return cores


def _check_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < _ROOM:
        msg = f"{folder} has {free >> 30} GiB left, wanted {_ROOM >> 30}; TMPDIR names another folder"
        raise BenchError(msg)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that what was started is ended
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
