"""Rate limits: at most so many events a second."""

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


class TokenBucket:
    """Allows `rate` tokens a second on average, and up to `burst` at once after a quiet time."""

    __slots__ = ("_burst", "_clock", "_level", "_rate", "_when")

    def __init__(self, rate: int, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Start full; `clock` is in seconds and never goes back."""
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._level = float(burst)
        self._when = clock()

    def wait(self, tokens: int) -> float:
        """Return the seconds until so many tokens are there, 0 if they are now; more than `burst` are never there."""
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._when) * self._rate)
        self._when = now
        return max(0.0, (tokens - self._level) / self._rate)

    def take(self, tokens: int) -> float:
        """Take so many tokens and return 0; if they are not there take none, and return the seconds until they are."""
        seconds = self.wait(tokens)
        if not seconds:
            self._level -= tokens
        return seconds
