"""A backlog as old as a day, and older than what everybody else sends at the same time."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
import urllib.request
from typing import TYPE_CHECKING

import lokilog
from ledger import Ledger, Load, check

from stack.stack import ship_out
from stack.waiting import shipped

if TYPE_CHECKING:
    from pathlib import Path

    from lokilog import Entry

    from stack.stack import Stack

_AGE = 24 * 3600 * 10**9  # ns
_TIMES = re.compile(rb'"((?:observedT|t)imeUnixNano)":"(\d+)"')


async def test_beside_fresh_records(stack: Stack, outbox: Path, namespace: str, tmp_path: Path) -> None:
    """A dead server's records, a day old, are taken although fresh ones are there in the same Loki stream already.

    They are found at once, and still when Loki has written all of it to its store and has nothing else to read from.
    """
    old = tmp_path / "old"
    dead = await asyncio.to_thread(stack.server(old, namespace, OTEL_EXPORTER_OTLP_ENDPOINT="").start)
    try:
        async with Load(dead.url, seed=6) as past:
            await past.more(2000)
    finally:
        await asyncio.to_thread(dead.kill)
    _make_older(old)
    fresh = await asyncio.to_thread(stack.server(outbox, namespace).start)
    successor = stack.server(old, namespace)
    try:
        async with Load(fresh.url, seed=7, rest=0.02) as present:
            await shipped(fresh.url, 200)
            await asyncio.to_thread(successor.start)
            await shipped(fresh.url, 200)
            await asyncio.to_thread(ship_out, successor)
            await shipped(fresh.url, 200)
    finally:
        await asyncio.to_thread(fresh.terminate)
        await asyncio.to_thread(successor.kill)
    entries = stack.stored(namespace)
    _check(entries, Ledger(past.ledger.answers | present.ledger.answers))
    await asyncio.to_thread(_only_the_store, stack)
    assert sorted(stack.stored(namespace), key=str) == sorted(entries, key=str)


def _check(entries: list[Entry], ledger: Ledger) -> None:
    found = check(ledger, lokilog.records(entries))
    assert found.copies == 0
    assert sorted(map(str, found.streams.values())) == ["crash", "shutdown", "shutdown"]
    assert len({str(entry.labels) for entry in entries}) == 1  # one Loki stream
    aged = [entry for entry in entries if entry.time < time.time_ns() - _AGE]
    assert len(aged) > 2000


def _make_older(outbox: Path) -> None:
    """Write the records under an outbox anew as if everything had happened a day before."""
    (segment,) = outbox.glob("v1/*/logs/*.jsonl")
    text, times = _TIMES.subn(lambda match: b'"%b":"%d"' % (match[1], int(match[2]) - _AGE), segment.read_bytes())
    assert times > 4000
    segment.write_bytes(text)


def _only_the_store(stack: Stack) -> None:
    """Let Loki write all chunks and end, and start it without its write-ahead log."""
    url = f"{stack.log.url}/ingester/shutdown?flush=true&terminate=false"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60):
        pass
    stack.loki.stop()
    shutil.rmtree(stack.loki_data / "wal")
    stack.loki.start()
    stack.loki.wait_ready()
