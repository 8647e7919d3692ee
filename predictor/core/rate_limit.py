"""A rate limit: a bucket of tokens, so many a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


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
