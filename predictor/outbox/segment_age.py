"""The least age of segments, since the wall clock may be wrong by years, now or when they were written.

What this process has lived through it has measured with a clock that nobody sets. What lies before is believed as far
as segments follow one another there: a stretch in which nothing was written may be a clock that was set.
"""

from __future__ import annotations

import logging
import time
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from predictor.core.operator_log import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_GAP = 0.25  # of `keep_age`; who writes begins a segment after an eighth, and starts and ends are written too
_STEP = 60.0  # s between two looks; less is a clock that is being adjusted
log = logging.getLogger(__name__)


class Elapsed(NamedTuple):
    """What time it is, and what is known of the time before."""

    now: float
    """Of the wall clock, Unix seconds."""
    witnessed: float
    """Seconds for which the wall clock has not been set."""
    trusted: bool
    """Whether the times of segments before that may be true; not if the clock was set under this process."""

    @property
    def began(self) -> float:
        """When the time that was witnessed began, by the wall clock of now."""
        return self.now - self.witnessed

    def believed(self, written: float) -> float:
        """Return the last moment at which a file with this time can have been written: not in the time to come.

        It was written while the clock was ahead, before that was put right.
        """
        return written if written <= self.now + _STEP else self.began


class Watch:
    """Compares the wall clock with one that nobody sets and that goes on while the machine sleeps."""

    def __init__(
        self,
        keep_age: float,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = lambda: time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)),
    ) -> None:
        """Begin to witness now."""
        self._step = min(_STEP, keep_age / 8)
        self._wall, self._steady = wall, steady
        self._last = wall(), steady()
        self._began, self._trusted = self._last[1], True
        self._throttle = Throttle(clock=steady)

    def look(self) -> Elapsed:
        """Return what is known now; to be called often, for a clock that is set between two looks is seen by them."""
        (wall, steady), self._last = self._last, (self._wall(), self._steady())
        now, at = self._last
        moved = (now - wall) - (at - steady)
        if abs(moved) > self._step:
            self._began, self._trusted = at, False
            if self._throttle.due():
                log.warning(
                    "the wall clock was set by %+.0f s: what is there is kept for PREDICTOR_KEEP_AGE again", moved
                )
        return Elapsed(now, at - self._began, self._trusted)


def ages(written: Iterable[float], elapsed: Elapsed, keep_age: float) -> dict[float, float]:
    """Return how old what was last written then is at least, in seconds."""
    began = elapsed.began
    times = sorted(set(written), reverse=True)
    found = {at: elapsed.now - at for at in times if at >= began}
    known = elapsed.witnessed
    for later, at in pairwise([began, *(at for at in times if at < began)]):
        known += later - at if elapsed.trusted and later - at <= keep_age * _GAP else 0.0
        found[at] = known
    return found
