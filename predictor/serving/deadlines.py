"""Deadlines of many jobs on one timer: a timer for each costs as much as decoding its row."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

J = TypeVar("J", bound="Hashable")
_EARLY = 0.001  # s; a loop may call a timer so much before its time


class Deadlines(Generic[J]):
    """Calls `expire` with each job that is still here at its deadline; used on one event loop."""

    def __init__(self, expire: Callable[[J], None]) -> None:
        """Set no timer yet."""
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[J, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0

    def add(self, job: J, deadline: float) -> None:
        """Expect a job; `deadline` is on the loop's clock."""
        self._waiting[job] = deadline
        if self._timer is None or deadline < self._at:
            self._set(deadline)

    def discard(self, job: J) -> None:
        """Forget a job that is done, if it is here."""
        self._waiting.pop(job, None)

    def close(self) -> None:
        """Expect nothing more."""
        self._waiting.clear()
        self._expire = _nothing  # no cycle is left for the collector to find
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _set(self, deadline: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._at = deadline
        self._timer = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        """End what is due, and look again when the next one will be: mostly it is done by then."""
        self._timer = None
        now = self._loop.time() + _EARLY
        due = [job for job, deadline in self._waiting.items() if deadline <= now]
        for job in due:
            self.discard(job)
        if self._waiting:
            self._set(min(self._waiting.values()))
        for job in due:
            self._expire(job)


def _nothing(_: object) -> None:
    """Take what is not expected any more."""
