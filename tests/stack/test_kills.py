"""`kill -9` of the Collector and of Loki at any moment, and Loki gone for long: no acknowledged row is missing."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.stack.stack import ship_out
from tests.stack.waiting import shipped
from tests.support import loki_client
from tests.support.ledger import Load, check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.stack.stack import Stack
    from tests.support.server import Server

_COLLECTOR_KILLS = 8
_LOKI_KILLS = 4
_REST = 0.02  # s; about 400 rows a second of the four clients
_OUTAGE = float(os.environ.get("STACK_OUTAGE", "45"))  # s; the server waits 30 s at most between two tries


@asynccontextmanager
async def nothing_is_missing(
    stack: Stack, outbox: Path, namespace: str, seed: int
) -> AsyncIterator[tuple[Server, Load]]:
    """Load a server; in the end each acknowledged row must be in Loki, once, as it was answered."""
    server = await asyncio.to_thread(stack.server(outbox, namespace).start)
    try:
        async with Load(server.url, seed=seed, rest=_REST) as load:
            yield server, load
    finally:
        await asyncio.to_thread(ship_out, server)
    await asyncio.to_thread(stack.loki.wait_ready)
    assert load.ledger.cut == 0
    assert not load.ledger.refusals
    found = check(load.ledger, loki_client.records(stack.stored(namespace)))
    assert found.copies == 0
    assert list(found.streams.values()) == ["shutdown"]


async def test_killed_at_random_moments(whole: Stack, outbox: Path, namespace: str) -> None:
    """Collector and Loki killed in turns under load: nothing is missing."""
    chance = random.Random(4)
    victims = [whole.collector] * _COLLECTOR_KILLS + [whole.loki] * _LOKI_KILLS
    chance.shuffle(victims)
    async with nothing_is_missing(whole, outbox, namespace, seed=4) as (server, load):
        for victim in victims:
            await shipped(server.url, 100)
            await asyncio.sleep(chance.uniform(0.0, 0.5))  # the random moment; nothing waits for it
            victim.kill()
            await load.more(100)
            victim.start()
        await shipped(server.url, 100)


async def test_loki_is_gone_for_long(whole: Stack, outbox: Path, namespace: str) -> None:
    """Loki is down for longer than the server ever waits between two tries: rows are answered, and all in Loki then.

    STACK_OUTAGE is how long, in seconds.
    """
    async with nothing_is_missing(whole, outbox, namespace, seed=5) as (server, load):
        await shipped(server.url, 100)
        whole.loki.kill()
        await asyncio.to_thread(server.wait_for, lambda line: "are kept and tried again" in line)
        await asyncio.sleep(_OUTAGE)
        answered = len(load.ledger.answers)
        await load.more(100)
        whole.loki.start()
        await shipped(server.url, answered)
