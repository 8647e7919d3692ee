"""`kill -9` at any moment, of the server and of the Collector: what was acknowledged arrives, once in content."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from predictor.outbox import layout
from tests.support import collector
from tests.support.ledger import Load, check
from tests.support.server import ROOT, Server, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KILLS = 20
_COLLECTOR_KILLS = 4


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[collector.Collector]:
    """Start a Collector that writes to files what it acknowledges."""
    collector.binary()
    port = collector.free_port()
    config = collector.to_files(port, tmp_path / "logs.jsonl", tmp_path / "traces.jsonl")
    running = collector.start(config, tmp_path, port)
    yield running
    running.stop()


class Machine:
    """Starts one server after another on the same port and the same outbox, towards the same Collector."""

    def __init__(self, outbox: Path, agent: collector.Collector) -> None:
        """Start nothing yet."""
        self.outbox = outbox
        port = str(collector.free_port())
        self.url = f"http://127.0.0.1:{port}"
        self._settings = {
            "PREDICTOR_PORT": port,
            "PREDICTOR_FLUSH": "60s",
            "OTEL_EXPORTER_OTLP_ENDPOINT": agent.url,
        }

    async def start(self) -> Server:
        """Start a server and return when it listens."""
        return await asyncio.to_thread(Server(self.outbox, **self._settings).start)

    async def kill_while_it_starts(self, seconds: float) -> None:
        """Start a server and kill it so many seconds later, most likely before it listens."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "predictor"),
            cwd=ROOT,
            env=environment(self.outbox, **self._settings),
            stderr=asyncio.subprocess.DEVNULL,
        )
        await asyncio.sleep(seconds)  # the random moment; nothing waits for it
        process.kill()
        await process.wait()


async def test_killed_servers_lose_nothing(outbox: Path, agent: collector.Collector, tmp_path: Path) -> None:
    """A server killed at 20 random moments under load, and at some of its start, loses nothing it acknowledged.

    Each acknowledged row is at the Collector with the numbers that were answered; copies of a number are identical;
    every stream has all its numbers and is closed, those of the killed processes by their successors.
    """
    chance = random.Random(20)
    machine = Machine(outbox, agent)
    async with Load(machine.url, seed=20) as load:
        for number in range(_KILLS):
            if number % 5 == 4:
                await machine.kill_while_it_starts(chance.uniform(0.0, 2.0))
            server = await machine.start()
            await load.more(1)
            # The random moment; nothing waits for it. Every third life is long enough to ship and tidy up.
            await asyncio.sleep(chance.uniform(0.0, 0.4 if number % 3 else 2.0))
            await asyncio.to_thread(server.kill)
        server = await machine.start()
        await load.more(1)
    assert await asyncio.to_thread(server.terminate) == 0
    found = check(load.ledger, tmp_path / "logs.jsonl")
    reasons = Counter(found.streams.values())
    assert reasons["shutdown"] == 1
    assert reasons["crash"] >= _KILLS
    assert found.lost == 0
    assert len(load.ledger.answers) >= _KILLS
    assert layout.streams(outbox) == []  # all of it was shipped, and removed


async def test_a_killed_collector_loses_nothing(outbox: Path, agent: collector.Collector, tmp_path: Path) -> None:
    """A Collector killed at random moments under load delays records and loses none; the server goes on meanwhile."""
    chance = random.Random(4)
    machine = Machine(outbox, agent)
    server = await machine.start()
    async with Load(machine.url, seed=4) as load:
        for _ in range(_COLLECTOR_KILLS):
            await load.more(200)
            await asyncio.sleep(chance.uniform(0.0, 0.5))  # the random moment; nothing waits for it
            agent.kill()
            await load.more(200)  # acknowledged while there is nobody to ship to
            await asyncio.to_thread(agent.start)
    assert load.ledger.cut == 0
    assert not load.ledger.refusals
    assert await asyncio.to_thread(server.terminate) == 0
    found = check(load.ledger, tmp_path / "logs.jsonl")
    assert list(found.streams.values()) == ["shutdown"]
    assert layout.streams(outbox) == []
