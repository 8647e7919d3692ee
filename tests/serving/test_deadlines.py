"""Deadlines on one timer, under a clock of the test's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from predictor.serving.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable


class _Timer:
    """A timer that a test lets go off."""

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when, self.call, self.cancelled = when, call, False

    def cancel(self) -> None:
        """Never go off."""
        self.cancelled = True


class _Clock:
    """The loop's clock and its timers."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[_Timer] = []

    def time(self) -> float:
        """Return the time."""
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> _Timer:
        """Set a timer."""
        self.timers.append(_Timer(when, call))
        return self.timers[-1]

    @property
    def pending(self) -> list[float]:
        """When the timers that are set go off."""
        return [timer.when for timer in self.timers if not timer.cancelled]

    def go(self, now: float) -> None:
        """Let time pass."""
        self.now = now
        for timer in [timer for timer in self.timers if not timer.cancelled and timer.when <= now]:
            timer.cancelled = True
            timer.call()


@pytest.fixture
def clock() -> _Clock:
    """Return a clock that stands."""
    return _Clock()


async def _made(clock: _Clock, expire: Callable[[str], None]) -> Deadlines[str]:
    made: Deadlines[str] = Deadlines(expire)
    inside: Any = made
    inside._loop = clock
    return made


async def test_each_expires_once_at_its_own_deadline(clock: _Clock) -> None:
    """What is still there at its deadline expires then, also one that came later and is due earlier."""
    expired: list[str] = []
    deadlines = await _made(clock, expired.append)
    deadlines.add("late", 130.0)
    deadlines.add("early", 110.0)
    deadlines.add("between", 120.0)
    found = []
    for now in (109.9, 110.0, 119.0, 120.0, 130.0, 200.0):
        clock.go(now)
        found.append(tuple(expired))
    assert found == [
        (),
        ("early",),
        ("early",),
        ("early", "between"),
        ("early", "between", "late"),
        ("early", "between", "late"),
    ]
    assert clock.pending == []


async def test_what_is_done_does_not_expire(clock: _Clock) -> None:
    """A job that is done in time is forgotten at once, and a thousand of them have set one timer."""
    expired: list[str] = []
    deadlines = await _made(clock, expired.append)
    for number in range(1000):
        deadlines.add(f"{number}", 130.0 + number)
        deadlines.discard(f"{number}")
    assert len(clock.timers) == 1
    deadlines.discard("unknown")
    clock.go(130.0)
    assert (expired, clock.pending) == ([], [])
    deadlines.add("next", 2000.0)
    assert clock.pending == [2000.0]


async def test_one_that_fails_others_as_it_expires(clock: _Clock) -> None:
    """Expiring may settle or add others: each expires at most once, and the timer goes on."""
    expired: list[str] = []

    def expire(job: str) -> None:
        expired.append(job)
        if job == "first":
            deadlines.add("more", 120.0)

    deadlines = await _made(clock, expire)
    deadlines.add("first", 110.0)
    clock.go(110.0)
    clock.go(120.0)
    assert expired == ["first", "more"]


async def test_a_loop_calls_a_little_early() -> None:
    """On a real loop, whose timers may come a moment before their time, each expires all the same."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    deadlines: Deadlines[str] = Deadlines(lambda _: over.set())
    deadlines.add("one", loop.time() + 0.01)
    async with asyncio.timeout(20):
        await over.wait()


async def test_after_the_end_nothing_expires(clock: _Clock) -> None:
    """Closing forgets all jobs and the timer."""
    expired: list[str] = []
    deadlines = await _made(clock, expired.append)
    deadlines.add("one", 110.0)
    deadlines.close()
    clock.go(200.0)
    assert (expired, clock.pending) == ([], [])
