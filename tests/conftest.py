"""Fixtures that many tests share."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.support.gated_model import Gate
from tests.support.kept_result import KeptResult
from tests.support.server import DEFAULTS, Here, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

_TESTS = Path(__file__).parent
_BOTH_LOOPS = {"http/test_fast_lane.py", "http/test_hand_over.py", "http/test_listener.py"}
"""What drives transports: those of the event loops differ."""
_BOTH_DOORS = {
    "api/test_feedback.py",
    "api/test_http.py",
    "api/test_key.py",
    "api/test_kserve_v1.py",
    "api/test_model_repository.py",
    "api/test_open_inference.py",
    "api/test_problems.py",
    "api/test_tensors.py",
    "dashboard/test_feed.py",
    "http/test_attack.py",
    "http/test_buffered_bytes.py",
    "http/test_leaving.py",
    "http/test_limits.py",
    "http/test_lingering_close.py",
    "http/test_recorded_problems.py",
    "http/test_unread.py",
    "server/test_shutdown.py",
    "tracing/test_tracer.py",
}
"""The HTTP contract: it holds with the fast lane and without it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--result`."""
    parser.addoption("--result", metavar="NAME", help="keep what came of it in docs/results/NAME.json")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to run without the tests that are named above: they would run by half, and nobody would see it."""
    for name in _BOTH_LOOPS | _BOTH_DOORS:
        assert (_TESTS / name).is_file(), f"tests/conftest.py names {name}, which is not there"
    if run := config.getoption("--result"):
        given = [] if config.args_source == config.ArgsSource.TESTPATHS else config.args
        config.pluginmanager.register(KeptResult(run, given))


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what drives transports on both event loops."""
    factories = {"asyncio": asyncio.new_event_loop}
    if item.path.relative_to(_TESTS).as_posix() in _BOTH_LOOPS:
        return factories | {"uvloop": uvloop.new_event_loop}
    return factories


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the HTTP contract with the fast lane and without it."""
    if metafunc.definition.path.relative_to(_TESTS).as_posix() in _BOTH_DOORS:
        metafunc.parametrize("door", ["lane", "aiohttp"], indirect=True)


@pytest.fixture(autouse=True)
def door(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return which door the servers of this test have: the fast lane in front of aiohttp, or aiohttp alone."""
    name = str(getattr(request, "param", "lane"))
    DEFAULTS["PREDICTOR_FAST_LANE"] = "on" if name == "lane" else "off"
    yield name
    del DEFAULTS["PREDICTOR_FAST_LANE"]


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
