"""What a test waits for: the server tells nobody, but it can be asked."""

from __future__ import annotations

import asyncio

import aiohttp

_PATIENCE = 120.0  # s; Loki may be starting, and the server waits up to 30 s between two tries


async def shipped(url: str, more: int) -> None:
    """Wait until the sink has accepted so many more records of a server."""
    async with asyncio.timeout(_PATIENCE), aiohttp.ClientSession() as session:
        wanted = await _accepted(session, url) + more
        while await _accepted(session, url) < wanted:  # noqa: ASYNC110 - a fact of another process
            await asyncio.sleep(0.05)


async def _accepted(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(f"{url}/readyz") as answer:
        return int((await answer.json())["shipped"])
