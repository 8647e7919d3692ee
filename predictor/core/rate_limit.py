"""A rate limit: at most so many events a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class PerSecond:
    """Allows up to `limit` events in each second of the clock."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with the whole allowance."""
        self._limit = limit
        self._clock = clock
        self._second = -1
        self._used = 0

    def allow(self) -> bool:
        """Take one event out of this second's allowance; False if it is used up."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._used = second, 0
        if self._used >= self._limit:
            return False
        self._used += 1
        return True
