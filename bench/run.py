"""Measure the server beside a bare aiohttp handler: `python bench/run.py --help`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import live_collector
import page
import rounds
import wrk
from pinned import BenchError
from running import Cores
from variants import BARE, ROOT, VARIANTS

_ROOM = 8 << 30
"""Bytes: four outboxes of at most 1 GiB each, and what one round leaves at the Collector."""

_NOISE = 0.03
"""Share of the server's core: with more taken by others, requests a second say little about the server."""


def main() -> int:
    """Run the benchmark and print or write its page; what makes the figures worthless is one sentence, status 1."""
    names = [variant.name for variant in VARIANTS if variant.name != BARE]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="rounds, each with every variant once (%(default)s)")
    parser.add_argument("--seconds", type=int, default=2, help="of load a measurement (%(default)s)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32], help="(%(default)s)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="variants beside the bare handler")
    parser.add_argument("--write", type=Path, help="put the tables into this page instead of printing them")
    arguments = parser.parse_args()
    variants = [variant for variant in VARIANTS if variant.name in (BARE, *arguments.only)]
    try:
        tools = [wrk.version()]
        if any(variant.ships for variant in variants):
            tools.append(live_collector.version())
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            _check_room(Path(folder))
            results = rounds.run(
                variants,
                arguments.connections,
                rounds=arguments.rounds,
                seconds=arguments.seconds,
                folder=Path(folder),
                cores=choose_cores(),
                say=lambda line: print(line, file=sys.stderr, flush=True),
            )
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    lines = page.page(variants, arguments.connections, results, tools, page.command_line())
    print("\n".join(lines))
    if arguments.write:
        if (noise := page.noise(results)) > _NOISE:
            print(f"bench: not written, other processes took {noise:.0%} of the server's core", file=sys.stderr)
            return 1
        page.write(ROOT / arguments.write, lines)
    return 0


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
    sys.exit(main())
