"""A stack for the tests that kill none of it, and what each test has of its own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.stack.spans import Receiver
from tests.stack.stack import Stack
from tests.stack.tempo import Tempo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def tempo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver | Tempo]:
    """Take spans: the program that TEMPO names, or else a receiver that keeps them."""
    program = os.environ.get("TEMPO")
    taker = Tempo(Path(program), "minikube", tmp_path_factory.mktemp("tempo")) if program else Receiver()
    with taker:
        yield taker


@pytest.fixture(scope="session", params=["gke"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tempo: Receiver) -> Iterator[Stack]:
    """Run Loki and the Collector as an overlay configures them; Loki is not ready before 15 s, so once a session.

    It is the overlay gke; tests marked with `every_overlay` run with each.
    """
    running = Stack(request.param, tmp_path_factory.mktemp(request.param), tempo.endpoint)
    with running.loki, running.collector:
        yield running


@pytest.fixture
async def whole(stack: Stack) -> AsyncIterator[Stack]:
    """Lend the shared stack to a test that kills parts of it, and have it run again for the next."""
    try:
        yield stack
    finally:
        for program in (stack.loki, stack.collector):
            if not program.running:
                program.start()
            await asyncio.to_thread(program.wait_ready)


@pytest.fixture
def namespace() -> str:
    """Return a Kubernetes namespace of this test's own, which tells its records from others' in the same Loki."""
    return f"test-{uuid4().hex[:8]}"
