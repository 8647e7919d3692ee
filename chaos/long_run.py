"""Full load for half an hour, with the Collector killed and stopped in between, to see what grows.

`make chaos ARGS='long --minutes 30'` watches memory, descriptors, disk and latency, counts what arrives, and with
`--write` draws it. Needs wrk. One core is the server's; wrk and the Collector share another.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import wrk
from bench.pinned import BenchError
from chaos import drawing
from chaos.counting import Counting
from chaos.drawing import Look
from chaos.picture import Band
from predictor.outbox import ended
from tests.support import collector
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SLICE = 10  # s of load between two looks
_SETTLES = 60  # s, after which nothing may grow
_EVERY, _LASTS = 300, 40  # s between two outages, and of one: longer than the server ever waits between two tries
_BOUND = "16GiB"  # no refusal: that the bound is kept is another test's business
_GROWTH = 1.1
_MORE_FILES = 8  # descriptors that may come and go: segments, connections to the Collector
_REQUEST = '{"data":[[6.7,3.0,5.2,2.3]]}\n'
_FLUSH = 600  # s, for what is left of an outage


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if nothing grew and all arrived, 1 if not, 2 if the harness could not go on."""
    parser = argparse.ArgumentParser(prog="make chaos ARGS='long …'", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="of load (%(default)s)")
    parser.add_argument("--connections", type=int, default=32, help="(%(default)s)")
    parser.add_argument("--write", action="store_true", help="write docs/long-run.svg, and its figures in the docs")
    options = parser.parse_args(arguments)
    try:
        wrk.version()
        with tempfile.TemporaryDirectory(prefix="long-") as folder:
            return asyncio.run(_run(options, Path(folder)))
    except (pytest.fail.Exception, pytest.skip.Exception, RuntimeError, OSError, BenchError) as error:
        print(f"long run: {error}", file=sys.stderr)
        return 2


async def _run(options: argparse.Namespace, folder: Path) -> int:
    collector.binary()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    outbox = folder / "outbox"
    requests_file = folder / "requests"
    requests_file.write_text(_REQUEST, encoding="utf-8")
    looks: list[Look] = []
    bands: list[Band] = []
    async with AsyncExitStack() as stack:
        counting = Counting(folder)
        agent = await asyncio.to_thread(collector.start, counting.config, folder, counting.port)
        stack.callback(agent.kill)
        settings = {"PREDICTOR_OUTBOX_BYTES": _BOUND, "PREDICTOR_FLUSH": str(_FLUSH)}
        os.sched_setaffinity(0, {cores[-1]})  # a child inherits it
        server = Server(outbox, OTEL_EXPORTER_OTLP_ENDPOINT=agent.url, OTEL_TRACES_EXPORTER="none", **settings)
        await asyncio.to_thread(server.start)
        stack.callback(server.kill)
        os.sched_setaffinity(0, {cores[0]})
        began = time.monotonic()
        outages = asyncio.create_task(_outages(agent, options.minutes * 60, bands, began))
        print("minute  requests/s  p50 ms  p99 ms  resident MiB  descriptors  outbox MiB  arrived", flush=True)
        while (now := time.monotonic() - began) < options.minutes * 60:
            load = await asyncio.to_thread(
                wrk.load_with, (), f"{server.url}/predict", requests_file, options.connections, _SLICE
            )
            await asyncio.to_thread(counting.count)
            looks.append(Look((now + _SLICE) / 60, load, *_held(server.pid), _size(outbox)))
            print(_row(looks[-1], counting.there), flush=True)
        await outages
        requests = sum(look.load.requests for look in looks)
        server.process.terminate()
        status = await asyncio.to_thread(server.wait, _FLUSH + 60)
        agent.kill()
        counting.count(last=True)
    wrong = [*_grown(looks), *counting.wrong(requests)]
    if status:
        wrong.append(f"the server ended with status {status}")
    if left := [path for path in (outbox / "v1").rglob("*") if path.is_file() and path.name != ended.NAME]:
        wrong.append(f"left in the outbox: {left[:5]}")
    print("\n".join(wrong) or f"nothing grew, and all {counting.there:,} records arrived")
    if options.write and not wrong:
        drawing.write(looks, bands, counting.there, f"long --minutes {options.minutes:g}")
    return 1 if wrong else 0


async def _outages(agent: collector.Collector, seconds: float, bands: list[Band], began: float) -> None:
    """Kill the Collector and start it again, or stop it for as long, in turns."""
    number = 0
    while (number + 1) * _EVERY + _LASTS < seconds:
        number += 1
        await asyncio.sleep(began + number * _EVERY - time.monotonic())
        first, kills = time.monotonic(), number % 2 == 1
        assert agent.process
        if kills:
            agent.kill()
        else:
            agent.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(_LASTS)
        if kills:
            await asyncio.to_thread(agent.start)
        else:
            agent.process.send_signal(signal.SIGCONT)
        what = "the Collector is killed" if kills else "the Collector is stopped"
        bands.append(Band((first - began) / 60, (time.monotonic() - began) / 60, what))


def _held(pid: int) -> tuple[int, int]:
    """Return a process's resident bytes and how many files it has open."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (resident,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(resident) * 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # shipped and removed meanwhile
            size += path.stat().st_size
    return size


def _grown(looks: Sequence[Look]) -> Iterator[str]:
    """Yield what was larger in the last quarter than in the first, the first minute left out."""
    settled = [look for look in looks if look.minute * 60 > _SETTLES]
    quarter = max(1, len(settled) // 4)
    first, last = settled[:quarter], settled[-quarter:]
    if not settled:
        yield "too short to say anything"
        return
    before, after = (statistics.median(look.resident for look in some) for some in (first, last))
    if after > before * _GROWTH:
        yield f"memory grew from {before / 2**20:.0f} to {after / 2**20:.0f} MiB"
    # The least: some looks still see connections of wrk's, which has just ended.
    files, more = (min(look.descriptors for look in some) for some in (first, last))
    if more > files + _MORE_FILES:
        yield f"descriptors grew from {files} to {more}"
    if errors := sum(look.load.errors for look in looks):
        yield f"{errors} requests had no answer, or another than 200"


def _row(look: Look, arrived: int) -> str:
    load = look.load
    cells = (
        f"{look.minute:6.1f}  {load.rate:10,.0f}  {load.p50 / 1000:6.2f}  {load.p99 / 1000:6.2f}",
        f"{look.resident / 2**20:12.1f}  {look.descriptors:11}  {look.outbox / 2**20:10.1f}  {arrived:7,}",
    )
    return "  ".join(cells)
