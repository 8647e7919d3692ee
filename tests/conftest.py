"""Fixtures that many tests share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvloop
from gate import Gate
from server import Here, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what leans on the inside of aiohttp's connections on both event loops: their transports differ."""
    factories = {"asyncio": asyncio.new_event_loop}
    if item.path.name == "test_express.py":
        return factories | {"uvloop": uvloop.new_event_loop}
    return factories


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    """Return where this test's prediction log goes."""
    return tmp_path / "outbox"


@pytest.fixture
async def here(outbox: Path) -> AsyncIterator[Here]:
    """Run iris with the default settings in the test's own loop."""
    async with serve(outbox) as server:
        yield server


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a closed gate, opened in the end so that nothing hangs."""
    gate = Gate()
    yield gate
    gate.open()
