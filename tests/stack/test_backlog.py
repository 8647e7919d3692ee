"""A backlog as old as a day, and older than what everybody else sends at the same time."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
import urllib.request
from typing import TYPE_CHECKING

from tests.stack.stack import ship_out
from tests.stack.waiting import shipped
from tests.support import loki_client
from tests.support.ledger import Ledger, Load, check

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.stack import Stack
    from tests.support.loki_client import Entry

_AGE = 24 * 3600 * 10**9  # ns
_TIMES = re.compile(rb'"((?:observedT|t)imeUnixNano)":"(\d+)"')


async def test_beside_fresh_records(stack: Stack, outbox: Path, namespace: str, tmp_path: Path) -> None:
    """A server's records, a day old, are taken, also again, although fresh ones are in the same Loki stream already.

    They are found at once, and still when Loki has written all of it to its store and has nothing else to read from.
    """
    old, again = tmp_path / "old", tmp_path / "again"
    alone = await asyncio.to_thread(stack.server(old, namespace, OTEL_EXPORTER_OTLP_ENDPOINT="").start)
    try:
        async with Load(alone.url, seed=6) as past:
            await past.more(4000)
    finally:
        await asyncio.to_thread(alone.terminate)
    _make_first_half_older(old)
    await asyncio.to_thread(shutil.copytree, old, again)
    fresh = await asyncio.to_thread(stack.server(outbox, namespace).start)
    try:
        async with Load(fresh.url, seed=7, rest=0.02) as present:
            for each in (old, again):
                successor = stack.server(each, namespace)
                try:
                    await asyncio.to_thread(successor.start)
                    await shipped(fresh.url, 200)
                    await asyncio.to_thread(ship_out, successor)
                finally:
                    await asyncio.to_thread(successor.kill)
    finally:
        await asyncio.to_thread(fresh.terminate)
    entries = stack.stored(namespace)
    _check(entries, Ledger(past.ledger.answers | present.ledger.answers))
    await asyncio.to_thread(_only_the_store, stack)
    assert sorted(stack.stored(namespace), key=str) == sorted(entries, key=str)


def _check(entries: list[Entry], ledger: Ledger) -> None:
    found = check(ledger, loki_client.records(entries))
    assert found.copies == 0
    assert list(found.streams.values()) == ["shutdown"] * 4
    aged = [entry for entry in entries if entry.time < time.time_ns() - _AGE]
    assert len(aged) > 1000
    (labels,) = {str(entry.labels) for entry in aged}  # one Loki stream
    assert len([entry for entry in entries if str(entry.labels) == labels]) > len(aged) + 1000


def _make_first_half_older(outbox: Path) -> None:
    """Write the first half of the records under an outbox anew as if they had been made a day before the others."""
    (segment,) = outbox.glob("v1/*/logs/*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    half = len(lines) // 2
    text, times = _TIMES.subn(lambda match: b'"%b":"%d"' % (match[1], int(match[2]) - _AGE), b"".join(lines[:half]))
    assert times > 2000
    segment.write_bytes(text + b"".join(lines[half:]))


def _only_the_store(stack: Stack) -> None:
    """Let Loki write all chunks and end, and start it without its write-ahead log."""
    url = f"{stack.log.url}/ingester/shutdown?flush=true&terminate=false"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60):
        pass
    stack.loki.stop()
    shutil.rmtree(stack.loki_data / "wal")
    stack.loki.start()
    stack.loki.wait_ready()
