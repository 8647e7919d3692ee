"""Measure the server beside a bare aiohttp handler, the usual wiring and its peers: `python -m bench --help`.

`--against CHECKOUT` compares the servers of two checkouts instead, round by round; the other one needs a .venv.
Parts: `connections` (one row a request, 1 to 32 connections), `rows` (16 and 256 rows a request), `protocol` (the Open
Inference Protocol V2 with rows and images: JSON, binary, gRPC), `alone` (each server by itself: memory, bytes, and what
an outage of its sink does), `scale` (one worker and two), `where` (what the time goes to, by py-spy) and `reading` (the
readers of the log). With --write each part is kept in bench/results, and docs/benchmarks.md is written from all that
are there; with --resume a part that was ended goes on after its last whole round.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench import against, alone, environments, live_collector, nginx, protocol, reading, scale, triton_load, ways, wrk
from bench.pinned import BenchError
from bench.report import page, sizing, store
from bench.rounds import Rounds
from bench.running import Cores
from bench.setting import Setting
from bench.variants import BARE, ROOT, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.store import PartResult
    from bench.variants import Variant

_ROOM = 16 << 30
"""Bytes: four outboxes of at most 1 GiB, two that keep all of a run, and what one round leaves at the sinks."""

_NOISE = 0.03
"""Share of the server's core: with more taken by others, requests a second say little about the server."""

_SIDE_BY_SIDE = ("connections", "rows", "protocol")
_NOT_WITH_ROWS = {"on", "traced100", "down", "slow", "obvious"}
"""What the part `rows` leaves out: it is about the rows, and each variant takes minutes."""
_ALONE_ROUNDS, _ALONE_LONGER = 1, 8  # eight minutes in all: memory and bytes differ little
_SCALE_ROUNDS = 5
_WAY_SECONDS = 8
_RECORDS = 1_000_000
"""That the readers of the log read."""


def main() -> int:
    """Run the benchmark and print or write its pages; what makes the figures worthless is one sentence, status 1."""
    names = [variant.name for variant in page.EVERY if variant.name != BARE]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=page.PARTS, help="(all; with --against, connections)")
    parser.add_argument("--rounds", type=int, default=8, help="rounds, each with every variant once (%(default)s)")
    parser.add_argument(
        "--seconds", type=int, default=1, help="of load a measurement; images and `alone` have more (%(default)s)"
    )
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32], help="(%(default)s)")
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 256], help="rows a request (%(default)s)")
    parser.add_argument("--at", type=int, default=32, help="connections of `rows` and `alone` (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="variants beside the bare handler")
    parser.add_argument("--write", action="store_true", help="keep the results, and write the pages from all there are")
    parser.add_argument("--resume", action="store_true", help="go on with the rounds of a run that was ended")
    parser.add_argument(
        "--noisy", action="store_true", help="keep results even if other processes took much of the core"
    )
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="the checkout to compare with")
    arguments = parser.parse_args()
    arguments.parts = arguments.parts or (_SIDE_BY_SIDE[:1] if arguments.against else page.PARTS)
    if arguments.against and (arguments.write or not {*arguments.parts} <= {"connections", "rows"}):
        parser.error("--against prints the parts `connections` and `rows` only")
    try:
        tools = _tools(arguments)
        cores = choose_cores()
        if arguments.against:
            return _compare(arguments, tools, cores)
        kept = [_part(part, arguments, tools, cores) for part in arguments.parts]
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return int(not all(kept))


def _tools(arguments: argparse.Namespace) -> list[str]:
    """Return the versions of what takes part, and install what is to be measured before anything is."""
    tools = [wrk.version(), live_collector.version()]
    if "protocol" in arguments.parts:
        tools.append(triton_load.version())
    if {*arguments.parts} & {*_SIDE_BY_SIDE, "alone"}:
        asked = [variant for variant in page.EVERY if variant.name in arguments.only]
        tools += _peers_found({each.peer for each in asked if each.peer and not arguments.against})
        if any(variant.nginx for variant in asked):
            with contextlib.suppress(nginx.NotInstalledError):
                tools.append(nginx.version())
    return tools


def _part(part: str, arguments: argparse.Namespace, tools: Sequence[str], cores: Cores) -> bool:
    """Measure one part, print it and keep it, with the pages that it changes; return whether it was good enough."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _check_room(Path(folder))
        try:
            result = _measured(store.begun(part, tools, arguments.seconds), arguments, Path(folder), cores)
        except BenchError as error:
            if part != "where":
                raise
            _say(f"bench: {part} is not measured: {error}")
            return False
    print("\n".join(page.of_part(result)), flush=True)
    _say(f"{part}: {(time.monotonic() - began) / 60:.0f} minutes")
    if not arguments.write:
        return True
    noise = page.noise(result.results) if part in _SIDE_BY_SIDE and result.series else 0.0
    if noise > _NOISE and not arguments.noisy:
        _say(f"bench: {part} is not kept, other processes took {noise:.0%} of the server's core (--noisy keeps it)")
        return False
    store.write(result)
    store.finish(part)
    write_pages()
    return True


def write_pages() -> None:
    """Write docs/benchmarks.md, and what other pages and the README have of it, as far as it is measured."""
    page.PAGE.write_text(page.text(page.results()), encoding="utf-8")
    if sizing.figures(page.results()):
        sizing.write()
    if store.read("connections"):
        done = subprocess.run([sys.executable, "-m", "scripts.readme_figures"], cwd=ROOT, check=False)
        if done.returncode:
            _say("bench: the README keeps its table: --only or --connections have left out some of its rows")
    subprocess.run([sys.executable, "-m", "scripts.promises"], cwd=ROOT, check=True)


def _measured(fresh: PartResult, arguments: argparse.Namespace, folder: Path, cores: Cores) -> PartResult:
    part, seconds = fresh.part, arguments.seconds
    chosen = [variant for variant in page.EVERY if variant.name in (BARE, *arguments.only) and _belongs(variant, part)]
    if part == "alone":
        rounds = min(arguments.rounds, _ALONE_ROUNDS)
        costs = alone.run(
            chosen, arguments.at, rounds=rounds, seconds=_ALONE_LONGER * seconds, folder=folder, cores=cores, say=_say
        )
        return store.with_costs(fresh, costs)
    if part == "scale":
        rounds = min(arguments.rounds, _SCALE_ROUNDS)
        return store.with_rounds(fresh, scale.run(folder, cores, rounds=rounds, seconds=2 * seconds, say=_say))
    if part == "where":
        return msgspec.structs.replace(fresh, ways=ways.run(cores, _WAY_SECONDS * seconds, _say))
    if part == "reading":
        os.sched_setaffinity(0, {cores.load, cores.server})  # readers use all cores
        try:
            return msgspec.structs.replace(fresh, readings=reading.run(_RECORDS, _say))
        finally:
            os.sched_setaffinity(0, {cores.load})
    before = store.under_way(fresh) if arguments.resume else None
    if before:
        _say(f"{part}: goes on after {before.rounds} rounds")
    side_by_side = Rounds(folder, cores, _say, before.results if before else None)
    results = side_by_side.run(
        chosen,
        _settings(part, arguments),
        rounds=arguments.rounds,
        seconds=seconds,
        keep=lambda results: store.write(store.with_rounds(fresh, results), store.UNDER_WAY),
    )
    return store.with_rounds(fresh, results)


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
        fresh = store.begun(part, tools, arguments.seconds)
        lines = page.head(fresh.command, fresh.date, arguments.rounds, fresh.circumstances)
        lines += against.page(variants, settings, results, tree)
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
