"""Fixtures that many tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from server import Here, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    """Return where this test's prediction log goes."""
    return tmp_path / "outbox"


@pytest.fixture
async def here(outbox: Path) -> AsyncIterator[Here]:
    """Run iris with the default settings in the test's own loop."""
    async with serve(outbox) as server:
        yield server
