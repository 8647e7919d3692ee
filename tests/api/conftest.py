"""Every answer that a test of the calls gets is one that the OpenAPI document has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.openapi_document import Contract, contract
from tests.support.server import Here

if TYPE_CHECKING:
    from tests.support.server import Answer


@pytest.fixture(autouse=True)
def documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold each answer to the document of the server that gave it."""
    send = Here.send
    known: dict[bytes, Contract] = {}

    async def held(self: Here, method: str, path: str, **more: Any) -> Answer:  # noqa: ANN401 - aiohttp's own arguments
        described = contract(self, known)
        answer = await send(self, method, path, **more)
        described.hold(method, path, answer)
        return answer

    monkeypatch.setattr(Here, "send", held)
